//! The queue: it is bounded, and its clients take turns.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
};

use crate::{config::Share, dispatch::request::client::Client};

/// The requests of one client at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCounts {
    /// The client whose requests they are.
    pub client: Client,
    /// Requests that have a job.
    pub running: usize,
    /// Requests that wait for a job.
    pub queued: usize,
    /// Its caps, as they were when its last request came.
    pub share: Share,
}

/// A request as the queue must know it.
pub trait Queued {
    /// The type that tells models apart.
    type Model: Copy + Ord + Debug;

    /// Unique, and higher than that of every request that came before.
    fn id(&self) -> u64;
    /// The client whose turn it takes.
    fn client(&self) -> Client;
    /// The model that is to serve it.
    fn model(&self) -> Self::Model;
    /// Called when it begins to wait.
    fn enters(&self) {}
}

impl<T: Queued> Queued for Box<T> {
    type Model = T::Model;

    fn id(&self) -> u64 {
        T::id(self)
    }

    fn client(&self) -> Client {
        T::client(self)
    }

    fn model(&self) -> Self::Model {
        T::model(self)
    }

    fn enters(&self) {
        T::enters(self);
    }
}

/// Why a request may not even wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Its client already has its share of the queue.
    Client,
    /// The whole queue is full.
    Queue,
}

/// Requests that wait, client by client, and how many each client has running.
///
/// Clients have a turn each, one after the other. Within a client's requests the oldest goes first.
/// A turn passes over clients that cannot use it now, because they are at their cap or because no
/// model that they want can serve. They keep their place.
#[derive(Debug)]
pub struct Turns<T: Queued> {
    /// Clients in the order of their turns.
    ring: VecDeque<Class<T>>,
    bound: usize,
}

/// The requests of one client.
#[derive(Debug)]
struct Class<T: Queued> {
    client: Client,
    share: Share,
    running: usize,
    /// Whether it had no turn yet. Newcomers are in front of all others: a user with one short
    /// recording does not have to wait for a user with a thousand.
    new: bool,
    /// The requests that wait, by model and age. No line is empty.
    lines: BTreeMap<T::Model, BTreeMap<u64, T>>,
}

impl<T: Queued> Class<T> {
    fn queued(&self) -> usize {
        self.lines.values().map(BTreeMap::len).sum()
    }

    /// How many more of its requests may run.
    fn room(&self) -> usize {
        match self.share.max_running {
            0 => usize::MAX,
            cap => cap.saturating_sub(self.running),
        }
    }

    /// The oldest request whose model `can_serve`, unless no more may run.
    fn first(&self, can_serve: impl Fn(T::Model) -> bool) -> Option<u64> {
        if self.room() == 0 {
            return None;
        }
        self.lines
            .iter()
            .filter(|(model, _)| can_serve(**model))
            .filter_map(|(_, line)| line.keys().next().copied())
            .min()
    }

    fn oldest_first(&self) -> Vec<u64> {
        let mut waiting: Vec<u64> = self
            .lines
            .values()
            .flat_map(BTreeMap::keys)
            .copied()
            .collect();
        waiting.sort_unstable();
        waiting
    }

    fn insert(&mut self, request: T) {
        request.enters();
        let line = self.lines.entry(request.model()).or_default();
        line.insert(request.id(), request);
    }

    fn remove(&mut self, id: u64) -> Option<T> {
        let taken = self.lines.values_mut().find_map(|line| line.remove(&id));
        self.lines.retain(|_, line| !line.is_empty());
        taken
    }
}

impl<T: Queued> Turns<T> {
    /// An empty queue for at most `bound` requests.
    pub fn new(bound: usize) -> Self {
        Self {
            ring: VecDeque::new(),
            bound,
        }
    }

    /// Let `bound` requests wait from now on. If more wait already, they stay.
    pub fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    /// Number of requests that wait.
    pub fn len(&self) -> usize {
        self.ring.iter().map(Class::queued).sum()
    }

    /// Requests of `model` that could run now if there were jobs for them all. Requests beyond the
    /// cap of their client could not.
    pub fn waiting_for(&self, model: T::Model) -> usize {
        let of_class = |class: &Class<T>| {
            let line = class.lines.get(&model).map_or(0, BTreeMap::len);
            line.min(class.room())
        };
        self.ring.iter().map(of_class).sum()
    }

    /// Whether any request waits for `model`, even if its client is at its cap.
    pub fn wants(&self, model: T::Model) -> bool {
        self.ring
            .iter()
            .any(|class| class.lines.contains_key(&model))
    }

    /// How many requests wait, model by model: those of client `whose`, or of all clients. A model
    /// can come more than once.
    pub fn backlog(&self, whose: Option<&Client>) -> impl Iterator<Item = (T::Model, usize)> {
        self.ring
            .iter()
            .filter(move |class| whose.is_none_or(|client| *client == class.client))
            .flat_map(|class| class.lines.iter().map(|(model, line)| (*model, line.len())))
    }

