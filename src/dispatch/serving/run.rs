//! One request given to a job, and the job followed to its last word or its end.

#[cfg(feature = "fault-engine")]
use std::sync::LazyLock;
use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::talk::{Last, Talk};
use crate::{
    dispatch::{Shared, state::accepted::Waiting},
    isolation::{Usage, channel::ChannelError},
    job::wire::{FromJob, JobProcess, Order, ToJob},
    request::{Figures, Group, Outcome},
};

/// A job that answered and does not go when it is dismissed, or hung up and does not end, is killed after this.
pub(super) const EXIT_GRACE: Duration = Duration::from_secs(1);

/// How a job's work on its request ended; the process itself may still be there.
pub(in crate::dispatch) struct Ended {
    pub(in crate::dispatch) outcome: Outcome,
    pub(in crate::dispatch) usage: Usage,
    pub(in crate::dispatch) figures: Figures,
    /// When the service decided to kill it, if it did.
    pub(in crate::dispatch) killed: Option<Instant>,
    /// Why it failed before it had begun with the request, if it did: another job can serve it as if nothing had been.
    pub(in crate::dispatch) untouched: Option<String>,
    /// Whether it ended in good order, and can serve again.
    pub(in crate::dispatch) is_sound: bool,
}

/// A pause in the hand-over that `STT_TEST_HAND_OVER_DELAY` (such as `200us`) asks for: the benchmark has to find it.
#[cfg(feature = "fault-engine")]
fn planted_delay() {
    static DELAY: LazyLock<Option<Duration>> = LazyLock::new(|| {
        let text = std::env::var("STT_TEST_HAND_OVER_DELAY").ok()?;
        Some(text.parse::<humantime::Duration>().ok()?.into())
    });
    if let Some(delay) = *DELAY {
        std::thread::sleep(delay);
    }
}

/// Give the job its request.
async fn begin(job: &mut JobProcess, waiting: &Waiting, talk: &Talk<'_>) -> Result<(), Last> {
    if waiting.lower.memory.is_some() {
        job.lower(waiting.limits.of_cgroup())
            .map_err(|error| Last::Violation(format!("it cannot be held to its limit: {error}")))?;
    }
    let is_used = job.is_used();
    #[cfg(feature = "fault-engine")]
    planted_delay();
    let order = ToJob::Transcribe(Order {
        id: waiting.id,
        max_audio: waiting.limits.max_audio,
        ask: waiting.ask.clone(),
    });
    match job.assign(&order, waiting.recording.as_fd()) {
        Ok(()) if is_used => talk.taken(job, &waiting.events).await,
        Ok(()) => Ok(()),
        Err(error) if is_used => Err(Last::Stale(error.to_string())),
        Err(error) => Err(Last::Lost(error)),
    }
}

/// Give the job its request and follow it to its last word or its end.
pub(in crate::dispatch) async fn run(
    shared: &Shared,
    job: &mut JobProcess,
    waiting: &Waiting,
) -> Ended {
    let mut talk = Talk::new(waiting);
    let work = async {
        match begin(job, waiting, &talk).await {
            Ok(()) => talk.follow(job, &waiting.events).await,
            Err(last) => last,
        }
    };
    let last = tokio::select! {
        biased;
        last = work => last,
        () = shared.aborted() => Last::Stopped,
    };
    waiting.account.progress().ending();
    let mut goes_on = false;
    let mut killed = None;
    if !matches!(last, Last::Word(_)) {
        // A job that lost its channel is ending or broken; only its end tells which.
        if !matches!(
            last,
            Last::Lost(ChannelError::HungUp | ChannelError::Unread)
        ) {
            killed = Some(Instant::now());
            job.kill();
        }
        if timeout(EXIT_GRACE, job.ended()).await.is_err() {
            goes_on = true;
            job.kill();
        }
    }
    let usage = job.usage();
    let mut figures = Figures {
        audio: talk.audio,
        ..Figures::default()
    };
    let is_sound = match &last {
        Last::Word(FromJob::Done { .. }) => true,
        // After any other failure nobody knows the state of its library or its decoder.
        Last::Word(FromJob::Failed { failure, .. }) => {
            failure.code.group() == Group::Recording && !failure.is_broken
        }
        _ => false,
    };
    let mut untouched = None;
    let lost_unread = matches!(last, Last::Lost(ChannelError::Unread));
    let outcome = match last {
        Last::Word(FromJob::Done { figures: told, .. }) => {
            figures = told;
            Outcome::Ok
        }
        Last::Word(FromJob::Failed { failure, .. }) => Outcome::Failed(failure),
        Last::Word(_) => Outcome::Misbehaved("it ended with something that is no end".into()),
        Last::Forbidden(call) => Outcome::of_violation(call),
        Last::Violation(what) => Outcome::Misbehaved(what),
        Last::Stale(_) if waiting.events.is_closed() => Outcome::Cancelled,
        Last::Stale(what) => {
            untouched = Some(what.clone());
            Outcome::Misbehaved(what)
        }
        Last::OutOfTime(limit) => Outcome::Timeout {
            limit,
            after: talk.allowance(limit),
            audio: talk.audio,
        },
        Last::Cancelled => Outcome::Cancelled,
        Last::Stopped => Outcome::Stopped,
        Last::Lost(error) if error.is_violation() => Outcome::Misbehaved(error.to_string()),
        // Killed by us, which must not look like a crash.
        Last::Lost(ChannelError::HungUp) if goes_on => {
            Outcome::Misbehaved("it hung up without a last word, and went on".into())
        }
        Last::Lost(_) => match job.ended().await {
            Ok(exit) => Outcome::of_dead(
                exit,
                usage.oom_kills,
                usage.limit.unwrap_or(0),
                usage.peak,
                talk.audio,
            ),
            Err(error) => Outcome::Misbehaved(format!("its end is unknown: {error}")),
        },
    };
    if lost_unread && let Outcome::Crashed(how) = &outcome {
        untouched = Some(how.to_string());
    }
    Ended {
        killed,
        untouched,
        is_sound,
        outcome,
        usage,
        figures,
    }
}
