//! The verdict on a job that has ended its work: for its client, the job itself, and the request.

use std::{io, time::Duration};

use crate::{
    isolation::{Exit, Usage, channel::ChannelError},
    request::{Failure, Figures, Group, Outcome, TimeLimit},
};

/// How many jobs may die with a request in front of them that they have not read. After that many,
/// the request fails as if they had read it. Jobs that have served before do not count: there are
/// few of them, and each was sound until then.
const MAX_UNREAD: u32 = 3;

/// Why the service stopped listening to a job.
#[derive(Debug)]
pub enum Last {
    /// The job told in good order that the transcript is complete.
    Done(Figures),
    /// The job told in good order that it failed.
    Failed(Failure),
    /// The job said something that it must not say.
    Violation(String),
    /// The job says that it was stopped at this system call. That is a verdict on nobody but
    /// itself, so it is believed.
    Forbidden(u32),
    /// One of the job's times is up, after it had this much of it.
    OutOfTime(TimeLimit, Duration),
    /// Nobody wants the answer.
    Cancelled,
    /// The service stops, and waits no longer.
    Stopped,
    /// The channel to the job broke.
    Lost(ChannelError),
    /// The job misbehaved, hung or ended before it took this request. The cause is an earlier
    /// request, whose client has its answer.
    Stale(String),
}

impl Last {
    /// Whether the job said its last word in good order.
    pub fn is_word(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(_))
    }

    /// Whether the job closed its channel: it is ending or broken, and only its end tells which.
    pub fn is_hang_up(&self) -> bool {
        matches!(
            self,
            Self::Lost(ChannelError::HungUp | ChannelError::Unread)
        )
    }

    /// Whether the outcome depends on how the process ended. `goes_on` tells whether the process
    /// was still there after its time to end.
    pub fn depends_on_exit(&self, goes_on: bool) -> bool {
        match self {
            Self::Lost(ChannelError::HungUp) => !goes_on,
            Self::Lost(error) => !error.is_violation(),
            _ => false,
        }
    }
}

/// Everything else that is known when a job's work on a request has ended.
#[derive(Debug)]
pub struct Facts {
    /// Whether the job had served a request before this one.
    pub was_used: bool,
    /// How many jobs died with this request before they had read it.
    pub unread: u32,
    /// Whether the client is gone.
    pub client_is_gone: bool,
    /// Whether the process was still there after its time to end.
    pub goes_on: bool,
    /// How the process ended, if [`Last::depends_on_exit`].
    pub exit: Option<io::Result<Exit>>,
    /// Resources that the job used.
    pub usage: Usage,
    /// How much audio the job had read.
    pub audio: Duration,
}

/// The meaning of the end of a job's work.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    /// The request ended like this, if it is not served again.
    pub outcome: Outcome,
    /// The job's report about its own work.
    pub figures: Figures,
    /// Whether the job can serve another request.
    pub reuse: bool,
    /// The reason why another job is to serve the request as if nothing had happened, if so.
    pub retry: Option<String>,
}

impl Verdict {
    /// The verdict on a job that ended like this.
    pub fn on(last: Last, facts: &Facts) -> Self {
        let reuse = leaves_the_job_sound(&last);
        let is_stale = matches!(last, Last::Stale(_));
        let is_unread = matches!(last, Last::Lost(ChannelError::Unread));
        let may_retry = !facts.client_is_gone && (facts.was_used || facts.unread < MAX_UNREAD);
        let (outcome, figures) = match last {
            Last::Done(figures) => (Outcome::Ok, figures),
            last => {
                let figures = Figures {
                    audio: facts.audio,
                    ..Figures::default()
                };
                (outcome(last, facts), figures)
            }
        };
        let retry = match &outcome {
            Outcome::Crashed(how) if is_unread && may_retry => Some(how.to_string()),
            Outcome::Misbehaved(what) if is_stale && may_retry => Some(what.clone()),
            _ => None,
        };
        Self {
            outcome,
            figures,
            reuse,
            retry,
        }
    }
}

/// Whether the job can serve another request.
fn leaves_the_job_sound(last: &Last) -> bool {
    match last {
        Last::Done(figures) => !figures.converted,
        // After any other failure nobody knows the state of its library or its decoder.
        Last::Failed(failure) => failure.code.group() == Group::Recording && !failure.is_broken,
        Last::Violation(_)
        | Last::Forbidden(_)
        | Last::OutOfTime(..)
        | Last::Cancelled
        | Last::Stopped
        | Last::Lost(_)
        | Last::Stale(_) => false,
    }
}

