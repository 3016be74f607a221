//! Turns, caps and bounds: in examples, and watched over random sequences of events.

use std::collections::{BTreeSet, HashMap};

use super::*;

#[derive(Debug, PartialEq)]
struct Item {
    id: u64,
    uid: u32,
    model: u8,
}

impl Queued for Item {
    type Model = u8;

    fn id(&self) -> u64 {
        self.id
    }

    fn client(&self) -> Client {
        Client::User(self.uid)
    }

    fn model(&self) -> u8 {
        self.model
    }
}

const FREE: Share = Share {
    max_running: 0,
    max_queued: 0,
};

fn running(max_running: usize) -> Share {
    Share {
        max_running,
        ..FREE
    }
}

/// A queue and the number of its next request.
struct Desk(Turns<Item>, u64);

impl Desk {
    fn new(bound: usize) -> Self {
        Self(Turns::new(bound), 1)
    }

    fn push(&mut self, uid: u32, model: u8, share: Share) -> Result<(), Full> {
        self.1 += 1;
        let id = self.1;
        self.0.push(Item { id, uid, model }, share)
    }

    fn push_many(&mut self, count: usize, uid: u32, share: Share) {
        for _ in 0..count {
            self.push(uid, 0, share).unwrap();
        }
    }

    /// The user who has the next turn.
    fn next(&mut self) -> Option<u32> {
        self.0.next(|_| true).map(|item| item.uid)
    }

    /// The users who have the next turns, if each job is done before the next one begins.
    fn one_by_one(&mut self, count: usize) -> Vec<u32> {
        let turn = |_| {
            let uid = self.next()?;
            self.0.finished(&Client::User(uid));
            Some(uid)
        };
        (0..count).map_while(turn).collect()
    }
}

#[test]
fn a_user_with_little_passes_one_with_much() {
    let mut desk = Desk::new(100);
    desk.push_many(50, 1, FREE);
    assert_eq!(desk.one_by_one(3), [1, 1, 1]);
    desk.push_many(1, 2, FREE);
    assert_eq!(desk.one_by_one(2), [2, 1]);
    desk.push_many(3, 3, FREE);
    desk.push_many(2, 4, FREE);
    assert_eq!(desk.one_by_one(8), [3, 4, 1, 3, 4, 1, 3, 1]);
}

#[test]
fn coming_again_and_again_does_not_win_more_turns() {
    let mut desk = Desk::new(100);
    desk.push_many(50, 1, FREE);
    assert_eq!(desk.next(), Some(1));
    let mut turns = Vec::new();
    for _ in 0..4 {
        // Two users each send their next request as soon as they have an answer.
        for uid in [2, 3] {
            desk.push_many(1, uid, FREE);
            turns.extend(desk.one_by_one(1));
        }
    }
    assert_eq!(turns, [2, 3, 1, 2, 3, 1, 2, 3]);
}

#[test]
fn a_model_that_lacks_spares_holds_up_its_own_requests_only() {
    let mut desk = Desk::new(100);
    for (uid, model) in [(1, 0), (1, 1), (2, 0), (1, 0)] {
        desk.push(uid, model, FREE).unwrap();
    }
    let mut next = |models: &[u8]| desk.0.next(|model| models.contains(&model));
    let served = |item: Option<Item>| item.map(|item| (item.uid, item.model));
    assert_eq!(served(next(&[])), None);
    assert_eq!(served(next(&[1])), Some((1, 1)));
    assert_eq!(served(next(&[1])), None);
    assert_eq!(served(next(&[0, 1])), Some((2, 0)));
    assert_eq!(served(next(&[0, 1])), Some((1, 0)));
    assert_eq!(served(next(&[0, 1])), Some((1, 0)));
    assert_eq!(served(next(&[0, 1])), None);
}

#[test]
fn a_user_at_the_cap_asks_for_no_job() {
    let mut desk = Desk::new(100);
    desk.push_many(5, 1, running(2));
    desk.push_many(3, 2, FREE);
    assert_eq!(desk.0.waiting_for(0), 2 + 3);
    assert_eq!(desk.0.waiting_for(1), 0);
    let turns: Vec<u32> = std::iter::from_fn(|| desk.next()).collect();
    assert_eq!(turns, [1, 2, 1, 2, 2]);
    assert_eq!(desk.0.waiting_for(0), 0);
    assert_eq!(desk.0.len(), 3);
    desk.0.finished(&Client::User(2));
    assert_eq!(desk.next(), None);
    desk.0.finished(&Client::User(1));
    assert_eq!(desk.0.waiting_for(0), 1);
    assert_eq!(desk.next(), Some(1));
    // The share that came last holds.
    desk.push_many(1, 1, running(4));
    assert_eq!(desk.0.waiting_for(0), 2);
}

