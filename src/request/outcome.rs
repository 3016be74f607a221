//! How a request that had a job ended, with the sentence that tells a person.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::Code;
use crate::isolation::{Exit, How, sandbox::system_call_name};

/// The times of a job that have a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeLimit {
    /// Wall-clock time since the job got its request.
    Wall,
    /// CPU time of all its threads.
    Cpu,
    /// Time without a message and without use of the CPU.
    Stall,
}

/// An orderly failure, in the job's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its row in the table of codes; one that [`Code::is_for_jobs`].
    pub code: Code,
    /// One sentence for the client: the problem, and the remedy.
    pub message: String,
    /// A decoder gave up in the middle of its work: the job must not serve again.
    pub is_broken: bool,
}

impl Failure {
    /// A failure of a job that is sound.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            message,
            is_broken: false,
        }
    }
}

/// How a request that had a job ended. It is decided once (`dispatch/serving/verdict.rs`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The transcript is complete.
    Ok,
    /// The job said in good order that it failed.
    Failed(Failure),
    /// The kernel ended the job because it needed more memory than its limit.
    MemoryLimit {
        /// The job's `memory.max`, in bytes.
        limit: u64,
        /// Highest use, in bytes; never above the limit.
        peak: u64,
        /// Audio that was decoded before the end.
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
    /// The job was killed because one of its times was up.
    Timeout {
        /// The time that was up.
        limit: TimeLimit,
        /// The length of that limit.
        after: Duration,
        /// Audio that was decoded until then.
        audio: Duration,
    },
    /// The client went away; the job was killed.
    Cancelled,
    /// The service stopped and could not wait any longer; the job was killed.
    Stopped,
}

impl Outcome {
    /// Its row in the table of codes.
    pub fn code(&self) -> Code {
        match self {
            Self::Ok => Code::Ok,
            Self::Failed(failure) => failure.code,
            Self::MemoryLimit { .. } => Code::MemoryLimitExceeded,
            Self::Crashed(_) => Code::WorkerCrashed,
            Self::Misbehaved(_) | Self::Violation { .. } => Code::WorkerMisbehaved,
            Self::Timeout { .. } => Code::Timeout,
            Self::Cancelled => Code::Cancelled,
            Self::Stopped => Code::ShuttingDown,
        }
    }
}

impl Outcome {
    /// The outcome of a job that ended without a last word, after `audio` had been decoded.
    ///
    /// `oom_kills` is the number of processes of this job's cgroup that the kernel killed for
    /// memory since the request was assigned. It decides first, because an OOM kill otherwise looks
    /// like any SIGKILL. `limit` and `peak` are bytes.
    pub fn of_dead(exit: Exit, oom_kills: u64, limit: u64, peak: u64, audio: Duration) -> Self {
        if oom_kills > 0 {
            Self::MemoryLimit { limit, peak, audio }
        } else if exit.how.is_violation() {
            Self::Violation { call: None }
        } else {
            Self::Crashed(exit.how)
        }
    }

    /// The outcome of a job that was stopped at the system call with this number; `u32::MAX` if it
    /// is unknown.
    pub fn of_violation(call: u32) -> Self {
        let call = match (system_call_name(call), call) {
            (Some(name), _) => Some(name.into()),
            (None, u32::MAX) => None,
            (None, number) => Some(format!("number {number}")),
        };
        Self::Violation { call }
    }
}

/// One sentence for the client and for the journal.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        match self {
            Self::Ok => f.write_str("the transcript is complete"),
            // A program's break of its protocol reads like a job's.
            Self::Failed(failure) if failure.code != Code::WorkerMisbehaved => {
                f.write_str(&failure.message)
            }
            Self::Failed(Failure { message: what, .. }) | Self::Misbehaved(what) => {
                write!(f, "the process of this transcription was stopped: {what}")
            }
            Self::MemoryLimit { limit, peak, audio } => write!(
                f,
                "the transcription needed more memory than its limit of {:.1} MiB \
                 (peak {:.1} MiB, after {:.1} s of audio)",
                mebibytes(*limit),
                mebibytes(*peak),
                audio.as_secs_f64()
            ),
            Self::Crashed(how) => write!(f, "the process of this transcription crashed: {how}"),
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
            assert_eq!(outcome.code(), Code::WorkerMisbehaved);
        }
    }
}
