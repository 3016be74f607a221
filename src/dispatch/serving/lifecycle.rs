//! The life of one job: ready, waiting for a request, serving it, and in mode `hybrid` ready again.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::OwnedPermit,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    recycle::{Reason, Wear},
    run::{EXIT_GRACE, Ended, run},
    talk::unasked,
    verdict::Verdict,
    words::{clean, last_words},
};
use crate::{
    config::{Mode, Model},
    dispatch::{
        request::events::{Report, RequestEvent},
        state::{
            accepted::Accepted,
            idle::{IdleHandle, NextRequest},
            pool_id::PoolId,
            shared::Shared,
        },
        statistics::{
            books::Books,
            kinds::{Latency, Lifecycle},
            open::Worker,
        },
    },
    events,
    isolation::{Preload, channel::ChannelError},
    job::wire::{FromJob, JobProcess},
    units::Lifetime,
};

/// A forked child only has to set itself up before it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// Wait until a forked job is ready. `load` is how long it may take to load a model, if it does
/// that itself.
///
/// # Errors
/// It ended, broke the protocol or took too long; the reason for the log. It is gone by then.
pub async fn ready(job: &mut JobProcess, preload: Preload, load: Duration) -> Result<(), String> {
    let limit = match preload {
        Preload::BeforeFork => READY_TIMEOUT,
        Preload::AfterFork => READY_TIMEOUT + load,
    };
    let failure = match timeout(limit, job.receive()).await {
        Ok(Ok(FromJob::Ready)) => {
            job.begin();
            return Ok(());
        }
        Ok(Ok(FromJob::LoadFailed(message))) => return Err(clean(&message)),
        Ok(heard) => fault(job, heard).await,
        Err(_) => format!("it was not ready within {limit:?}"),
    };
    let words = last_words(job);
    Err(format!("a forked job is of no use: {failure}{words}"))
}

/// Keep a ready job in its model's pool until it gets a request, let it serve that one, and in mode
/// `hybrid` begin again. Returns when the process is gone.
pub async fn live(shared: &Arc<Shared>, id: PoolId, model: Arc<Model>, job: JobProcess) {
    let (handle, mut next) = IdleHandle::new(key(&job));
    let mut job = ReadyJob {
        id,
        books: shared.statistics.model(&model.name),
        wear: (model.mode == Mode::Hybrid).then(|| Wear::of(&job, model.recycle)),
        generation: shared.offer_fresh(id, handle),
        model,
        job,
    };
    shared.pump();
    let release = loop {
        let Some(request) = job.wait(shared, next).await else {
            break None;
        };
        match job.serve(shared, request).await {
            After::ServeAgain(again) => next = again,
            After::End(release) => break release,
        }
    };
    job.job.dismiss(EXIT_GRACE).await;
    if let Some(release) = release {
        release.tell(&job.books);
    }
}

/// Tells idle jobs of one model apart.
fn key(job: &JobProcess) -> u64 {
    u64::from(job.pid().cast_unsigned())
}

/// The fault of a job that says this, or hangs up, though nobody asked it anything.
async fn fault(job: &mut JobProcess, heard: Result<FromJob, ChannelError>) -> String {
    match heard {
        Ok(message) => unasked(&message),
        Err(ChannelError::HungUp) => match timeout(EXIT_GRACE, job.ended()).await {
            Ok(Ok(exit)) => exit.how.to_string(),
            _ => "it hung up".into(),
        },
        Err(error) => error.to_string(),
    }
}

/// A job that is ready for requests of its model.
struct ReadyJob {
    id: PoolId,
    model: Arc<Model>,
    books: Arc<Books>,
    /// Generation of the settings that it was made with.
    generation: u64,
    /// `None`: one request is all that a job of its mode serves.
    wear: Option<Wear>,
    job: JobProcess,
}

/// The end of an idle job's wait.
enum Woken {
    Request(Box<Accepted>),
    /// The scheduler let it go.
    LetGo,
    /// It has nothing to do, so anything that it says is wrong.
    Heard(Result<FromJob, ChannelError>),
    /// It has waited for `spares.ttl`.
    Expired,
    /// It is as old as a job may become.
    Old,
}