#[test]
fn a_request_that_is_given_back_is_next() {
    let mut desk = Desk::new(2);
    desk.push_many(1, 1, running(1));
    desk.push_many(1, 2, FREE);
    let first = desk.0.next(|_| true).unwrap();
    desk.push_many(1, 1, running(1));
    let id = first.id;
    // The queue is full, and takes it all the same.
    desk.0.give_back(first);
    assert_eq!(desk.0.len(), 3);
    assert_eq!(desk.0.next(|_| true).unwrap().id, id);
    assert_eq!(desk.next(), Some(2));
    assert_eq!(desk.next(), None);
}

#[test]
fn the_bounds_of_all_and_of_one() {
    let mut desk = Desk::new(4);
    let two = Share {
        max_queued: 2,
        ..FREE
    };
    desk.push_many(2, 1, two);
    assert_eq!(desk.push(1, 0, two), Err(Full::Client));
    desk.push_many(2, 2, FREE);
    assert_eq!(desk.push(3, 0, FREE), Err(Full::Queue));
    assert_eq!(desk.0.has_room(&Client::Network, FREE), Err(Full::Queue));
    // A user at the own bound is told about that bound, not about the queue.
    assert_eq!(desk.push(1, 0, two), Err(Full::Client));
    assert_eq!(desk.next(), Some(1));
    assert_eq!(desk.0.has_room(&Client::User(1), two), Ok(()));
    desk.push_many(1, 1, two);
    assert_eq!(desk.0.take_all(0).len(), 4);
    assert_eq!(desk.0.len(), 0);
}

#[test]
fn a_user_without_requests_is_forgotten() {
    let mut desk = Desk::new(10_000);
    for uid in 0..5000 {
        desk.push_many(1, uid, FREE);
    }
    assert_eq!(desk.0.clients().count(), 5000);
    desk.one_by_one(2500);
    assert!(desk.0.take_everything().len() == 2500);
    assert_eq!((desk.0.ring.len(), desk.0.clients().count()), (0, 0));
    // One user only ever waits: the others are remembered until that user has had a turn.
    desk.push(1, 1, FREE).unwrap();
    for uid in 2..10 {
        desk.push_many(1, uid, FREE);
        assert_eq!(desk.0.next(|model| model == 0).unwrap().uid, uid);
        desk.0.finished(&Client::User(uid));
    }
    assert_eq!((desk.0.ring.len(), desk.0.clients().count()), (9, 1));
    assert_eq!(desk.one_by_one(1), [1]);
    assert_eq!(desk.0.ring.len(), 0);
}

/// Everything that must hold, over any sequence of events.
struct Watched {
    desk: Desk,
    shares: [Share; 4],
    bound: usize,
    waiting: HashMap<u64, Item>,
    running: Vec<Item>,
    /// For each user that waits and could be served all the time: users who had a turn meanwhile.
    passed_by: HashMap<u32, BTreeSet<u32>>,
}

impl Watched {
    fn new(mut dice: impl FnMut(u64) -> u64) -> Self {
        let bound = 1 + dice(12) as usize;
        let share = |_| Share {
            max_running: dice(4) as usize,
            max_queued: dice(6) as usize,
        };
        Self {
            desk: Desk::new(bound),
            shares: [(); 4].map(share),
            bound,
            waiting: HashMap::new(),
            running: Vec::new(),
            passed_by: HashMap::new(),
        }
    }

    fn running_of(&self, uid: u32) -> usize {
        self.running.iter().filter(|item| item.uid == uid).count()
    }

    fn push(&mut self, uid: u32, model: u8) {
        let queued = self.waiting.values().filter(|item| item.uid == uid);
        let queued = queued.count();
        let share = self.shares[uid as usize];
        let expected = if share.max_queued > 0 && queued >= share.max_queued {
            Err(Full::Client)
        } else if self.waiting.len() >= self.bound {
            Err(Full::Queue)
        } else {
            Ok(())
        };
        assert_eq!(self.desk.push(uid, model, share), expected);
        if expected.is_ok() {
            let id = self.desk.1;
            self.waiting.insert(id, Item { id, uid, model });
        }
    }

