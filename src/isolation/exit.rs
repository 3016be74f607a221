//! How a job ended: the kernel's report about the process, and its meaning for the request.

use std::{fmt, time::Duration};

use nix::sys::signal::Signal;

use super::{
    message::{Failure, FailureKind},
    sandbox::{system_call_name, violation},
};

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
    pub(super) fn new(code: i32, status: i32, cpu: Duration, peak_resident: u64) -> Self {
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
            Self::Status(violation::STATUS) | Self::Signal(libc::SIGSYS) => {
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

/// The kinds of time limit of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeLimit {
    /// Wall-clock time since its request.
    Wall,
    /// CPU time of all its threads.
    Cpu,
    /// Time without a message and without use of the CPU.
    Stall,
}

/// The result of a request. It is decided once: in [`Outcome::of_dead`], or by the job's own last
/// message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The transcript is complete.
    Ok,
    /// The recording cannot be read. Holds the job's message.
    InvalidAudio(String),
    /// The recording is longer than allowed. Holds the job's message.
    AudioTooLong(String),
    /// The engine's library reported a failure during the transcription.
    EngineFailed(String),
    /// The engine's remote service refused the request; only the administrator can help.
    UpstreamRefused(String),
    /// The engine's remote service is overloaded.
    UpstreamBusy(String),
    /// The engine's remote service failed or cannot be reached.
    UpstreamFailed(String),
    /// The engine's remote service did not answer in time.
    UpstreamSilent(String),
    /// The kernel killed the job because it needed more memory than its limit.
    MemoryLimit {
        /// `memory.max`, in bytes.
        limit: u64,
        /// Highest memory use in bytes; never above the limit.
        peak: u64,
        /// Audio decoded before the end.
        audio: Duration,
    },
    /// The job ended without an answer.
    Crashed(How),
    /// The job broke the protocol.
    Misbehaved(String),
    /// The job made a system call that its policy forbids.
    Violation {
        /// Name of the system call; `None` if it is unknown.
        call: Option<String>,
    },
    /// The job was killed because a time limit had passed.
    Timeout {
        /// The limit that had passed.
        limit: TimeLimit,
        /// Length of the limit.
        after: Duration,
        /// Audio decoded until then.
        audio: Duration,
    },
    /// The client disconnected, and the job was killed.
    Cancelled,
    /// The service stopped and could not wait longer, so the job was killed.
    Stopped,
}

impl Outcome {
    /// Name of this outcome in logs and statistics. If the client gets an error, it is also its
    /// `code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::InvalidAudio(_) => "invalid_audio",
            Self::AudioTooLong(_) => "audio_too_long",
            Self::EngineFailed(_) => "engine_failed",
            Self::UpstreamRefused(_) => "upstream_refused",
            Self::UpstreamBusy(_) => "upstream_busy",
            Self::UpstreamFailed(_) => "upstream_failed",
            Self::MemoryLimit { .. } => "memory_limit_exceeded",
            Self::Crashed(_) => "worker_crashed",
            Self::Misbehaved(_) | Self::Violation { .. } => "worker_misbehaved",
            Self::UpstreamSilent(_) | Self::Timeout { .. } => "timeout",
            Self::Cancelled => "cancelled",
            Self::Stopped => "shutting_down",
        }
    }

    /// The outcome of a job that reported its own failure.
    pub fn of_failure(failure: Failure) -> Self {
        match failure.kind {
            FailureKind::InvalidAudio | FailureKind::BrokenDecoder => {
                Self::InvalidAudio(failure.message)
            }
            FailureKind::AudioTooLong => Self::AudioTooLong(failure.message),
            FailureKind::Engine => Self::EngineFailed(failure.message),
            FailureKind::Misbehaved => Self::Misbehaved(failure.message),
            FailureKind::UpstreamRefused => Self::UpstreamRefused(failure.message),
            FailureKind::UpstreamBusy => Self::UpstreamBusy(failure.message),
            FailureKind::UpstreamFailed => Self::UpstreamFailed(failure.message),
            FailureKind::UpstreamSilent => Self::UpstreamSilent(failure.message),
        }
    }

    /// The outcome of a job that ended without a last message.
    ///
    /// `oom_kills` counts the processes of this job's cgroup that the kernel killed for memory
    /// since the request was assigned. It is checked first, because an OOM kill otherwise looks
    /// like any other SIGKILL.
    pub fn of_dead(exit: Exit, oom_kills: u64, limit: u64, peak: u64, audio: Duration) -> Self {
        if oom_kills > 0 {
            return Self::MemoryLimit { limit, peak, audio };
        }
        match exit.how {
            // The job's report of the violation did not arrive, or it sent none because it had
            // blocked the signal.
            How::Signal(libc::SIGSYS) | How::Status(violation::STATUS) => {
                Self::Violation { call: None }
            }
            how => Self::Crashed(how),
        }
    }

    /// The outcome of a job that was stopped at the system call with number `call`.
    pub fn of_violation(call: u32) -> Self {
        let call = match (system_call_name(call), call) {
            (Some(name), _) => Some(name.into()),
            (None, u32::MAX) => None,
            (None, number) => Some(format!("number {number}")),
        };
        Self::Violation { call }
    }
}