/// The outcome of a request whose job ended like this.
fn outcome(last: Last, facts: &Facts) -> Outcome {
    match last {
        Last::Done(_) => Outcome::Ok,
        Last::Failed(failure) => Outcome::Failed(failure),
        Last::Forbidden(call) => Outcome::of_violation(call),
        Last::Violation(what) => Outcome::Misbehaved(what),
        Last::Stale(_) if facts.client_is_gone => Outcome::Cancelled,
        Last::Stale(what) => Outcome::Misbehaved(what),
        Last::OutOfTime(limit, after) => Outcome::Timeout {
            limit,
            after,
            audio: facts.audio,
        },
        Last::Cancelled => Outcome::Cancelled,
        Last::Stopped => Outcome::Stopped,
        Last::Lost(error) if error.is_violation() => Outcome::Misbehaved(error.to_string()),
        // The service killed it, which must not look like a crash.
        Last::Lost(ChannelError::HungUp) if facts.goes_on => {
            Outcome::Misbehaved("it hung up without a last word, and went on".into())
        }
        Last::Lost(_) => of_dead(facts),
    }
}

/// The outcome of a request whose job is dead and had no last word.
fn of_dead(facts: &Facts) -> Outcome {
    let usage = &facts.usage;
    let limit = usage.limit.unwrap_or(0);
    match &facts.exit {
        Some(Ok(exit)) => Outcome::of_dead(*exit, usage.oom_kills, limit, usage.peak, facts.audio),
        Some(Err(error)) => Outcome::Misbehaved(format!("its end is unknown: {error}")),
        None => Outcome::Misbehaved("its end is unknown".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{isolation::How, request::Code};

    const AUDIO: Duration = Duration::from_secs(3);

    /// A job that served before, for a client that is there.
    fn facts() -> Facts {
        Facts {
            was_used: true,
            unread: 0,
            client_is_gone: false,
            goes_on: false,
            exit: None,
            usage: Usage::default(),
            audio: AUDIO,
        }
    }

    fn ended_by(how: How) -> Facts {
        Facts {
            exit: Some(Ok(Exit {
                how,
                cpu: Duration::ZERO,
                peak_resident: 0,
            })),
            ..facts()
        }
    }

    fn segfault() -> Facts {
        ended_by(How::Signal(libc::SIGSEGV))
    }

    fn misbehaved(what: &str) -> Outcome {
        Outcome::Misbehaved(what.into())
    }

    fn hung_up() -> Last {
        Last::Lost(ChannelError::HungUp)
    }

    fn unread() -> Last {
        Last::Lost(ChannelError::Unread)
    }

    /// Each way in which a job can end by a decision or a message, and the outcome of its request.
    fn decided_ends() -> Vec<(Last, Facts, Outcome)> {
        let stale = Last::Stale("it was late".into());
        let lied = Last::Violation("it lied".into());
        let out_of_time = Outcome::Timeout {
            limit: TimeLimit::Cpu,
            after: 2 * AUDIO,
            audio: AUDIO,
        };
        let forbidden = Outcome::Violation { call: None };
        let ends = [
            (Last::Done(Figures::default()), Outcome::Ok),
            (lied, misbehaved("it lied")),
            (Last::Forbidden(u32::MAX), forbidden),
            (Last::OutOfTime(TimeLimit::Cpu, 2 * AUDIO), out_of_time),
            (Last::Cancelled, Outcome::Cancelled),
            (Last::Stopped, Outcome::Stopped),
            (stale, misbehaved("it was late")),
        ];
        let with_facts = ends.map(|(last, outcome)| (last, facts(), outcome));
        with_facts.into()
    }

    /// Each way in which a channel can break and a process can end, and the outcome of its request.
    fn lost_ends() -> Vec<(Last, Facts, Outcome)> {
        let crashed = || Outcome::Crashed(How::Signal(libc::SIGSEGV));
        let broken = Last::Lost(ChannelError::Io(io::Error::other("broken")));
        let gift = Last::Lost(ChannelError::Descriptors);
        let gift_told = "a message carries descriptors that were not asked for";
        let went_on_told = "it hung up without a last word, and went on";
        let still_there = || Facts {
            goes_on: true,
            ..segfault()
        };
        let unknown = Facts {
            exit: Some(Err(io::Error::other("gone"))),
            ..facts()
        };
        let forbidden = ended_by(How::Signal(libc::SIGSYS));
        let mut out_of_memory = ended_by(How::Signal(libc::SIGKILL));
        out_of_memory.usage.oom_kills = 1;
        out_of_memory.usage.limit = Some(100);
        out_of_memory.usage.peak = 90;
        let memory_limit = Outcome::MemoryLimit {
            limit: 100,
            peak: 90,
            audio: AUDIO,
        };
        vec![
            (hung_up(), segfault(), crashed()),
            (unread(), segfault(), crashed()),
            (unread(), still_there(), crashed()),
            (broken, segfault(), crashed()),
            (hung_up(), still_there(), misbehaved(went_on_told)),
            (gift, segfault(), misbehaved(gift_told)),
            (hung_up(), forbidden, Outcome::Violation { call: None }),
            (hung_up(), out_of_memory, memory_limit),
            (hung_up(), unknown, misbehaved("its end is unknown: gone")),
            (hung_up(), facts(), misbehaved("its end is unknown")),
        ]
    }

    fn ends() -> impl Iterator<Item = (Last, Facts, Outcome)> {
        decided_ends().into_iter().chain(lost_ends())
    }

    #[test]
    fn each_end_has_its_outcome_and_only_success_keeps_the_job() {
        for (last, facts, outcome) in ends() {
            let (told, done) = (format!("{last:?}"), matches!(last, Last::Done(_)));
            let verdict = Verdict::on(last, &facts);
            assert_eq!(verdict.outcome, outcome, "{told}");
            assert_eq!(verdict.reuse, done, "{told}");
            if !done {
                assert_eq!(verdict.figures.audio, AUDIO, "{told}");
            }
        }
    }

    #[test]
    fn a_job_tells_its_own_figures_when_it_is_done() {
        let figures = Figures {
            audio: 2 * AUDIO,
            ..Figures::default()
        };
        let verdict = Verdict::on(Last::Done(figures.clone()), &facts());
        assert_eq!(verdict.figures, figures);
    }

    #[test]
    fn a_failure_keeps_the_job_only_if_the_recording_is_to_blame() {
        let jobs_codes = Code::ALL.iter().filter(|code| code.is_for_jobs());
        for code in jobs_codes {
            for is_broken in [false, true] {
                let failure = Failure {
                    is_broken,
                    ..Failure::new(*code, "why")
                };
                let verdict = Verdict::on(Last::Failed(failure.clone()), &facts());
                let of_recording = matches!(
                    code,
                    Code::InvalidAudio | Code::AudioTooLong | Code::SpeakersUnknown
                );
                assert_eq!(verdict.reuse, of_recording && !is_broken, "{failure:?}");
                assert_eq!(verdict.outcome, Outcome::Failed(failure));
                assert_eq!(verdict.retry, None);
            }
        }
    }

    /// Whether another job serves the request after this end.
    fn is_retried(last: Last, facts: &Facts) -> bool {
        Verdict::on(last, facts).retry.is_some()
    }

    #[test]
    fn only_a_request_that_no_job_has_touched_is_served_again() {
        for (last, facts, _) in ends() {
            let told = format!("{last:?}");
            let untouched = matches!(last, Last::Stale(_) | Last::Lost(ChannelError::Unread));
            assert_eq!(is_retried(last, &facts), untouched, "{told}");
        }
        let stale = || Last::Stale("it was late".into());
        let verdict = Verdict::on(unread(), &segfault());
        assert_eq!(verdict.retry.as_deref(), Some("it was ended by SIGSEGV"));
        // Jobs that served before are few. Fresh ones could die with it without end.
        for (was_used, unread_before, retried) in [
            (true, 100, true),
            (false, MAX_UNREAD - 1, true),
            (false, MAX_UNREAD, false),
        ] {
            let facts = Facts {
                was_used,
                unread: unread_before,
                ..segfault()
            };
            assert_eq!(is_retried(stale(), &facts), retried);
            assert_eq!(is_retried(unread(), &facts), retried);
        }
        let nobody_waits = Facts {
            client_is_gone: true,
            ..segfault()
        };
        assert!(!is_retried(unread(), &nobody_waits));
        let verdict = Verdict::on(stale(), &nobody_waits);
        assert_eq!((verdict.outcome, verdict.retry), (Outcome::Cancelled, None));
        // Memory and forbidden calls are the request's own doing, whatever the channel says.
        let forbidden = ended_by(How::Signal(libc::SIGSYS));
        assert!(!is_retried(unread(), &forbidden));
    }

    #[test]
    fn the_exit_matters_only_if_nothing_else_tells() {
        let asks = |last: Last| (last.depends_on_exit(false), last.depends_on_exit(true));
        assert_eq!(asks(hung_up()), (true, false));
        assert_eq!(asks(unread()), (true, true));
        assert_eq!(asks(Last::Lost(ChannelError::Descriptors)), (false, false));
        assert_eq!(asks(Last::Cancelled), (false, false));
        assert_eq!(asks(Last::Done(Figures::default())), (false, false));
    }
}