/// How a job goes on after a request.
enum After {
    /// It is in its pool again: there its next request comes.
    ServeAgain(NextRequest),
    /// It ends. If it served its request, the release of its slot is measured.
    End(Option<Release>),
}

/// The measured release of a slot.
struct Release {
    slot: usize,
    request_id: String,
    /// When the request was over.
    since: Instant,
    is_killed: bool,
}

impl ReadyJob {
    /// Wait for a request. `None`: the job takes none any more.
    async fn wait(&mut self, shared: &Shared, mut next: NextRequest) -> Option<Box<Accepted>> {
        let woken = self.woken(&mut next).await;
        match woken {
            Woken::Request(request) => return Some(request),
            Woken::LetGo => return None,
            Woken::Heard(_) | Woken::Expired | Woken::Old => {}
        }
        let late = self.leave_pool(shared, next);
        match (woken, late) {
            (Woken::Heard(heard), late) => {
                self.books.count(Lifecycle::SparesDied);
                // Another job serves that.
                if let Some(request) = late {
                    shared.give_back(request);
                }
                let what = fault(&mut self.job, heard).await;
                self.tell_died("", &what);
                shared.delay_spares(self.id);
                self.job.kill();
                None
            }
            (_, Some(request)) => Some(request),
            (Woken::Old, None) => {
                if let Some(wear) = &self.wear {
                    self.tell_recycled(Reason::Age, wear);
                }
                None
            }
            (_, None) => {
                self.books.count(Lifecycle::SparesExpired);
                None
            }
        }
    }

