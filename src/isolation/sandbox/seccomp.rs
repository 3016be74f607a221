//! Installs a filter for system calls in the kernel.
#![allow(unsafe_code)]

use std::io;

use super::filter::Program;

/// The threads to which a filter applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Threads {
    /// The calling thread, which is the only one.
    Own,
    /// All threads of the process.
    All,
}

/// Apply `program` to these threads and all that they start. It cannot be removed again. Requires
/// `no_new_privs`.
///
/// # Errors
/// The kernel does not support seccomp filters or lacks memory, or one of the threads has another
/// filter.
pub(super) fn install(program: &Program, threads: Threads) -> io::Result<()> {
    let code = program.code();
    let program = libc::sock_fprog {
        // The kernel's own limit is 4096 instructions; it refuses longer programs.
        len: u16::try_from(code.len()).unwrap_or(u16::MAX),
        filter: code.as_ptr().cast_mut(),
    };
    let flags = match threads {
        Threads::Own => 0,
        Threads::All => libc::SECCOMP_FILTER_FLAG_TSYNC,
    };
    // SAFETY: `program` points to `len` instructions that live until the call returns; the kernel
    // only reads them.
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
        thread @ 1.. => {
            let what = format!("the thread {thread} has a filter of its own");
            Err(io::Error::other(what))
        }
        _ => Err(io::Error::last_os_error()),
    }
}
