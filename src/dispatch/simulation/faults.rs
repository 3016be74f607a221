//! Faults that are planted into a running scheduler, to see that the simulation finds each of them.

use std::mem;

use tokio::time::Instant;

use super::Run;
use crate::{
    config::Share,
    dispatch::{
        request::client::Client,
        state::{accepted::BoxedRequest, reservation::Reservation, turns::Queued},
    },
    request::Refusal,
};

/// A fault of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A slot is not given back.
    LostSlot,
    /// A request gets two last words.
    DoubleAnswer,
    /// The requests of one client wait until nobody else's do.
    StarvedClient,
    /// A spare is neither used nor let go.
    LostSpare,
    /// Memory is reserved for no job.
    LostMemory,
    /// Memory is given back twice.
    TwiceFreedMemory,
    /// The end of a request counts twice for its client.
    TwiceFinished,
    /// A breaker opens although nothing has crashed.
    FalseBreaker,
    /// A keeper is not woken any more.
    DeafKeeper,
    /// A request vanishes from the queue.
    LostRequest,
    /// The recording of a request stays open.
    LostDescriptor,
}

impl Fault {
    pub const ALL: [Self; 11] = [
        Self::LostSlot,
        Self::DoubleAnswer,
        Self::StarvedClient,
        Self::LostSpare,
        Self::LostMemory,
        Self::TwiceFreedMemory,
        Self::TwiceFinished,
        Self::FalseBreaker,
        Self::DeafKeeper,
        Self::LostRequest,
        Self::LostDescriptor,
    ];
}

/// A planted fault.
pub struct Plant {
    fault: Option<Fault>,
    is_done: bool,
    held: Vec<(BoxedRequest, Share)>,
    /// Kept open until the end of the schedule.
    kept: Vec<Box<dyn std::any::Any + Send>>,
}

impl Plant {
    pub fn new(fault: Option<Fault>) -> Self {
        Self {
            fault,
            is_done: false,
            held: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Do it once, as soon as it can be done. A starved client is starved again and again.
    pub fn tend(&mut self, run: &Run) {
        if !self.is_done {
            self.is_done = self.tried(run).unwrap_or(false);
        }
    }

    /// Things that were only kept are let go.
    pub fn end(&mut self) {
        self.held.clear();
    }

    fn tried(&mut self, run: &Run) -> Option<bool> {
        let shared = &run.dispatcher.shared;
        let now = Instant::now();
        match self.fault? {
            Fault::LostSlot => {
                let config = shared.config();
                let model = config.models.first()?;
                let slot = shared.slots.take(model.limits.of_cgroup(), model.company());
                self.kept.push(Box::new(slot.ok()??));
            }
            Fault::DoubleAnswer => {
                let (request, share) = take_waiting(run, None)?;
                let events = request.events.clone();
                push(run, request, share);
                tokio::spawn(async move {
                    tokio::time::sleep(std::time::Duration::from_secs(100)).await;
                    let _ = events.try_send(super::RequestEvent::Refused(Refusal::ShuttingDown));
                });
            }
            Fault::StarvedClient => {
                while let Some(taken) = take_waiting(run, Some(&run.clients[0].0)) {
                    self.held.push(taken);
                }
                if shared.schedule().queue.len() == 0 {
                    for (request, share) in mem::take(&mut self.held) {
                        push(run, request, share);
                    }
                    shared.pump();
                }
                return Some(false);
            }
            Fault::LostSpare => {
                let mut schedule = shared.schedule();
                let mut pools = schedule.pools.values_mut();
                let spare = pools.find_map(|pool| pool.idle.pop())?;
                self.kept.push(Box::new(spare));
            }
            Fault::LostMemory => {
                let id = *shared.schedule().pools.keys().next()?;
                self.kept
                    .push(Box::new(Reservation::take(shared, id, 1, false)?));
            }
            Fault::TwiceFreedMemory => {
                let mut schedule = shared.schedule();
                let pools = &mut schedule.pools;
                let pool = pools.values_mut().find(|pool| !pool.idle.is_empty())?;
                let bytes = pool.model.limits.memory.bytes();
                schedule.budget.committed = schedule.budget.committed.checked_sub(bytes)?;
            }
            Fault::TwiceFinished => {
                let mut schedule = shared.schedule();
                let mut clients = schedule.queue.clients();
                let at_cap = clients.find(|counts| {
                    let cap = counts.share.max_running;
                    cap > 0 && counts.running == cap && counts.queued > 0
                })?;
                drop(clients);
                schedule.queue.finished(&at_cap.client);
                return Some(false);
            }
            Fault::FalseBreaker => {
                if run.clients.len() < 2 || shared.config().breaker.crashes == 0 {
                    return None;
                }
                let mut schedule = shared.schedule();
                let pool = schedule.pools.values_mut().next()?;
                for _ in 0..10 {
                    pool.breaker.ended(now, &Client::User(7), true);
                    pool.breaker.ended(now, &Client::User(8), true);
                }
            }
            Fault::DeafKeeper => {
                let mut schedule = shared.schedule();
                schedule.pools.values_mut().next()?.wake = Default::default();
            }
            Fault::LostRequest => drop(take_waiting(run, None)?),
            Fault::LostDescriptor => {
                let (request, share) = take_waiting(run, None)?;
                self.kept
                    .push(Box::new(request.recording.try_clone().ok()?));
                push(run, request, share);
            }
        }
        Some(true)
    }
}

/// Take a request out of the queue that waits: of this client, or of any but the service.
fn take_waiting(run: &Run, whose: Option<&Client>) -> Option<(BoxedRequest, Share)> {
    let shared = &run.dispatcher.shared;
    let open = shared.statistics.open();
    let mut schedule = shared.schedule();
    open.iter().find_map(|open| {
        let request = schedule.queue.take(open.id())?;
        let client = request.client();
        let mut clients = run.clients.iter();
        let share = clients.find(|(known, _)| *known == client)?.1;
        if whose.is_none_or(|whose| *whose == client) {
            return Some((request, share));
        }
        let _ = schedule.queue.push(request, share);
        None
    })
}

fn push(run: &Run, request: BoxedRequest, share: Share) {
    let _ = run.dispatcher.shared.schedule().queue.push(request, share);
}