    /// Wait until something happens to the idle job.
    async fn woken(&self, next: &mut NextRequest) -> Woken {
        let ttl = async {
            match self.model.spares.ttl {
                Lifetime::Limited(ttl) => sleep(ttl).await,
                Lifetime::Zero | Lifetime::Unlimited => std::future::pending().await,
            }
        };
        let max_age = async {
            match &self.wear {
                Some(wear) => sleep_until(wear.end()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            request = next => request.map_or(Woken::LetGo, Woken::Request),
            heard = self.job.receive() => Woken::Heard(heard),
            () = ttl => Woken::Expired,
            () = max_age => Woken::Old,
        }
    }

    /// Take the job out of its pool. Gives the request that it was given until this moment.
    fn leave_pool(&self, shared: &Shared, mut next: NextRequest) -> Option<Box<Accepted>> {
        shared.schedule().withdraw(self.id, key(&self.job));
        next.close();
        next.try_recv().ok()
    }

    /// Serve one request to its end.
    async fn serve(&mut self, shared: &Shared, mut request: Box<Accepted>) -> After {
        let start = Instant::now();
        // The limits that the job's slot was made with: those in force may be others by now.
        request.limits = request.own_limits.lower(self.model.limits);
        let (pid, slot) = (self.job.pid(), self.job.slot().index());
        let worker = Worker::job(pid, slot, self.model.mode, self.job.gauge());
        request.account.begin(worker);
        if request.unread == 0 {
            let _ = request.events.try_send(RequestEvent::Started);
        }
        // The last event gets its place now. Behind a burst of segments there might be none, and
        // the event must neither wait for the client nor be lost.
        let last_event = request.events.clone().try_reserve_owned();
        let ended = run(shared, &mut self.job, &request).await;
        if let Some(what) = &ended.verdict.retry {
            self.pass_on(shared, request, what);
            return After::End(None);
        }
        let (next, release) = self.answer(shared, request, start, ended, last_event.ok());
        tokio::task::yield_now().await;
        self.log_words(&release);
        let next = next.and_then(|next| self.settle(shared, next));
        next.map_or(After::End(Some(release)), After::ServeAgain)
    }

    /// End a request that was served since `start`. Gives the place of the next one, if the job is
    /// to serve again.
    fn answer(
        &mut self,
        shared: &Shared,
        request: Box<Accepted>,
        start: Instant,
        ended: Ended,
        last_event: Option<OwnedPermit<RequestEvent>>,
    ) -> (Option<NextRequest>, Release) {
        let Verdict {
            outcome,
            figures,
            reuse,
            retry: _,
        } = ended.verdict;
        let report = Report {
            outcome: outcome.clone(),
            usage: ended.usage,
            figures,
            pid: self.job.pid(),
            queued: start - request.since,
            wall: start.elapsed(),
        };
        request.account.finish(&report);
        // The job is in its pool before its client can know: if the client asks again at once, it
        // gets the same job, which is warm.
        let next = if reuse {
            self.offer_again(shared, report.usage.anonymous)
        } else {
            None
        };
        // The answer first; anything that the job leaves behind is cleared away afterwards.
        if let Some(last_event) = last_event {
            last_event.send(RequestEvent::Finished(Box::new(report)));
        }
        let release = Release {
            slot: self.job.slot().index(),
            request_id: request.request_id.clone(),
            since: ended.killed.unwrap_or_else(Instant::now),
            is_killed: ended.killed.is_some(),
        };
        shared.finished(&request, &outcome, start.elapsed());
        (next, release)
    }

    /// Give a request that the job has not touched back, for another job to serve.
    fn pass_on(&mut self, shared: &Shared, mut request: Box<Accepted>, what: &str) {
        self.tell_died(", its request goes to another one", what);
        self.books.count(Lifecycle::SparesDied);
        request.unread += 1;
        shared.give_back(request);
    }

    /// Put the job into its pool again after good work, if it is to serve once more. `memory` is
    /// what it has of its own now, in bytes.
    fn offer_again(&mut self, shared: &Shared, memory: u64) -> Option<NextRequest> {
        let wear = self.wear.as_mut()?;
        wear.served(memory);
        if let Some(reason) = wear.due() {
            if let Some(wear) = &self.wear {
                self.tell_recycled(reason, wear);
            }
            return None;
        }
        let (handle, next) = IdleHandle::new(key(&self.job));
        let is_wanted = shared.offer_again(self.id, self.generation, handle);
        is_wanted.then_some(next)
    }

    /// Make the job ready for the next request, now that the answer is sent. If that fails, it
    /// leaves its pool, and `None` is returned.
    fn settle(&mut self, shared: &Shared, next: NextRequest) -> Option<NextRequest> {
        let Err(error) = self.job.settle() else {
            return Some(next);
        };
        if let Some(request) = self.leave_pool(shared, next) {
            shared.give_back(request);
        }
        let name = &self.model.name;
        tracing::error!(
            model = name,
            slot = self.job.slot().index(),
            "model {name}: a job cannot serve again: {error}"
        );
        None
    }

    fn tell_died(&mut self, and: &str, what: &str) {
        let name = &self.model.name;
        let words = last_words(&mut self.job);
        tracing::warn!(
            target: events::SPARE_DIED,
            model = name,
            pid = self.job.pid(),
            "model {name}: a spare is of no use any more{and}: {what}{words}"
        );
    }

    /// Tell why a job ends that could have gone on.
    fn tell_recycled(&self, reason: Reason, wear: &Wear) {
        self.books.count(match reason {
            Reason::Requests => Lifecycle::JobsRecycledRequests,
            Reason::Growth => Lifecycle::JobsRecycledGrowth,
            Reason::Age => Lifecycle::JobsRecycledAge,
        });
        let name = &self.model.name;
        tracing::debug!(
            model = name,
            pid = self.job.pid(),
            reason = reason.name(),
            requests = wear.requests(),
            growth_bytes = wear.growth(),
            "model {name}: a job is replaced ({}) after {} requests",
            reason.name(),
            wear.requests()
        );
    }

    fn log_words(&mut self, release: &Release) {
        let words = last_words(&mut self.job);
        if !words.is_empty() {
            let name = &self.model.name;
            tracing::warn!(
                model = name,
                slot = release.slot,
                request_id = release.request_id,
                "model {name}: a job wrote to stderr{words}"
            );
        }
    }
}

impl Release {
    /// The slot is free now: count and log how long that took.
    fn tell(&self, books: &Books) {
        let (slot, freed) = (self.slot, self.since.elapsed());
        books.observe(Latency::Exit, freed);
        if self.is_killed {
            tracing::info!(
                request_id = self.request_id,
                slot,
                slot_free_us = u64::try_from(freed.as_micros()).unwrap_or(u64::MAX),
                "slot {slot} is free {:.1} ms after its job was killed",
                freed.as_secs_f64() * 1000.0
            );
        }
    }
}