    fn next(&mut self, models: [bool; 2]) {
        let can_serve = |model: u8| models[usize::from(model)];
        let can_run = |item: &&Item| {
            let cap = self.shares[item.uid as usize].max_running;
            can_serve(item.model) && (cap == 0 || self.running_of(item.uid) < cap)
        };
        let servable: Vec<&Item> = self.waiting.values().filter(can_run).collect();
        let users: BTreeSet<u32> = servable.iter().map(|item| item.uid).collect();
        let oldest = |uid| servable.iter().filter(|i| i.uid == uid).map(|i| i.id).min();
        let Some(item) = self.desk.0.next(can_serve) else {
            assert!(servable.is_empty(), "{servable:?} could have been served");
            return;
        };
        assert_eq!(Some(item.id), oldest(item.uid), "of its client the oldest");
        self.passed_by.retain(|uid, _| users.contains(uid));
        self.passed_by.remove(&item.uid);
        for uid in users.into_iter().filter(|uid| *uid != item.uid) {
            let first = self.passed_by.entry(uid).or_default().insert(item.uid);
            assert!(first, "{uid} waits, {} had two turns", item.uid);
        }
        assert_eq!(self.waiting.remove(&item.id).as_ref(), Some(&item));
        self.running.push(item);
    }

    fn give_back(&mut self, item: Item) {
        // It had no turn after all.
        for passed_by in self.passed_by.values_mut() {
            passed_by.remove(&item.uid);
        }
        let Item { id, uid, model } = item;
        self.waiting.insert(id, Item { id, uid, model });
        self.desk.0.give_back(item);
    }

    /// Check that the counts agree with the requests that were put in and not yet taken out.
    fn check(&mut self) {
        let waits = |uid| self.waiting.values().any(|item| item.uid == uid);
        self.passed_by.retain(|uid, _| waits(*uid));
        let queue = &self.desk.0;
        assert_eq!(queue.len(), self.waiting.len());
        let mut sums = (0, 0);
        for counts in queue.clients() {
            let uid = counts.client.uid().unwrap();
            assert_eq!(counts.running, self.running_of(uid));
            assert_eq!(counts.share, self.shares[uid as usize]);
            sums.0 += counts.running;
            sums.1 += counts.queued;
        }
        assert_eq!(sums, (self.running.len(), self.waiting.len()));
        for model in [0, 1] {
            let users = 0..self.shares.len() as u32;
            let of_user = |uid| {
                let line = |item: &&Item| item.uid == uid && item.model == model;
                let line = self.waiting.values().filter(line).count();
                match self.shares[uid as usize].max_running {
                    0 => line,
                    cap => line.min(cap.saturating_sub(self.running_of(uid))),
                }
            };
            assert_eq!(queue.waiting_for(model), users.map(of_user).sum::<usize>());
            let wants = self.waiting.values().any(|item| item.model == model);
            assert_eq!(queue.wants(model), wants);
        }
        if self.waiting.is_empty() && self.running.is_empty() {
            assert!(queue.ring.is_empty(), "somebody is not forgotten");
        }
    }
}

#[test]
fn nobody_is_passed_by_twice_and_nothing_is_lost_whatever_happens() {
    for seed in 1..=400u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Xorshift.
        let mut dice = |sides: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) % sides
        };
        let mut watched = Watched::new(&mut dice);
        for _ in 0..300 {
            match dice(16) {
                0..=5 => watched.push(dice(4) as u32, dice(2) as u8),
                6..=10 => watched.next([dice(4) > 0, dice(4) > 0]),
                11..=13 if !watched.running.is_empty() => {
                    let index = dice(watched.running.len() as u64) as usize;
                    let item = watched.running.remove(index);
                    if dice(6) == 0 {
                        watched.give_back(item);
                    } else {
                        watched.desk.0.finished(&item.client());
                    }
                }
                14 => {
                    let id = watched.desk.1.saturating_sub(dice(20));
                    let expected = watched.waiting.remove(&id);
                    assert_eq!(watched.desk.0.take(id), expected);
                }
                15 if dice(10) == 0 => {
                    let model = dice(2) as u8;
                    for item in watched.desk.0.take_all(model) {
                        assert_eq!(watched.waiting.remove(&item.id), Some(item));
                    }
                    assert!(!watched.waiting.values().any(|item| item.model == model));
                }
                _ => {}
            }
            watched.check();
        }
    }
}

#[test]
fn the_order_that_is_told_is_the_order_of_the_turns() {
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    for _ in 0..200 {
        let mut desk = Desk::new(100);
        for _ in 0..random(30) {
            let (uid, model) = (random(4) as u32, random(3) as u8);
            desk.push(uid, model, FREE).unwrap();
            if random(4) == 0 {
                desk.next();
            }
        }
        let told = desk.0.order();
        assert_eq!(told.len(), desk.0.len());
        let next = std::iter::from_fn(|| desk.0.next(|_| true));
        assert_eq!(next.map(|item| item.id).collect::<Vec<_>>(), told);
    }
}
