//! How a process ended, as the kernel reports it.

use std::{fmt, time::Duration};

use nix::sys::signal::Signal;

use super::sandbox::violation;

/// The end of a process as reported by waitid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit status or signal.
    pub how: How,
    /// CPU time of all its threads, user and system.
    pub cpu: Duration,
    /// Highest resident memory in bytes, pages shared with the zygote included.
    pub peak_resident: u64,
}

/// The two ways in which a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It called `_exit` with this status.
    Status(i32),
    /// The signal with this number killed it.
    Signal(i32),
}

impl Exit {
    /// Build it from the fields of siginfo_t after waitid.
    pub(crate) fn new(code: i32, status: i32, cpu: Duration, peak_resident: u64) -> Self {
        let how = match code {
            libc::CLD_EXITED => How::Status(status),
            _ => How::Signal(status),
        };
        Self {
            how,
            cpu,
            peak_resident,
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            how if how.is_violation() => {
                write!(f, "it was stopped at a forbidden system call")
            }
            Self::Status(status) => write!(f, "it exited with status {status} without an answer"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "it was ended by {}", signal.as_str()),
                Err(_) => write!(f, "it was ended by signal {number}"),
            },
        }
    }
}

impl How {
    /// True if the process was stopped at a forbidden system call, and could not say at which: its
    /// message did not arrive, or it had blocked the signal.
    pub fn is_violation(self) -> bool {
        matches!(
            self,
            Self::Status(violation::STATUS) | Self::Signal(libc::SIGSYS)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_dump_is_told_by_its_signal_and_an_early_exit_by_its_status() {
        let dumped = Exit::new(libc::CLD_DUMPED, libc::SIGSEGV, Duration::ZERO, 0);
        assert_eq!(dumped.how, How::Signal(libc::SIGSEGV));
        let exited = Exit::new(libc::CLD_EXITED, 0, Duration::ZERO, 0);
        assert_eq!(
            exited.how.to_string(),
            "it exited with status 0 without an answer"
        );
    }
}
