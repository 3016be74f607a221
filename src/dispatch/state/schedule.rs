//! All that the scheduler decides by, behind one lock: models, queue, memory, and what runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    accepted::{Accepted, BoxedRequest, Queue},
    breaker::{Breaker, Change},
    budget::Budget,
    idle::IdleHandle,
    pool::{Health, Pool},
    pool_id::PoolId,
    turns::Full,
};
use crate::{
    config::{Mode, Model, Share},
    dispatch::{request::client::Client, statistics::books::Books},
    request::{Outcome, Refusal},
    units::Lifetime,
};

/// Numbers for the status line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests whose job runs.
    pub running: usize,
    /// Requests that wait for a job.
    pub queued: usize,
    /// Jobs that wait for a request.
    pub spares: usize,
    /// Requests finished since the start.
    pub finished: u64,
}

/// Everything that the scheduler knows at this moment.
#[derive(Debug)]
pub struct Schedule {
    pub pools: BTreeMap<PoolId, Pool>,
    pub queue: Queue,
    pub budget: Budget,
    pub running: usize,
    finished: u64,
    next_request: u64,
    next_pool: u32,
    /// Recent mean time of service, of all models.
    pub service_time: Duration,
    /// No spares are kept until then, because memory is scarce.
    pub pressure_until: Instant,
    /// When a request was last handed over or ended, a job or a model became ready, or a request
    /// came for a model for which none waited.
    pub progress: Instant,
    /// Whether a request has waited in vain since then.
    pub in_vain: bool,
    /// Whether the service is to stop: then nothing is kept ready.
    pub closing: bool,
}

/// Requests that leave the queue without a job, and their answer.
#[derive(Debug)]
pub struct TurnedAway {
    requests: Vec<BoxedRequest>,
    refusal: Refusal,
}

impl TurnedAway {
    /// Tell the clients of these requests.
    pub fn tell(self) {
        for request in self.requests {
            request.refuse(self.refusal.clone());
        }
    }
}

/// A mean over about the last eight values, with `value` as the latest.
fn mean(before: Duration, value: Duration) -> Duration {
    (before * 7 + value) / 8
}

impl Schedule {
    /// No models yet, and a queue for `max_queued` requests.
    pub fn new(max_queued: usize, now: Instant) -> Self {
        Self {
            pools: BTreeMap::new(),
            queue: Queue::new(max_queued),
            budget: Budget::default(),
            running: 0,
            finished: 0,
            next_request: 1,
            next_pool: 1,
            service_time: Duration::from_secs(1),
            pressure_until: now,
            progress: now,
            in_vain: false,
            closing: false,
        }
    }

    /// The number of the next request.
    pub fn next_request_id(&mut self) -> u64 {
        let id = self.next_request;
        self.next_request += 1;
        id
    }

    /// Serve one more model.
    pub fn add_pool(&mut self, model: Arc<Model>, breaker: Breaker, books: Arc<Books>) -> PoolId {
        let id = PoolId(self.next_pool);
        self.next_pool += 1;
        self.pools.insert(id, Pool::new(model, breaker, books));
        id
    }

    /// The model with this name; aliases do not count.
    pub fn pool_named(&mut self, name: &str) -> Option<(PoolId, &mut Pool)> {
        let (id, pool) = self.pools.iter_mut().find(|(_, pool)| pool.name == name)?;
        Some((*id, pool))
    }

    /// The generation of the settings of model `id`. A model that is gone has the last one that
    /// there can be: no job is of it.
    pub fn generation(&self, id: PoolId) -> u64 {
        let pool = self.pools.get(&id);
        pool.map_or(u64::MAX, |pool| pool.generation)
    }

    /// Something moves.
    pub fn moves(&mut self, now: Instant) {
        self.progress = now;
        self.in_vain = false;
    }

    /// Let `request` wait, if there is room, from `now` on.
    ///
    /// # Errors
    /// The queue is full for it, and the request is dropped.
    pub fn enqueue(
        &mut self,
        request: BoxedRequest,
        share: Share,
        now: Instant,
    ) -> Result<(), Full> {
        // Where nothing waited nothing could move. But if the last one waited in vain, this one may
        // wait for the same.
        let is_first = !self.queue.wants(request.model) && !self.in_vain;
        self.queue.push(request, share)?;
        if is_first {
            self.moves(now);
        }
        Ok(())
    }

    /// Have every keeper look at what its model needs.
    pub fn wake_all(&self) {
        for pool in self.pools.values() {
            pool.wake.notify_one();
        }
    }

    /// Numbers for the status line, at this moment.
    pub fn counts(&self) -> Counts {
        Counts {
            running: self.running,
            queued: self.queue.len(),
            spares: self.pools.values().map(|pool| pool.idle.len()).sum(),
            finished: self.finished,
        }
    }

