//! Something that is ready to take a request: a forked job, or in mode `thread` the engine's thread.

use std::time::Instant;

use tokio::sync::oneshot;

use crate::{
    config::Mode,
    dispatch::{PoolId, Shared, State, state::accepted::Waiting},
    units::Lifetime,
};

/// The scheduler's hold on something that is ready to take a request.
#[derive(Debug)]
pub(in crate::dispatch) struct SpareHandle {
    /// Tells spares of one model apart.
    pub(in crate::dispatch) key: u64,
    hand_over: oneshot::Sender<Box<Waiting>>,
}

impl SpareHandle {
    /// A handle, and the end at which the spare waits.
    pub(in crate::dispatch) fn new(key: u64) -> (Self, oneshot::Receiver<Box<Waiting>>) {
        let (hand_over, receiver) = oneshot::channel();
        (Self { key, hand_over }, receiver)
    }

    /// Hand the request over, or get it back because the spare is gone.
    pub(in crate::dispatch) fn assign(self, waiting: Box<Waiting>) -> Result<(), Box<Waiting>> {
        self.hand_over.send(waiting)
    }
}

impl Shared {
    /// A job of model `id` waits for its first request; gives the generation of the model's settings.
    pub(in crate::dispatch) fn ready(&self, id: PoolId, handle: SpareHandle) -> u64 {
        let mut state = self.state();
        state.progress = Instant::now();
        let room = state.room_for_idle(id);
        // Without a pool the handle goes, and the job with it.
        let Some(pool) = state.pools.get_mut(&id) else {
            return u64::MAX;
        };
        match pool.model.mode {
            // It holds nothing that could be let go.
            Mode::Thread => pool.spares.push(handle),
            // Memory became scarce, or the request that it was forked for went away.
            _ if pool.spares.len() >= room => {}
            Mode::Process => pool.spares.push(handle),
            // Jobs that have served are taken first, the latest before all others: their caches are warm.
            Mode::Hybrid => pool.spares.insert(0, handle),
        }
        pool.generation
    }

    /// A job of model `id` has served and waits for its next request; whether it is wanted.
    pub(in crate::dispatch) fn back(
        &self,
        id: PoolId,
        generation: u64,
        handle: SpareHandle,
    ) -> bool {
        let mut state = self.state();
        let room = state.room_for_idle(id);
        let Some(pool) = state.pools.get_mut(&id) else {
            return false;
        };
        if pool.generation != generation || room == 0 {
            return false;
        }
        pool.spares.push(handle);
        if pool.spares.len() > room {
            // The one that came to stand in for it.
            pool.spares.remove(0);
        }
        true
    }

    /// The spare `key` takes no request any more.
    pub(in crate::dispatch) fn withdraw(&self, id: PoolId, key: u64) {
        if let Some(pool) = self.state().pools.get_mut(&id) {
            pool.spares.retain(|spare| spare.key != key);
        }
    }
}

impl State {
    /// How many idle jobs model `id` may have at this moment.
    fn room_for_idle(&self, id: PoolId) -> usize {
        let waiting = self.queue.waiting_for(id);
        let Some(pool) = self.pools.get(&id) else {
            return 0;
        };
        let spares = &pool.model.spares;
        if spares.ttl == Lifetime::Zero || Instant::now() < self.pressure_until {
            return waiting;
        }
        waiting.max(spares.max).max(1)
    }
}
