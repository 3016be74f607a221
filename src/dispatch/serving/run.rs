//! One request given to a job, and the job followed to its last word or its end.

use std::{io, os::fd::AsFd, time::Duration};

use tokio::time::{Instant, timeout};

use super::{
    talk::JobTalk,
    verdict::{Facts, Last, Verdict},
};
use crate::{
    dispatch::state::{accepted::Accepted, shared::Shared},
    isolation::{Exit, Usage},
    job::wire::{JobProcess, Order, ToJob},
};

/// Time for a job to end by itself, after it was dismissed or has hung up. Then it is killed.
pub const EXIT_GRACE: Duration = Duration::from_secs(1);

/// How a job's work on its request ended. The process itself may still be there.
pub struct Ended {
    pub verdict: Verdict,
    pub usage: Usage,
    /// When the service decided to kill the job, if it did.
    pub killed: Option<Instant>,
}

/// How the process of a job ended that had no last word.
#[derive(Default)]
struct Death {
    killed: Option<Instant>,
    goes_on: bool,
}

/// A pause in the hand-over that `STT_TEST_HAND_OVER_DELAY` (such as `200us`) asks for: the
/// benchmark has to find it.
fn planted_delay() {
    #[cfg(feature = "fault-engine")]
    {
        use std::sync::LazyLock;

        static DELAY: LazyLock<Option<Duration>> = LazyLock::new(|| {
            let text = std::env::var("STT_TEST_HAND_OVER_DELAY").ok()?;
            Some(text.parse::<humantime::Duration>().ok()?.into())
        });
        if let Some(delay) = *DELAY {
            std::thread::sleep(delay);
        }
    }
}

/// Give the job its request and follow it to its last word or its end.
pub async fn run(shared: &Shared, job: &mut JobProcess, request: &Accepted) -> Ended {
    let was_used = job.is_used();
    let mut talk = JobTalk::new(request);
    let work = async {
        match begin(job, request, &talk).await {
            Ok(()) => talk.follow(job, &request.events).await,
            Err(last) => last,
        }
    };
    let last = tokio::select! {
        biased;
        last = work => last,
        () = shared.aborted() => Last::Stopped,
    };
    request.account.progress().ending();
    let death = if last.is_word() {
        Death::default()
    } else {
        end(job, &last).await
    };
    let usage = job.usage();
    let exit = exit(job, &last, death.goes_on).await;
    let facts = Facts {
        was_used,
        unread: request.unread,
        client_is_gone: request.events.is_closed(),
        goes_on: death.goes_on,
        exit,
        usage,
        audio: talk.audio,
    };
    Ended {
        verdict: Verdict::on(last, &facts),
        usage: facts.usage,
        killed: death.killed,
    }
}

/// Give the job its request.
async fn begin(job: &mut JobProcess, request: &Accepted, talk: &JobTalk<'_>) -> Result<(), Last> {
    if request.own_limits.memory.is_some() {
        job.lower(request.limits.of_cgroup())
            .map_err(|error| Last::Violation(format!("it cannot be held to its limit: {error}")))?;
    }
    let was_used = job.is_used();
    planted_delay();
    let order = ToJob::Transcribe(Order {
        id: request.id,
        max_audio: request.limits.max_audio,
        ask: request.ask.clone(),
    });
    match job.assign(&order, request.recording.as_fd()) {
        Ok(()) if was_used => talk.taken(job, &request.events).await,
        Ok(()) => Ok(()),
        Err(error) if was_used => Err(Last::Stale(error.to_string())),
        Err(error) => Err(Last::Lost(error)),
    }
}

/// See a job to its end that had no last word: kill it, unless it is ending by itself in time.
async fn end(job: &mut JobProcess, last: &Last) -> Death {
    let mut death = Death::default();
    if !last.is_hang_up() {
        death.killed = Some(Instant::now());
        job.kill();
    }
    if timeout(EXIT_GRACE, job.ended()).await.is_err() {
        death.goes_on = true;
        job.kill();
    }
    death
}

/// How the job's process ended, if the verdict depends on it.
async fn exit(job: &mut JobProcess, last: &Last, goes_on: bool) -> Option<io::Result<Exit>> {
    if last.depends_on_exit(goes_on) {
        Some(job.ended().await)
    } else {
        None
    }
}
