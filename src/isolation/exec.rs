//! Starts this binary again as a zygote, directly in its cgroup.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use super::{
    clone::{Forked, clone3},
    pidfd::PidFd,
};

/// Run this binary, even if its file was replaced meanwhile, as `stt-isolated <command>`, born in
/// `cgroup`. It gets an environment of four variables, `stdin` and `stderr` as given, and
/// `/dev/null` as stdout.
pub(super) fn exec_self(
    command: &str,
    stdin: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<(i32, PidFd)> {
    #[cfg(test)]
    if let Some(simulated) = super::simulated::start(stdin)? {
        return Ok(simulated);
    }
    // Allocate everything before the fork: the child of a process with threads must not allocate.
    let path = c"/proc/self/exe";
    let arguments = [CString::new("stt-isolated")?, CString::new(command)?];
    let environment = [
        // OpenBLAS, if it is the system's libblas, starts one thread per CPU when it is loaded.
        CString::new("OPENBLAS_NUM_THREADS=1")?,
        // Puts the memory that a library allocates for its model into huge pages, which are 25
        // times cheaper to fork and to touch.
        CString::new("GLIBC_TUNABLES=glibc.malloc.hugetlb=1")?,
        // Otherwise whisper.cpp would run a debugger before it aborts.
        CString::new("GGML_NO_BACKTRACE=1")?,
        // Otherwise some builds of ONNX Runtime (1.32.0 of PyPI) report their use to its makers.
        CString::new("ORT_DISABLE_TELEMETRY=1")?,
    ];
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        let ends = std::iter::once(std::ptr::null());
        strings.iter().map(|s| s.as_ptr()).chain(ends).collect()
    };
    let (argv, envp) = (pointers(&arguments), pointers(&environment));
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    // SAFETY: below, the child makes only async-signal-safe calls until it execs or exits. The exit
    // signal is SIGCHLD, which the zygote's siblings inherit; with 0 they could only be awaited
    // with __WALL.
    let forked = unsafe { clone3(0, libc::SIGCHLD, 0, cgroup) }?;
    let Forked::Parent { pid, pidfd } = forked else {
        let targets = [
            (stdin.as_raw_fd(), 0),
            (null.as_raw_fd(), 1),
            (stderr.as_raw_fd(), 2),
        ];
        for (from, to) in targets {
            // SAFETY: dup2 is async-signal-safe; both numbers are plain descriptors, and none of
            // the sources is below 3, since Rust's runtime keeps 0 to 2 open from the start.
            unsafe { libc::dup2(from, to) };
        }
        // All other descriptors belong to the supervisor, even those without close-on-exec. SAFETY:
        // close_range takes plain numbers; the values that own these descriptors are never used
        // again here.
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
        // SAFETY: execve is async-signal-safe; path, argv and envp are NUL-terminated and live in
        // the copied memory.
        unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
        // SAFETY: _exit has no preconditions. A shell also exits with 127 if it cannot execute a
        // command.
        unsafe { libc::_exit(127) };
    };
    Ok((pid, pidfd))
}
