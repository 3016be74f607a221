//! Whose request is next: a bounded queue in which clients take turns.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
};

use crate::config::Share;

/// Whom a request comes from, as far as turns and caps go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// A user of this machine, for whom the kernel vouches.
    User(u32),
    /// All clients over TCP together: nobody vouches for any of them.
    Network,
    /// The service itself, which asks now and then whether its models still work.
    Service,
}

impl Client {
    /// The client of a connection on which the kernel vouches for `uid`.
    pub fn of(uid: Option<u32>) -> Self {
        uid.map_or(Self::Network, Self::User)
    }

    /// The user, where it is one.
    pub fn uid(self) -> Option<u32> {
        match self {
            Self::User(uid) => Some(uid),
            Self::Network | Self::Service => None,
        }
    }
}

/// What one client has here at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dispatch) struct ClientCounts {
    /// Whose requests they are.
    pub(in crate::dispatch) client: Client,
    /// Requests that have a job.
    pub(in crate::dispatch) running: usize,
    /// Requests that wait for one.
    pub(in crate::dispatch) queued: usize,
    /// Its caps, as they were when its last request came.
    pub(in crate::dispatch) share: Share,
}

/// What the queue has to know of a request.
pub(in crate::dispatch) trait Queued {
    /// Tells models apart.
    type Model: Copy + Ord + Debug;

    /// Unique, and higher than that of every request that came before.
    fn id(&self) -> u64;
    fn client(&self) -> Client;
    fn model(&self) -> Self::Model;
    /// It waits from now on.
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
pub(in crate::dispatch) enum Full {
    /// Its client has as many waiting as it may have.
    Client,
    /// As many wait as may wait at all.
    Queue,
}

/// Requests that wait, client by client, and how many each client has running.
///
/// Clients have a turn each, one after the other; within a client's requests the oldest goes first. A turn goes past
/// clients that can use none now: they are at their cap, or no model that they want can serve. They keep their place.
#[derive(Debug)]
pub(in crate::dispatch) struct Turns<T: Queued> {
    /// In the order in which they have their turns.
    ring: VecDeque<Class<T>>,
    bound: usize,
}

/// One client's requests.
#[derive(Debug)]
struct Class<T: Queued> {
    client: Client,
    share: Share,
    running: usize,
    /// Whether it had no turn yet. Newcomers are in front of all others, so that a user with one short recording need
    /// not wait for one with a thousand.
    new: bool,
    /// What waits, by model and age; no line is empty.
    lines: BTreeMap<T::Model, BTreeMap<u64, T>>,
}

impl<T: Queued> Class<T> {
    fn queued(&self) -> usize {
        self.lines.values().map(BTreeMap::len).sum()
    }

    /// How many more may run.
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
    pub(in crate::dispatch) fn new(bound: usize) -> Self {
        Self {
            ring: VecDeque::new(),
            bound,
        }
    }

    /// Let so many wait from now on; those that are more already stay.
    pub(in crate::dispatch) fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    /// Requests that wait.
    pub(in crate::dispatch) fn len(&self) -> usize {
        self.ring.iter().map(Class::queued).sum()
    }

    /// Requests of `model` that could run now if there were jobs for them all: those behind their client's cap could not.
    pub(in crate::dispatch) fn waiting_for(&self, model: T::Model) -> usize {
        let of_class = |class: &Class<T>| {
            let line = class.lines.get(&model).map_or(0, BTreeMap::len);
            line.min(class.room())
        };
        self.ring.iter().map(of_class).sum()
    }

    /// Whether any request waits for `model`, be it behind its client's cap.
    pub(in crate::dispatch) fn wants(&self, model: T::Model) -> bool {
        self.ring
            .iter()
            .any(|class| class.lines.contains_key(&model))
    }

    /// How many requests wait, of `whose` or of all, model by model; a model can come more than once.
    pub(in crate::dispatch) fn backlog(
        &self,
        whose: Option<Client>,
    ) -> impl Iterator<Item = (T::Model, usize)> {
        self.ring
            .iter()
            .filter(move |class| whose.is_none_or(|client| client == class.client))
            .flat_map(|class| class.lines.iter().map(|(model, line)| (*model, line.len())))
    }

    /// All clients that have requests here.
    pub(in crate::dispatch) fn clients(&self) -> impl Iterator<Item = ClientCounts> {
        let counts = |class: &Class<T>| ClientCounts {
            client: class.client,
            running: class.running,
            queued: class.queued(),
            share: class.share,
        };
        let is_here = |counts: &ClientCounts| counts.running + counts.queued > 0;
        self.ring.iter().map(counts).filter(is_here)
    }

    /// Whether a request of `client`, who has this share, could wait here.
    pub(in crate::dispatch) fn has_room(&self, client: Client, share: Share) -> Result<(), Full> {
        let class = self.ring.iter().find(|class| class.client == client);
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
    pub(in crate::dispatch) fn push(&mut self, request: T, share: Share) -> Result<(), Full> {
        let client = request.client();
        self.has_room(client, share)?;
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
        Ok(())
    }

    /// Take the request that is next among those whose model `can_serve`. It counts as running until it is given back or
    /// [`Self::finished`].
    pub(in crate::dispatch) fn next(&mut self, can_serve: impl Fn(T::Model) -> bool) -> Option<T> {
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

    /// A request that no job has touched waits again, as if it had never been taken, and whatever the bounds are: its
    /// client has the next turn.
    pub(in crate::dispatch) fn give_back(&mut self, request: T) {
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

    /// A request of `client` has no job any more.
    pub(in crate::dispatch) fn finished(&mut self, client: Client) {
        if let Some(class) = self.ring.iter_mut().find(|class| class.client == client) {
            class.running = class.running.saturating_sub(1);
        }
        self.forget();
    }

    /// Take the request `id` out, if it still waits. This is no turn.
    pub(in crate::dispatch) fn take(&mut self, id: u64) -> Option<T> {
        let taken = self.ring.iter_mut().find_map(|class| class.remove(id));
        self.forget();
        taken
    }

    /// Take all requests for `model` out.
    pub(in crate::dispatch) fn take_all(&mut self, model: T::Model) -> Vec<T> {
        let taken = self
            .ring
            .iter_mut()
            .filter_map(|class| class.lines.remove(&model))
            .flat_map(BTreeMap::into_values)
            .collect();
        self.forget();
        taken
    }

    /// Take all requests out.
    pub(in crate::dispatch) fn take_everything(&mut self) -> Vec<T> {
        let taken = self
            .ring
            .iter_mut()
            .flat_map(|class| std::mem::take(&mut class.lines))
            .flat_map(|(_, line)| line.into_values())
            .collect();
        self.forget();
        taken
    }

    /// Forget clients that have nothing here. Those that had a turn while somebody waits who had none since are kept:
    /// they would come back as newcomers, and have one more before him. Each of them has cost a job meanwhile, so they
    /// cannot be many.
    fn forget(&mut self) {
        let mut somebody_waits = false;
        self.ring.retain(|class| {
            somebody_waits |= !class.lines.is_empty();
            somebody_waits || class.running > 0
        });
    }
}