/// One sentence for the client and the journal.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        match self {
            Self::Ok => f.write_str("the transcript is complete"),
            Self::InvalidAudio(message)
            | Self::AudioTooLong(message)
            | Self::EngineFailed(message)
            | Self::UpstreamRefused(message)
            | Self::UpstreamBusy(message)
            | Self::UpstreamFailed(message)
            | Self::UpstreamSilent(message) => f.write_str(message),
            Self::MemoryLimit { limit, peak, audio } => write!(
                f,
                "the transcription needed more memory than its limit of {:.1} MiB (peak {:.1} MiB, after {:.1} s of audio)",
                mebibytes(*limit),
                mebibytes(*peak),
                audio.as_secs_f64()
            ),
            Self::Crashed(how) => write!(f, "the process of this transcription crashed: {how}"),
            Self::Misbehaved(what) => {
                write!(f, "the process of this transcription was stopped: {what}")
            }
            Self::Violation { call } => write!(
                f,
                "the transcription was stopped at a system call that its sandbox forbids: {}",
                call.as_deref().unwrap_or("which one is unknown")
            ),
            Self::Timeout {
                limit,
                after,
                audio,
            } => {
                let what = match limit {
                    TimeLimit::Wall => "did not end within its time of",
                    TimeLimit::Cpu => "used more than its CPU time of",
                    TimeLimit::Stall => "hung: it did nothing at all for",
                };
                let (after, audio) = (after.as_secs_f64(), audio.as_secs_f64());
                write!(
                    f,
                    "the transcription {what} {after:.1} s ({audio:.1} s of audio were read)"
                )
            }
            Self::Cancelled => f.write_str("the transcription was cancelled"),
            Self::Stopped => f.write_str("the service is shutting down"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sigkill_is_a_memory_limit_only_when_the_kernel_says_so() {
        let exit = Exit::new(libc::CLD_KILLED, libc::SIGKILL, Duration::ZERO, 0);
        let audio = Duration::from_secs(3);
        let oom = Outcome::of_dead(exit, 1, 100, 90, audio);
        assert_eq!(
            oom,
            Outcome::MemoryLimit {
                limit: 100,
                peak: 90,
                audio
            }
        );
        let killed = Outcome::of_dead(exit, 0, 100, 90, audio);
        assert_eq!(killed, Outcome::Crashed(How::Signal(libc::SIGKILL)));
        assert_eq!(
            How::Signal(libc::SIGKILL).to_string(),
            "it was ended by SIGKILL"
        );
    }

    #[test]
    fn a_violation_is_told_by_its_call_or_at_least_by_its_signal() {
        let name = |call| match Outcome::of_violation(call) {
            Outcome::Violation { call } => call,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            name(0).as_deref(),
            syscalls::Sysno::new(0).map(|c| c.name())
        );
        assert_eq!(name(4000).as_deref(), Some("number 4000"));
        assert_eq!(name(u32::MAX), None);
        for (code, status) in [(libc::CLD_KILLED, libc::SIGSYS), (libc::CLD_EXITED, 159)] {
            let exit = Exit::new(code, status, Duration::ZERO, 0);
            let outcome = Outcome::of_dead(exit, 0, 0, 0, Duration::ZERO);
            assert_eq!(outcome, Outcome::Violation { call: None });
            assert_eq!(outcome.code(), "worker_misbehaved");
        }
    }

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