    /// Give waiting requests to idle jobs until one of them is missing.
    pub fn hand_over(&mut self, max_running: usize, now: Instant) {
        while self.running < max_running {
            let Self { pools, queue, .. } = self;
            let has_idle = |id| pools.get(&id).is_some_and(|pool| !pool.idle.is_empty());
            let Some(request) = queue.next(has_idle) else {
                return;
            };
            let pool = pools.get_mut(&request.model);
            let Some((pool, handle)) = pool.and_then(|pool| {
                let handle = pool.idle.pop()?;
                Some((pool, handle))
            }) else {
                return;
            };
            match handle.assign(request) {
                Ok(()) => {
                    pool.running += 1;
                    pool.refill = Some(now + pool.model.spares.refill_delay);
                    pool.handed_over = Some(now);
                    self.running += 1;
                    self.moves(now);
                }
                // The job died a moment ago; its own task tells the log.
                Err(request) => queue.give_back(request),
            }
        }
    }

    /// A request that has a job loses it before the job has touched it. Count it as not running.
    pub fn take_from_job(&mut self, request: &Accepted) {
        self.running -= 1;
        if let Some(pool) = self.pools.get_mut(&request.model) {
            pool.running -= 1;
        }
    }

    /// A request's job is done with it after `service_time`. Gives the requests that are to be
    /// turned away, if this end opened its model's breaker.
    pub fn finish(
        &mut self,
        request: &Accepted,
        outcome: &Outcome,
        service_time: Duration,
        now: Instant,
    ) -> Option<TurnedAway> {
        self.running -= 1;
        self.moves(now);
        if request.client != Client::Service {
            self.finished += 1;
            self.service_time = mean(self.service_time, service_time);
        }
        let client = &request.client;
        self.queue.finished(client);
        let pool = self.pools.get_mut(&request.model)?;
        pool.running -= 1;
        pool.handed_over = None;
        if request.client != Client::Service {
            let before = pool.service_time.unwrap_or(service_time);
            pool.service_time = Some(mean(before, service_time));
        }
        let requests = match pool.request_ended(now, client, outcome)? {
            Change::Opened => self.queue.take_all(request.model),
            Change::OpenedForClient => self.queue.take_all_of(client, request.model),
            Change::Closed | Change::ClosedForClient => return None,
        };
        let refusal = pool.admit(now, client).err()?;
        Some(TurnedAway { requests, refusal })
    }

