//! A process held by its pidfd: it is signalled and awaited without trust in a process id.
#![allow(unsafe_code)]

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::io::{Interest, unix::AsyncFd};

use super::exit::Exit;

/// A descriptor that means one process while it is held, even after that process is gone.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Hold the process `pid`, which must be a child that is not reaped yet.
    ///
    /// # Errors
    /// No such process, or out of descriptors.
    pub fn open(pid: u32) -> io::Result<Self> {
        let flags: libc::c_uint = 0;
        // SAFETY: pidfd_open takes two plain numbers and touches no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) };
        let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so `fd` is a new descriptor that only we have.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Send `signal`. It is not an error if the process is already dead.
    ///
    /// # Errors
    /// The process may not be signalled.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        #[cfg(test)]
        if super::simulated::signal(self.as_fd(), signal) {
            return Ok(());
        }
        let info: *const libc::siginfo_t = std::ptr::null();
        let flags: libc::c_uint = 0;
        // SAFETY: a null siginfo is allowed (kill-like defaults); no memory of ours is touched.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal as libc::c_int,
                info,
                flags,
            )
        };
        match result {
            0 => Ok(()),
            _ => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Reap the process if it has ended; `None` while it lives.
    ///
    /// # Errors
    /// `ECHILD`: the process is not our child, or was reaped already.
    pub fn try_reap(&self) -> io::Result<Option<Exit>> {
        self.wait(libc::WEXITED | libc::WNOHANG)
    }

    /// True if the process has ended and is not reaped yet.
    pub(super) fn has_ended(&self) -> bool {
        let look = self.wait(libc::WEXITED | libc::WNOHANG | libc::WNOWAIT);
        matches!(look, Ok(Some(_)))
    }

    /// Wait until the process has ended, without reaping it. Blocks the thread.
    ///
    /// # Errors
    /// As [`Self::try_reap`].
    pub(super) fn until_ended(&self) -> io::Result<()> {
        loop {
            match self.wait(libc::WEXITED | libc::WNOWAIT) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(|_| ()),
            }
        }
    }

    /// True if the process is our child and not reaped yet.
    pub fn is_own_child(&self) -> bool {
        self.wait(libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
            .is_ok()
    }

    /// Wait for the end of the process and reap it. Blocks the thread.
    ///
    /// # Errors
    /// As [`Self::try_reap`].
    pub fn reap(&self) -> io::Result<Exit> {
        loop {
            match self.wait(libc::WEXITED) {
                Ok(Some(exit)) => return Ok(exit),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Let the supervisor's loop wait for the end of the process: readable means ended.
    ///
    /// # Errors
    /// Out of memory or of epoll watches.
    pub fn watch(self) -> io::Result<AsyncFd<Self>> {
        // SAFETY: the OwnedFd inside keeps its descriptor open, and the same, until it is dropped.
        Ok(unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) }?)
    }

    fn wait(&self, options: libc::c_int) -> io::Result<Option<Exit>> {
        #[cfg(test)]
        if let Some(end) = super::simulated::wait(self.as_fd(), options) {
            return Ok(end);
        }
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // The raw call instead of libc's waitid: only it also returns the resource usage of exactly
        // this child. SAFETY: both pointers are to writable memory of the right type that outlives
        // the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                self.0.as_raw_fd(),
                info.as_mut_ptr(),
                options,
                usage.as_mut_ptr(),
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all-zero bytes are a valid siginfo_t, and the kernel has only written valid
        // fields over them.
        let info = unsafe { info.assume_init() };
        // SAFETY: all-zero bytes are a valid rusage, too, and the kernel has only written valid
        // fields.
        let usage = unsafe { usage.assume_init() };
        // SAFETY: after waitid the SIGCHLD fields are the active ones; zero means "no child in that
        // state".
        if unsafe { info.si_pid() } == 0 {
            return Ok(None);
        }
        // SAFETY: as above.
        let status = unsafe { info.si_status() };
        let time = |t: libc::timeval| {
            Duration::from_secs(t.tv_sec.unsigned_abs())
                + Duration::from_micros(t.tv_usec.unsigned_abs())
        };
        let cpu = time(usage.ru_utime) + time(usage.ru_stime);
        // Linux counts ru_maxrss in KiB (getrusage(2)).
        let peak = usage.ru_maxrss.unsigned_abs() << 10;
        Ok(Some(Exit::new(info.si_code, status, cpu, peak)))
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

impl From<OwnedFd> for PidFd {
    /// The caller promises that `fd` is a pidfd; on any other descriptor every call fails with an
    /// error.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}
