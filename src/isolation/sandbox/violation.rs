//! Handles system calls that a process's policy forbids (signal SIGSYS).
//!
//! The forbidden call has not been executed and never will be, so nothing that the handler does
//! opens a way out. It may answer two kinds of calls in the kernel's place, because honest
//! libraries make them. After any other call the process ends.
#![allow(unsafe_code)]

use std::{
    ffi::CStr,
    fmt::{self, Write},
    io, mem, ptr,
    sync::OnceLock,
};

use libc::{c_int, c_long, c_void};
use nix::errno::Errno;
use syscalls::Sysno;

use super::CHANNEL;

/// Exit status of a process that was ended for a violation: 128 + SIGSYS, as a shell reports a
/// death by that signal.
pub(in crate::isolation) const STATUS: i32 = 128 + libc::SIGSYS;

/// Files that libc reads for advice and does not need: overcommit when an arena of malloc shrinks,
/// the number of CPUs, the time zone. Opening one may be answered with "no such file".
const ADVICE: [&CStr; 6] = [
    c"/proc/sys/vm/overcommit_memory",
    c"/sys/devices/system/cpu/online",
    c"/sys/devices/system/cpu/possible",
    c"/sys/devices/system/cpu",
    c"/proc/stat",
    c"/etc/localtime",
];

/// Writes the message about a system call into the buffer. Must be async-signal-safe.
type Report = for<'a> fn(u32, &'a mut [u8]) -> Option<&'a [u8]>;

/// How this process reports to the supervisor if it is a job. A zygote has none, and reports to its
/// stderr.
static REPORT: OnceLock<Report> = OnceLock::new();

/// Name of a system call by its number on this machine.
pub fn name(call: u32) -> Option<&'static str> {
    let call = Sysno::new(usize::try_from(call).ok()?)?;
    Some(call.name())
}

/// Install the handler in this process and all processes forked from it.
///
/// # Errors
/// The error of the system call.
pub(super) fn watch() -> io::Result<()> {
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = handle;
    set_action(
        libc::SIGSYS,
        handler as libc::sighandler_t,
        libc::SA_SIGINFO,
    )?;
    // Rust's own handlers for these two signals look for stack overflows and then set the default
    // action. By then the crash would be reported wrongly, so set the default now.
    set_action(libc::SIGSEGV, libc::SIG_DFL, 0)?;
    set_action(libc::SIGBUS, libc::SIG_DFL, 0)
}

fn set_action(signal: c_int, handler: libc::sighandler_t, flags: c_int) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid sigaction: default action, no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: `action` is valid, and a handler in it makes only async-signal-safe calls; the old
    // action is not requested.
    match unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// From now on this process reports as a job: by the message that `report` writes.
pub(in crate::isolation) fn report_to_supervisor(report: Report) {
    // A job is made once.
    let _ = REPORT.set(report);
}

/// `siginfo_t` as the kernel fills it for SIGSYS (asm-generic/siginfo.h); the libc crate does not
/// expose these fields.
#[repr(C)]
struct SigsysInfo {
    signo: c_int,
    errno: c_int,
    code: c_int,
    call_address: *mut c_void,
    call: c_int,
    architecture: libc::c_uint,
}

/// `si_code` of a SIGSYS that a seccomp filter caused (asm-generic/siginfo.h).
const SYS_SECCOMP: c_int = 1;

extern "C" fn handle(_signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo_t, whose fields for SIGSYS are
    // those of SigsysInfo, and which lives until the handler returns.
    let info = unsafe { &*info.cast::<SigsysInfo>() };
    if info.code != SYS_SECCOMP {
        // A process sent the signal, so there was not any call.
        end(None);
    }
    // SAFETY: with SA_SIGINFO the third argument is the interrupted context, alive and ours until
    // the handler returns.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let arguments = registers::arguments(context);
    match answer(c_long::from(info.call), arguments) {
        Some(result) => registers::set_result(context, result),
        None => end(u32::try_from(info.call).ok()),
    }
}

/// The answer that an honest library gets instead of running the call: a negative error number, or
/// zero.
fn answer(call: c_long, arguments: [u64; 5]) -> Option<i64> {
    // The kernel, too, uses only the lower 32 bits of a descriptor and of flags.
    #[allow(clippy::cast_possible_truncation)]
    let int = |index: usize| arguments[index] as u32;
    match call {
        libc::SYS_openat => {
            let path = text(arguments[1])?;
            ADVICE.contains(&path).then_some(-i64::from(libc::ENOENT))
        }
        libc::SYS_newfstatat if arguments[1] == 0 => Some(-i64::from(libc::EFAULT)),
        libc::SYS_newfstatat => {
            is_fstat(arguments[1], int(3))?;
            Some(fstat(int(0), arguments[2] as *mut libc::stat))
        }
        // Rust probes whether the kernel has the call by passing no path at all.
        libc::SYS_statx if arguments[1] == 0 => Some(-i64::from(libc::EFAULT)),
        libc::SYS_statx => {
            is_fstat(arguments[1], int(2))?;
            Some(statx(int(0), arguments[4] as *mut libc::statx))
        }
        _ => None,
    }
}

/// `Some` if path and flags of newfstatat or statx mean the descriptor itself.
fn is_fstat(path: u64, flags: u32) -> Option<()> {
    let flags = flags.cast_signed();
    (flags & libc::AT_EMPTY_PATH != 0 && text(path)?.is_empty()).then_some(())
}

/// The path at `address` in our own memory. A wrong address crashes the process, as in any other
/// library call.
fn text<'a>(address: u64) -> Option<&'a CStr> {
    if address == 0 {
        return None;
    }
    // SAFETY: the process passed this address to the kernel as a path, so a string should be there.
    // If not, reading it ends only this process, which has broken its policy anyway.
    Some(unsafe { CStr::from_ptr(address as *const libc::c_char) })
}

