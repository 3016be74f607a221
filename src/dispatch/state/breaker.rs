//! Keeps requests from a model whose jobs crash again and again, client by client.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::{config, dispatch::request::client::Client};

/// Most clients of one model whose crashes are remembered. Beyond that the one that was quiet for
/// the longest time is forgotten.
const MAX_CLIENTS: usize = 64;

/// Opens for a client whose requests crash too many jobs in too short a time, and for everybody if
/// the requests of others crash them, too. Closes when a request has succeeded again.
///
/// The service counts as a client: its own requests show whether the model works at all. So a
/// client whose parameters or recordings crash an engine closes the model for nobody else.
#[derive(Debug)]
pub struct Breaker {
    settings: config::Breaker,
    everybody: Position,
    /// Clients whose requests have crashed a job, or that try a model that is open for everybody.
    /// The one that was quiet for the longest time comes first.
    records: VecDeque<Record>,
    /// Requests that have ended.
    ended: u64,
}

/// The crashes of one client.
#[derive(Debug)]
struct Record {
    client: Client,
    position: Position,
    /// The latest crashes, at most as many as open it.
    crashes: VecDeque<Crash>,
    /// Requests of this client that have ended since it is here.
    ended: u64,
}

/// One crash of a job.
#[derive(Clone, Copy, Debug)]
struct Crash {
    at: Instant,
    /// How many requests of the client had ended by then, with this one.
    own: u64,
    /// How many requests of all clients had ended by then, with this one.
    all: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Closed,
    /// No request is let through until then.
    Open(Instant),
    /// One request was let through then, one of each client if it is open for everybody. Its end
    /// decides.
    HalfOpen(Instant),
}

/// Why a request is not let through, and for how long at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    /// The requests of all clients are refused.
    ToAll(Duration),
    /// Only those of this client are.
    ToClient(Duration),
}

/// A change of the breaker by the end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It opened for everybody just now.
    Opened,
    /// It opened for the request's client just now.
    OpenedForClient,
    /// It closed just now, for everybody that it was open for.
    Closed,
    /// It closed for the request's client just now.
    ClosedForClient,
}

impl Record {
    fn new(client: Client) -> Self {
        Self {
            client,
            position: Position::Closed,
            crashes: VecDeque::new(),
            ended: 0,
        }
    }

    /// Crashes since `start`.
    fn since(&self, start: Option<Instant>) -> impl DoubleEndedIterator<Item = &Crash> {
        let is_late = move |crash: &&Crash| start.is_none_or(|start| crash.at >= start);
        self.crashes.iter().filter(is_late)
    }

    /// Whether this client alone has crashed `most` jobs since `start`, and at least half of its
    /// requests did. If most of them succeed, a few bad recordings must not keep the others out.
    fn has_too_many(&self, most: usize, start: Option<Instant>) -> bool {
        let Some(first) = self.since(start).next() else {
            return false;
        };
        self.since(start).count() >= most && self.ended - first.own < 2 * most as u64
    }
}

impl Breaker {
    /// A closed breaker that has seen no crash.
    pub fn new(settings: config::Breaker) -> Self {
        Self {
            settings,
            everybody: Position::Closed,
            records: VecDeque::new(),
            ended: 0,
        }
    }

    /// Go on under these settings, with the memory of crashes only if they are the same as before.
    pub fn configure(&mut self, settings: config::Breaker) {
        if settings != self.settings {
            *self = Self::new(settings);
        }
    }

    /// Whether the requests of all clients are refused at this moment, and for how long at least.
    /// After the pause each client may try once.
    pub fn is_open(&self, now: Instant) -> Option<Duration> {
        match self.everybody {
            Position::Closed => None,
            Position::Open(until) => Some(until.saturating_duration_since(now)),
            Position::HalfOpen(_) => Some(Duration::ZERO),
        }
    }

    /// Let a request of `client` through.
    ///
    /// # Errors
    /// Not now; come again after this time.
    pub fn admit(&mut self, now: Instant, client: &Client) -> Result<(), Shut> {
        match self.is_open(now) {
            Some(Duration::ZERO) => self.everybody = Position::HalfOpen(now),
            Some(wait) => return Err(Shut::ToAll(wait)),
            None if self.find(client).is_none() => return Ok(()),
            None => {}
        }
        let is_tried = self.everybody != Position::Closed;
        let pause = self.settings.pause;
        let record = self.record(client);
        let until = match record.position {
            Position::Closed if is_tried => now,
            Position::Closed => return Ok(()),
            Position::Open(until) => until,
            // The request that was let through was perhaps cancelled: after another pause the next
            // one may try.
            Position::HalfOpen(since) => since + pause,
        };
        match until.saturating_duration_since(now) {
            Duration::ZERO => {
                record.position = Position::HalfOpen(now);
                Ok(())
            }
            wait if is_tried => Err(Shut::ToAll(wait)),
            wait => Err(Shut::ToClient(wait)),
        }
    }