    /// All requests that wait, in the order of their turns: the next one first, if every model can
    /// serve and no client is at its cap.
    pub fn order(&self) -> Vec<u64> {
        let lines: Vec<_> = self.ring.iter().map(Class::oldest_first).collect();
        let mut order = Vec::with_capacity(self.len());
        for turn in 0..lines.iter().map(Vec::len).max().unwrap_or(0) {
            order.extend(lines.iter().filter_map(|line| line.get(turn).copied()));
        }
        order
    }

    /// All clients that have requests here.
    pub fn clients(&self) -> impl Iterator<Item = ClientCounts> {
        let counts = |class: &Class<T>| ClientCounts {
            client: class.client.clone(),
            running: class.running,
            queued: class.queued(),
            share: class.share,
        };
        let is_here = |counts: &ClientCounts| counts.running + counts.queued > 0;
        self.ring.iter().map(counts).filter(is_here)
    }

    /// Whether a request of `client`, which has this share, could wait here.
    ///
    /// # Errors
    /// The queue is full for it.
    pub fn has_room(&self, client: &Client, share: Share) -> Result<(), Full> {
        let class = self.ring.iter().find(|class| class.client == *client);
        let queued = class.map_or(0, Class::queued);
        if share.max_queued > 0 && queued >= share.max_queued {
            return Err(Full::Client);
        }
        if self.len() >= self.bound {
            return Err(Full::Queue);
        }
        Ok(())
    }

    /// Let `request` wait, if there is room. From now on its client has this share.
    ///
    /// # Errors
    /// The queue is full for it, and the request is dropped.
    pub fn push(&mut self, request: T, share: Share) -> Result<(), Full> {
        self.has_room(&request.client(), share)?;
        self.push_anyway(request, share);
        Ok(())
    }

    /// Let `request` wait, whatever the bounds are.
    pub fn push_anyway(&mut self, request: T, share: Share) {
        let client = request.client();
        let known = self.ring.iter().position(|class| class.client == client);
        let position = known.unwrap_or_else(|| {
            let newcomers = self.ring.iter().take_while(|class| class.new).count();
            let class = Class {
                client,
                share,
                running: 0,
                new: true,
                lines: BTreeMap::new(),
            };
            self.ring.insert(newcomers, class);
            newcomers
        });
        if let Some(class) = self.ring.get_mut(position) {
            class.share = share;
            class.insert(request);
        }
    }

    /// Take the next request among those whose model `can_serve`. It counts as running until it is
    /// given back or [`Self::finished`].
    pub fn next(&mut self, can_serve: impl Fn(T::Model) -> bool) -> Option<T> {
        let (position, id) = self
            .ring
            .iter()
            .enumerate()
            .find_map(|(position, class)| Some((position, class.first(&can_serve)?)))?;
        let mut class = self.ring.remove(position)?;
        let taken = class.remove(id);
        class.running += 1;
        class.new = false;
        self.ring.push_back(class);
        self.forget();
        taken
    }

    /// A request that no job has touched waits again, as if it had never been taken. Its client has
    /// the next turn. The bounds do not matter here.
    pub fn give_back(&mut self, request: T) {
        let client = request.client();
        let position = self.ring.iter().position(|class| class.client == client);
        // A client with a running request is never forgotten.
        if let Some(mut class) = position.and_then(|position| self.ring.remove(position)) {
            class.running = class.running.saturating_sub(1);
            class.new = true;
            class.insert(request);
            self.ring.push_front(class);
        }
    }

    /// A request of `client` has left its job.
    pub fn finished(&mut self, client: &Client) {
        if let Some(class) = self.ring.iter_mut().find(|class| class.client == *client) {
            class.running = class.running.saturating_sub(1);
        }
        self.forget();
    }

    /// Take the request `id` out, if it still waits. This does not count as a turn.
    pub fn take(&mut self, id: u64) -> Option<T> {
        let taken = self.ring.iter_mut().find_map(|class| class.remove(id));
        self.forget();
        taken
    }

    /// Take all requests for `model` out.
    pub fn take_all(&mut self, model: T::Model) -> Vec<T> {
        let taken = self
            .ring
            .iter_mut()
            .filter_map(|class| class.lines.remove(&model))
            .flat_map(BTreeMap::into_values)
            .collect();
        self.forget();
        taken
    }

    /// Take all requests of `client` for `model` out.
    pub fn take_all_of(&mut self, client: &Client, model: T::Model) -> Vec<T> {
        let mut classes = self.ring.iter_mut();
        let class = classes.find(|class| class.client == *client);
        let line = class.and_then(|class| class.lines.remove(&model));
        self.forget();
        line.into_iter().flat_map(BTreeMap::into_values).collect()
    }

    /// Take all requests out.
    pub fn take_everything(&mut self) -> Vec<T> {
        let taken = self
            .ring
            .iter_mut()
            .flat_map(|class| std::mem::take(&mut class.lines))
            .flat_map(|(_, line)| line.into_values())
            .collect();
        self.forget();
        taken
    }

    /// Forget clients that have no requests here, unless a client waits in front of them in the
    /// ring. They would come back as newcomers, and get another turn before that client. Each of
    /// them has cost a job meanwhile, so they cannot be many.
    fn forget(&mut self) {
        let mut somebody_waits = false;
        self.ring.retain(|class| {
            somebody_waits |= !class.lines.is_empty();
            somebody_waits || class.running > 0
        });
    }
}