    /// How each of these models does; models that are not there are left out.
    pub fn health_of<'a>(
        &mut self,
        names: impl Iterator<Item = &'a str>,
        now: Instant,
    ) -> Vec<(String, Health)> {
        let health = |name: &str| {
            let health = self.pool_named(name)?.1.health(now);
            Some((name.to_owned(), health))
        };
        names.filter_map(health).collect()
    }

    /// Set how model `id` does. Gives the requests that are to be turned away if it failed. The
    /// outer option is `None` if the model is gone.
    pub fn set_health(
        &mut self,
        id: PoolId,
        health: Health,
        now: Instant,
    ) -> Option<Option<TurnedAway>> {
        self.moves(now);
        let pool = self.pools.get_mut(&id)?;
        pool.health = health;
        let refusal = pool.refusal_if_failed();
        Some(refusal.map(|refusal| TurnedAway {
            requests: self.queue.take_all(id),
            refusal,
        }))
    }

    /// Forget model `id`. Gives its name, and the requests that are to be turned away.
    pub fn remove(&mut self, id: PoolId) -> (String, TurnedAway) {
        let name = self.pools.remove(&id).map(|pool| pool.name);
        self.budget.forget(id);
        let turned_away = TurnedAway {
            requests: self.queue.take_all(id),
            refusal: Refusal::UnknownModel,
        };
        (name.unwrap_or_default(), turned_away)
    }

    /// All requests that wait leave the queue, because the service stops.
    pub fn turn_all_away(&mut self) -> TurnedAway {
        TurnedAway {
            requests: self.queue.take_everything(),
            refusal: Refusal::ShuttingDown,
        }
    }

    /// A job of model `id` waits for its first request; gives the generation of the settings.
    pub fn offer_fresh(&mut self, id: PoolId, handle: IdleHandle, now: Instant) -> u64 {
        self.moves(now);
        let room = self.room_for_idle(id, now);
        // Without a pool the handle is dropped, and the job ends.
        let Some(pool) = self.pools.get_mut(&id) else {
            return u64::MAX;
        };
        match pool.model.mode {
            // A thread holds nothing that could be let go.
            Mode::Thread => pool.idle.push(handle),
            // Memory became scarce, or the request that it was forked for went away.
            _ if pool.idle.len() >= room => {}
            Mode::Process => pool.idle.push(handle),
            // Jobs that have served are taken first, the latest before all others: their caches
            // are warm.
            Mode::Hybrid => pool.idle.insert(0, handle),
        }
        pool.generation
    }

    /// A job of model `id` has served and could serve another request; whether it is to do so.
    pub fn offer_again(
        &mut self,
        id: PoolId,
        generation: u64,
        handle: IdleHandle,
        now: Instant,
    ) -> bool {
        let room = self.room_for_idle(id, now);
        let Some(pool) = self.pools.get_mut(&id) else {
            return false;
        };
        if pool.generation != generation || room == 0 {
            return false;
        }
        pool.idle.push(handle);
        if pool.idle.len() > room {
            // The one that was forked to stand in for it.
            pool.idle.remove(0);
        }
        true
    }

    /// The idle job `key` of model `id` takes no request any more.
    pub fn withdraw(&mut self, id: PoolId, key: u64) {
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.idle.retain(|handle| handle.key != key);
        }
    }

    /// How many idle jobs model `id` may have at this moment.
    fn room_for_idle(&self, id: PoolId, now: Instant) -> usize {
        let waiting = self.queue.waiting_for(id);
        let Some(pool) = self.pools.get(&id) else {
            return 0;
        };
        let spares = &pool.model.spares;
        if spares.ttl == Lifetime::Zero || now < self.pressure_until {
            return waiting;
        }
        waiting.max(spares.max).max(1)
    }

    /// Let all idle jobs go, and keep none until then.
    pub fn relieve(&mut self, until: Instant) {
        self.pressure_until = until;
        for pool in self.pools.values_mut() {
            pool.drop_spares();
        }
    }

    /// Whether every model serves with the settings that the configuration has for it, or could
    /// not be brought to.
    pub fn is_settled(&self) -> bool {
        self.pools.values().all(|pool| match &pool.wanted {
            None => true,
            Some(wanted) => {
                let in_force = Arc::ptr_eq(wanted, &pool.model) && pool.health != Health::Starting;
                in_force || pool.has_rejected(wanted)
            }
        })
    }

    /// The models whose new settings could not be brought into force, and why.
    pub fn rejected(&self) -> Vec<(String, String)> {
        let rejected = self.pools.values().filter_map(|pool| {
            let rejected = pool.rejected.as_ref()?;
            Some((pool.name.clone(), rejected.reason.clone()))
        });
        rejected.collect()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::{config::Config, dispatch::statistics::Statistics};

    /// The number of the only model of [`one_waits`].
    pub const ID: PoolId = PoolId(1);

    /// A schedule with one model, which is ready, and for which one request waits.
    pub fn one_waits(now: Instant) -> Schedule {
        let config = Config::load(Some(std::path::Path::new("/dev/null")), [].into_iter()).unwrap();
        let model = Arc::new(config.models[0].clone());
        let books = Statistics::new().model(&model.name);
        let mut schedule = Schedule::new(10, now);
        assert_eq!(
            schedule.add_pool(model.clone(), Breaker::new(config.breaker), books),
            ID
        );
        assert!(schedule.set_health(ID, Health::Ready, now).is_some());
        let (request, _) = Accepted::self_test(ID, model.limits).unwrap();
        schedule
            .queue
            .push(Box::new(request), Share::default())
            .unwrap();
        schedule
    }

    #[test]
    fn a_request_and_an_idle_job_meet() {
        let now = Instant::now();
        let mut schedule = one_waits(now);
        let (handle, mut next) = IdleHandle::new(7);
        schedule.offer_fresh(ID, handle, now);
        schedule.hand_over(0, now);
        assert!(next.try_recv().is_err(), "none may run");
        schedule.hand_over(1, now);
        let request = next.try_recv().unwrap();
        let counts = schedule.counts();
        assert_eq!((counts.running, counts.queued, counts.spares), (1, 0, 0));
        let ended = schedule.finish(&request, &Outcome::Ok, Duration::ZERO, now);
        assert!(ended.is_none());
        assert_eq!(schedule.counts().running, 0);
    }

    #[test]
    fn a_request_whose_job_died_idle_waits_for_the_next() {
        let now = Instant::now();
        let mut schedule = one_waits(now);
        let (dead, _) = IdleHandle::new(1);
        schedule.offer_fresh(ID, dead, now);
        schedule.hand_over(4, now);
        let counts = schedule.counts();
        assert_eq!((counts.running, counts.queued, counts.spares), (0, 1, 0));
    }

    #[test]
    fn a_model_that_fails_turns_its_requests_away() {
        let now = Instant::now();
        let mut schedule = one_waits(now);
        let failed = Health::Failed("no file".into());
        let turned_away = schedule.set_health(ID, failed, now).flatten().unwrap();
        assert_eq!(turned_away.requests.len(), 1);
        assert!(matches!(
            turned_away.refusal,
            Refusal::EngineUnavailable { .. }
        ));
        assert_eq!(schedule.counts().queued, 0);
    }

    #[test]
    fn memory_pressure_lets_idle_jobs_go_and_keeps_none() {
        let now = Instant::now();
        let mut schedule = one_waits(now);
        schedule.queue.take_everything();
        schedule.offer_fresh(ID, IdleHandle::new(1).0, now);
        assert_eq!(schedule.counts().spares, 1);
        schedule.relieve(now + Duration::from_secs(10));
        assert_eq!(schedule.counts().spares, 0);
        schedule.offer_fresh(ID, IdleHandle::new(2).0, now);
        assert_eq!(schedule.counts().spares, 0);
    }
}