    /// A request of `client` has ended, by a crash or not.
    pub fn ended(&mut self, now: Instant, client: &Client, crash: bool) -> Option<Change> {
        self.ended += 1;
        if self.settings.crashes == 0 {
            return None;
        }
        if self.is_open(now) == Some(Duration::ZERO) {
            // Perhaps only the service itself has tried it since.
            self.everybody = Position::HalfOpen(now);
        }
        if crash {
            self.crashed(now, client)
        } else {
            self.went_well(client)
        }
    }

    /// A request ended in any other way than by a crash: its client's trial is over, and so is
    /// everybody's.
    fn went_well(&mut self, client: &Client) -> Option<Change> {
        let was_tried = matches!(self.everybody, Position::HalfOpen(_));
        if was_tried {
            self.everybody = Position::Closed;
        }
        let mut change = was_tried.then_some(Change::Closed);
        if let Some(record) = self.find(client).and_then(|at| self.records.get_mut(at)) {
            match record.position {
                Position::Closed => record.ended += 1,
                // Requests that ran before it opened say nothing new.
                Position::Open(_) => {}
                Position::HalfOpen(_) => {
                    record.position = Position::Closed;
                    // The pause was for these. With those of the next client they would look like
                    // a broken model.
                    record.crashes.clear();
                    change = change.or(Some(Change::ClosedForClient));
                }
            }
        }
        if was_tried {
            // Trials that still run decide nothing any more.
            for record in &mut self.records {
                if matches!(record.position, Position::HalfOpen(_)) {
                    record.position = Position::Closed;
                }
            }
        }
        change
    }

    fn crashed(&mut self, now: Instant, client: &Client) -> Option<Change> {
        let most = self.settings.crashes as usize;
        let (until, all) = (now + self.settings.pause, self.ended);
        let start = now.checked_sub(self.settings.within);
        let is_service = *client == Client::Service;
        self.forget(start);
        let record = self.record(client);
        let mut opened = false;
        match record.position {
            Position::Closed => {
                record.ended += 1;
                if record.crashes.len() == most {
                    record.crashes.pop_front();
                }
                let own = record.ended;
                record.crashes.push_back(Crash { at: now, own, all });
                opened = !is_service && record.has_too_many(most, start);
            }
            Position::Open(_) => {}
            Position::HalfOpen(_) => opened = true,
        }
        if opened {
            record.position = Position::Open(until);
        }
        let for_everybody = match self.everybody {
            Position::Closed => self.is_everybody_hit(most, start),
            Position::Open(_) => false,
            // A client's trial is over for itself alone.
            Position::HalfOpen(_) => is_service,
        };
        if for_everybody {
            self.everybody = Position::Open(until);
            // Each of them tries once after the pause.
            self.records.clear();
            return Some(Change::Opened);
        }
        opened.then_some(Change::OpenedForClient)
    }

    /// Whether at least two clients have crashed `most` jobs together since `start`, and at least
    /// half of all requests did. One client counts for no more than half of the crashes. A single
    /// crash of the service's own request counts for that half: nobody had a hand in it.
    fn is_everybody_hit(&self, most: usize, start: Option<Instant>) -> bool {
        let half = most.div_ceil(2);
        let (mut clients, mut crashes, mut first) = (0, 0, u64::MAX);
        for record in &self.records {
            let latest = record.since(start).rev().take(half);
            let (count, oldest) = latest.fold((0, u64::MAX), |(count, oldest), crash| {
                (count + 1, crash.all.min(oldest))
            });
            if count > 0 {
                clients += 1;
                first = first.min(oldest);
            }
            crashes += match record.client {
                Client::Service if count > 0 => half,
                _ => count,
            };
        }
        let among = self.ended.saturating_sub(first) + 1;
        clients >= 2 && crashes >= most && among <= 2 * most as u64
    }

    fn find(&self, client: &Client) -> Option<usize> {
        let mut records = self.records.iter();
        records.position(|record| record.client == *client)
    }

