//! Requests that wait for a job, in the order in which they came.

use std::{collections::VecDeque, os::fd::OwnedFd, time::Instant};

use tokio::sync::mpsc;

use super::{
    Lower, PoolId,
    ticket::{Event, Refusal},
};
use crate::{config::Limits, isolation::JobRequest};

/// One request that has no job yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: u64,
    pub(super) model: PoolId,
    pub(super) job: JobRequest,
    /// What its job may use: the model's limits, or what the client lowered them to.
    pub(super) limits: Limits,
    /// What the client lowered.
    pub(super) lower: Lower,
    pub(super) recording: OwnedFd,
    pub(super) request_id: String,
    pub(super) uid: Option<u32>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) since: Instant,
    /// How many jobs died with it before they had read it.
    pub(super) unread: u32,
    /// A request of the service's own.
    pub(super) canary: bool,
}

impl Waiting {
    /// Tell the client that nothing will come. Never waits: nothing was sent to it before.
    pub(super) fn refuse(self, refusal: Refusal) {
        let _ = self.events.try_send(Event::Refused(refusal));
    }
}

/// A bounded queue.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Box<Waiting>>,
    bound: usize,
}

impl Queue {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            bound,
        }
    }

    /// Hold so many from now on; those that are more already stay.
    pub(super) fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn waiting_for(&self, model: PoolId) -> usize {
        self.waiting.iter().filter(|w| w.model == model).count()
    }

    /// Append, or give back what does not fit any more.
    pub(super) fn push(&mut self, waiting: Box<Waiting>) -> Result<(), Box<Waiting>> {
        if self.waiting.len() >= self.bound {
            return Err(waiting);
        }
        self.waiting.push_back(waiting);
        Ok(())
    }

    /// Put back what was taken out a moment ago.
    pub(super) fn push_front(&mut self, waiting: Box<Waiting>) {
        self.waiting.push_front(waiting);
    }

    /// Take the first request whose model `can_serve`.
    pub(super) fn next(&mut self, can_serve: impl Fn(PoolId) -> bool) -> Option<Box<Waiting>> {
        let position = self.waiting.iter().position(|w| can_serve(w.model))?;
        self.waiting.remove(position)
    }

    /// Take the request `id` out, if it still waits.
    pub(super) fn take(&mut self, id: u64) -> Option<Box<Waiting>> {
        let position = self.waiting.iter().position(|w| w.id == id)?;
        self.waiting.remove(position)
    }

    /// Take all requests for `model` out.
    pub(super) fn take_all(&mut self, model: PoolId) -> VecDeque<Box<Waiting>> {
        let (taken, kept) = self.waiting.drain(..).partition(|w| w.model == model);
        self.waiting = kept;
        taken
    }

    /// Take all requests out.
    pub(super) fn take_everything(&mut self) -> VecDeque<Box<Waiting>> {
        std::mem::take(&mut self.waiting)
    }
}