/// fstat(2), which the policy allows because it takes no path.
fn fstat(descriptor: u32, into: *mut libc::stat) -> i64 {
    // SAFETY: the kernel checks the address, which the process passed for this purpose.
    let result = unsafe { libc::syscall(libc::SYS_fstat, descriptor, into) };
    if result == 0 {
        0
    } else {
        -i64::from(Errno::last_raw())
    }
}

/// statx(2) of a descriptor, done with fstat: gives everything but the birth time.
fn statx(descriptor: u32, into: *mut libc::statx) -> i64 {
    // SAFETY: all-zero bytes are a valid stat: it is plain numbers.
    let mut from: libc::stat = unsafe { mem::zeroed() };
    let result = fstat(descriptor, &raw mut from);
    if result != 0 {
        return result;
    }
    let time = |seconds: i64, nanoseconds: i64| {
        // SAFETY: all-zero bytes are a valid statx_timestamp.
        let mut time: libc::statx_timestamp = unsafe { mem::zeroed() };
        time.tv_sec = seconds;
        time.tv_nsec = u32::try_from(nanoseconds).unwrap_or(0);
        time
    };
    // SAFETY: all-zero bytes are a valid statx: it is plain numbers.
    let mut to: libc::statx = unsafe { mem::zeroed() };
    to.stx_mask = libc::STATX_BASIC_STATS;
    to.stx_blksize = u32::try_from(from.st_blksize).unwrap_or(0);
    to.stx_nlink = u32::try_from(from.st_nlink).unwrap_or(u32::MAX);
    to.stx_uid = from.st_uid;
    to.stx_gid = from.st_gid;
    to.stx_mode = u16::try_from(from.st_mode).unwrap_or(0);
    to.stx_ino = from.st_ino;
    to.stx_size = from.st_size.unsigned_abs();
    to.stx_blocks = from.st_blocks.unsigned_abs();
    to.stx_atime = time(from.st_atime, from.st_atime_nsec);
    to.stx_ctime = time(from.st_ctime, from.st_ctime_nsec);
    to.stx_mtime = time(from.st_mtime, from.st_mtime_nsec);
    to.stx_rdev_major = libc::major(from.st_rdev);
    to.stx_rdev_minor = libc::minor(from.st_rdev);
    to.stx_dev_major = libc::major(from.st_dev);
    to.stx_dev_minor = libc::minor(from.st_dev);
    // SAFETY: the process named this address for a statx to be written to; if it is wrong, the
    // process crashes itself.
    unsafe { into.write_unaligned(to) };
    0
}

/// Report the violation and end the process. Async-signal-safe: fixed buffers and plain system
/// calls.
fn end(call: Option<u32>) -> ! {
    if let Some(report) = REPORT.get() {
        let mut buffer = [0; 16];
        if let Some(message) = report(call.unwrap_or(u32::MAX), &mut buffer) {
            tell_supervisor(message);
        }
    } else {
        let mut line = Line::default();
        let number = call.unwrap_or(u32::MAX);
        let name = call.and_then(name).unwrap_or("unknown");
        // A line that does not fit is cut.
        let _ = writeln!(line, "forbidden system call: {name} ({number})");
        // SAFETY: the pointer and the length are those of one live buffer.
        unsafe { libc::write(libc::STDERR_FILENO, line.bytes.as_ptr().cast(), line.length) };
    }
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(STATUS) }
}

fn tell_supervisor(message: &[u8]) {
    let mut part = libc::iovec {
        iov_base: message.as_ptr().cast_mut().cast(),
        iov_len: message.len(),
    };
    // SAFETY: all-zero bytes are a valid msghdr: no address, no data, no control data.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // If the supervisor's queue is full, it learns of the violation from the exit status. SAFETY:
    // header and message live until the call returns. We use sendmsg, not send, because the policy
    // allows only sendmsg.
    unsafe { libc::sendmsg(CHANNEL, &raw const header, flags) };
}

/// A line of text that needs no heap.
struct Line {
    bytes: [u8; 96],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            bytes: [0; 96],
            length: 0,
        }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (to, from) in self.bytes[self.length..].iter_mut().zip(text.bytes()) {
            *to = from;
            self.length += 1;
        }
        Ok(())
    }
}

#[cfg(target_arch = "x86_64")]
mod registers {
    //! Registers of a system call's arguments and result on x86-64.
    use libc::{REG_R8, REG_R10, REG_RAX, REG_RDI, REG_RDX, REG_RSI, ucontext_t};

    fn at(register: libc::c_int) -> usize {
        usize::try_from(register).unwrap_or(0)
    }

    pub(super) fn arguments(context: &ucontext_t) -> [u64; 5] {
        let registers = &context.uc_mcontext.gregs;
        [REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8].map(|r| registers[at(r)].cast_unsigned())
    }

    pub(super) fn set_result(context: &mut ucontext_t, result: i64) {
        context.uc_mcontext.gregs[at(REG_RAX)] = result;
    }
}

#[cfg(target_arch = "aarch64")]
mod registers {
    //! Registers of a system call's arguments and result on aarch64.
    use libc::ucontext_t;

    pub(super) fn arguments(context: &ucontext_t) -> [u64; 5] {
        let [a, b, c, d, e, ..] = context.uc_mcontext.regs;
        [a, b, c, d, e]
    }

    pub(super) fn set_result(context: &mut ucontext_t, result: i64) {
        context.uc_mcontext.regs[0] = result.cast_unsigned();
    }
}