    /// The record of `client`, made if there is none, as the last one.
    fn record(&mut self, client: &Client) -> &mut Record {
        let known = self.find(client).and_then(|at| self.records.remove(at));
        let record = known.unwrap_or_else(|| Record::new(client.clone()));
        if self.records.len() == MAX_CLIENTS {
            self.records.pop_front();
        }
        self.records.push_back(record);
        let last = self.records.len() - 1;
        &mut self.records[last]
    }

    /// Forget clients for which it is closed and that have crashed nothing since `start`.
    fn forget(&mut self, start: Option<Instant>) {
        self.records.retain(|record| {
            record.position != Position::Closed || record.since(start).next().is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    const A: Client = Client::User(1);
    const B: Client = Client::User(2);
    const C: Client = Client::Network;

    fn breaker_of(crashes: u32) -> Breaker {
        Breaker::new(config::Breaker {
            crashes,
            within: 10 * SECOND,
            pause: 5 * SECOND,
        })
    }

    /// A breaker that opens after three crashes, and what each of these endings changes.
    fn after<'a>(
        start: Instant,
        endings: impl IntoIterator<Item = (u32, &'a Client, bool)>,
    ) -> (Breaker, Vec<Option<Change>>) {
        let mut breaker = breaker_of(3);
        let mut end =
            |(seconds, client, crash)| breaker.ended(start + seconds * SECOND, client, crash);
        let changes = endings.into_iter().map(&mut end).collect();
        (breaker, changes)
    }

    /// As [`after`], with crashes at the start only.
    fn crashed<'a>(
        start: Instant,
        clients: impl IntoIterator<Item = &'a Client>,
    ) -> (Breaker, Vec<Option<Change>>) {
        after(start, clients.into_iter().map(|client| (0, client, true)))
    }

    #[test]
    fn one_client_closes_a_model_only_for_itself() {
        let now = Instant::now();
        let (mut breaker, changes) = crashed(now, [&A, &A, &A]);
        assert_eq!(changes, [None, None, Some(Change::OpenedForClient)]);
        assert_eq!(breaker.admit(now, &A), Err(Shut::ToClient(5 * SECOND)));
        assert_eq!(breaker.admit(now, &B), Ok(()));
        assert_eq!(breaker.is_open(now), None);
        // However often it crashes: requests of it that run still end.
        for _ in 0..100 {
            assert_eq!(breaker.ended(now, &A, true), None);
            assert_eq!(breaker.admit(now, &B), Ok(()));
        }
        // Another client's single mishap does not make a broken model of it.
        let mut breaker = breaker_of(10);
        for _ in 0..9 {
            assert_eq!(breaker.ended(now, &A, true), None);
        }
        assert_eq!(breaker.ended(now, &B, true), None);
        assert_eq!(breaker.admit(now, &C), Ok(()));
    }

    #[test]
    fn opens_only_after_enough_crashes_in_time() {
        let start = Instant::now();
        // Too slow: the first is forgotten when the third comes.
        let endings = [0, 6, 12, 13].map(|seconds| (seconds, &A, true));
        let (mut breaker, changes) = after(start, endings);
        assert_eq!(changes, [None, None, None, Some(Change::OpenedForClient)]);
        let wait = breaker.admit(start + 14 * SECOND, &A);
        assert_eq!(wait, Err(Shut::ToClient(4 * SECOND)));
    }

    #[test]
    fn several_clients_close_it_for_everybody() {
        let now = Instant::now();
        let (mut breaker, changes) = crashed(now, [&A, &B, &B]);
        assert_eq!(changes, [None, None, Some(Change::Opened)]);
        for client in [&A, &B, &C] {
            assert_eq!(breaker.admit(now, client), Err(Shut::ToAll(5 * SECOND)));
        }
        let late = after(now, [(0, &A, true), (11, &B, true), (11, &B, true)]);
        assert_eq!(late.1, [None; 3]);
    }

    #[test]
    fn the_service_decides_where_there_is_one_client() {
        let now = Instant::now();
        let (mut breaker, changes) = crashed(now, [&A, &A, &A, &Client::Service]);
        let [.., for_client, for_all] = changes[..] else {
            panic!("{changes:?}");
        };
        assert_eq!(for_client, Some(Change::OpenedForClient));
        assert_eq!(for_all, Some(Change::Opened));
        assert!(breaker.admit(now, &B).is_err());
        // Alone it closes nothing: it has its own ways to report that.
        let (mut breaker, changes) = crashed(now, [&Client::Service; 20]);
        assert_eq!(changes, [None; 20]);
        assert_eq!(breaker.admit(now, &A), Ok(()));
    }

    #[test]
    fn stays_closed_where_most_requests_succeed() {
        let now = Instant::now();
        let mut breaker = breaker_of(3);
        for client in [&A, &B].into_iter().cycle().take(50) {
            assert_eq!(breaker.ended(now, client, true), None);
            for _ in 0..3 {
                assert_eq!(breaker.ended(now, client, false), None);
            }
        }
        assert_eq!(breaker.admit(now, &A), Ok(()));
    }

    #[test]
    fn one_request_after_the_pause_decides() {
        let start = Instant::now();
        let (mut breaker, _) = crashed(start, [&A; 3]);
        assert!(breaker.admit(start, &A).is_err());
        let later = start + 5 * SECOND;
        assert_eq!(breaker.admit(later, &A), Ok(()));
        assert!(breaker.admit(later, &A).is_err(), "only one is let through");
        let change = breaker.ended(later, &A, true);
        assert_eq!(change, Some(Change::OpenedForClient));
        let later = later + 5 * SECOND;
        assert_eq!(breaker.admit(later, &A), Ok(()));
        let change = breaker.ended(later, &A, false);
        assert_eq!(change, Some(Change::ClosedForClient));
        assert_eq!(breaker.admit(later, &A), Ok(()));
    }

    #[test]
    fn each_client_tries_a_model_that_is_closed_for_everybody() {
        let start = Instant::now();
        let (mut breaker, _) = crashed(start, [&A, &B, &B]);
        let later = start + 5 * SECOND;
        assert_eq!(breaker.admit(later, &A), Ok(()));
        assert!(breaker.admit(later, &A).is_err(), "only one is let through");
        // A's crash keeps only A out.
        let change = breaker.ended(later, &A, true);
        assert_eq!(change, Some(Change::OpenedForClient));
        assert_eq!(breaker.admit(later, &A), Err(Shut::ToAll(5 * SECOND)));
        assert_eq!(breaker.admit(later, &C), Ok(()));
        assert_eq!(breaker.ended(later, &C, false), Some(Change::Closed));
        assert_eq!(breaker.is_open(later), None);
        assert_eq!(breaker.admit(later, &B), Ok(()));
        assert_eq!(breaker.admit(later, &A), Err(Shut::ToClient(5 * SECOND)));
    }

    #[test]
    fn the_service_itself_tries_it_if_nobody_comes() {
        let start = Instant::now();
        for crash in [true, false] {
            let (mut breaker, _) = crashed(start, [&A, &B, &B]);
            // Requests that ran before it opened say nothing new.
            assert_eq!(breaker.ended(start, &Client::Service, false), None);
            let later = start + 5 * SECOND;
            let change = breaker.ended(later, &Client::Service, crash);
            let expected = if crash {
                Change::Opened
            } else {
                Change::Closed
            };
            assert_eq!(change, Some(expected));
            assert_eq!(breaker.is_open(later).is_some(), crash);
        }
    }

    #[test]
    fn a_trial_without_end_does_not_block_others() {
        let start = Instant::now();
        for clients in [[&A, &A, &A], [&A, &B, &B]] {
            let (mut breaker, _) = crashed(start, clients);
            assert_eq!(breaker.admit(start + 5 * SECOND, &A), Ok(()));
            let again = breaker.admit(start + 9 * SECOND, &A);
            assert!(matches!(
                again,
                Err(Shut::ToAll(SECOND) | Shut::ToClient(SECOND))
            ));
            assert_eq!(breaker.admit(start + 10 * SECOND, &A), Ok(()));
        }
    }

    #[test]
    fn the_clients_that_it_remembers_are_few() {
        let now = Instant::now();
        let mut breaker = breaker_of(3);
        for uid in 0..10_000 {
            breaker.ended(now, &Client::User(uid), uid % 2 == 0);
            assert!(breaker.records.len() <= MAX_CLIENTS);
        }
        let later = now + 11 * SECOND;
        assert!(breaker.is_open(later).is_some());
        for uid in 0..10_000 {
            let _ = breaker.admit(later, &Client::User(uid));
            assert!(breaker.records.len() <= MAX_CLIENTS);
        }
        // A client is forgotten once its crashes are too old to count.
        let mut breaker = breaker_of(3);
        breaker.ended(now, &A, true);
        breaker.ended(later, &B, true);
        assert_eq!(breaker.records.len(), 1);
    }

    #[test]
    fn zero_crashes_switch_it_off() {
        let now = Instant::now();
        let mut breaker = breaker_of(0);
        for client in [&A, &B].into_iter().cycle().take(1000) {
            assert_eq!(breaker.ended(now, client, true), None);
        }
    }
}
