//! Installing a filter for system calls in the kernel.
#![allow(unsafe_code)]

use std::io;

use super::filter::Program;

/// Put `program` in force for the calling thread and all that it starts, for ever. It wants `no_new_privs`.
///
/// # Errors
/// The kernel has no seccomp filters, or no memory.
pub(super) fn install(program: &Program) -> io::Result<()> {
    let code = program.code();
    let program = libc::sock_fprog {
        // The kernel's own limit is 4096 instructions; what does not fit is refused there.
        len: u16::try_from(code.len()).unwrap_or(u16::MAX),
        filter: code.as_ptr().cast_mut(),
    };
    let flags: libc::c_uint = 0;
    // SAFETY: `program` points to `len` instructions that live until the call returns; the kernel only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
