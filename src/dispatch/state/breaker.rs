//! Keeps requests from a model whose jobs crash again and again.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::config;

/// Opens after too many crashes in too short a time. Closes when a request has succeeded again.
#[derive(Debug)]
pub struct Breaker {
    settings: config::Breaker,
    position: Position,
    /// The latest crashes, at most as many as open it.
    crashes: VecDeque<Crash>,
    /// Requests that have ended.
    ended: u64,
}

/// One crash of a job.
#[derive(Clone, Copy, Debug)]
struct Crash {
    at: Instant,
    /// How many requests had ended by then, with this one.
    ended: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Closed,
    /// No request is let through until then.
    Open(Instant),
    /// One request was let through then; its end decides.
    HalfOpen(Instant),
}

/// A change of the breaker by the end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It opened just now.
    Opened,
    /// It closed just now.
    Closed,
}

impl Breaker {
    /// A closed breaker that has seen no crash.
    pub fn new(settings: config::Breaker) -> Self {
        Self {
            settings,
            position: Position::Closed,
            crashes: VecDeque::new(),
            ended: 0,
        }
    }

    /// Go on under these settings, with the memory of crashes only if they are the same as before.
    pub fn configure(&mut self, settings: config::Breaker) {
        if settings != self.settings {
            *self = Self::new(settings);
        }
    }

    /// Whether requests are refused at this moment, and for how long at least.
    pub fn is_open(&self, now: Instant) -> Option<Duration> {
        match self.position {
            Position::Closed => None,
            Position::Open(until) => Some(until.saturating_duration_since(now)),
            // The request that was let through was perhaps cancelled: after another pause the next
            // one may try.
            Position::HalfOpen(since) => {
                let until = since + self.settings.pause;
                Some(until.saturating_duration_since(now))
            }
        }
    }

    /// Let a request through.
    ///
    /// # Errors
    /// Not now; come again after this time.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.is_open(now) {
            None => Ok(()),
            Some(Duration::ZERO) => {
                self.position = Position::HalfOpen(now);
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }

    /// A request has ended, by a crash or not.
    pub fn ended(&mut self, now: Instant, crash: bool) -> Option<Change> {
        self.ended += 1;
        if self.settings.crashes == 0 {
            return None;
        }
        match (self.position, crash) {
            (Position::Closed, false) => None,
            (Position::Closed, true) => {
                let most = self.settings.crashes as usize;
                if self.crashes.len() == most {
                    self.crashes.pop_front();
                }
                let ended = self.ended;
                self.crashes.push_back(Crash { at: now, ended });
                let first = *self.crashes.front()?;
                // If most requests succeed, a few clients with bad files must not take the model
                // from all others.
                let among = self.ended - first.ended + 1;
                let too_many = self.crashes.len() == most
                    && now.saturating_duration_since(first.at) <= self.settings.within
                    && among <= 2 * u64::from(self.settings.crashes);
                too_many.then(|| self.open(now))
            }
            // Requests that ran before it opened say nothing new.
            (Position::Open(_), _) => None,
            (Position::HalfOpen(_), false) => {
                self.position = Position::Closed;
                Some(Change::Closed)
            }
            (Position::HalfOpen(_), true) => Some(self.open(now)),
        }
    }

    fn open(&mut self, now: Instant) -> Change {
        self.position = Position::Open(now + self.settings.pause);
        self.crashes.clear();
        Change::Opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(config::Breaker {
            crashes: 3,
            within: 10 * SECOND,
            pause: 5 * SECOND,
        })
    }

    #[test]
    fn opens_only_after_enough_crashes_in_time() {
        let start = Instant::now();
        let mut breaker = breaker();
        // Too slow: the first is forgotten when the third comes.
        for seconds in [0, 6, 12] {
            assert_eq!(breaker.ended(start + seconds * SECOND, true), None);
        }
        assert_eq!(
            breaker.ended(start + 13 * SECOND, true),
            Some(Change::Opened)
        );
        assert_eq!(breaker.admit(start + 14 * SECOND), Err(4 * SECOND));
    }

    #[test]
    fn stays_closed_where_most_requests_succeed() {
        let now = Instant::now();
        let mut breaker = breaker();
        for _ in 0..50 {
            assert_eq!(breaker.ended(now, true), None);
            for _ in 0..3 {
                assert_eq!(breaker.ended(now, false), None);
            }
        }
        assert_eq!(breaker.admit(now), Ok(()));
    }

    #[test]
    fn one_request_after_the_pause_decides() {
        let start = Instant::now();
        let mut breaker = breaker();
        for _ in 0..3 {
            breaker.ended(start, true);
        }
        assert!(breaker.admit(start).is_err());
        let later = start + 5 * SECOND;
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.admit(later).is_err(), "only one is let through");
        assert_eq!(breaker.ended(later, true), Some(Change::Opened));
        let later = later + 5 * SECOND;
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.ended(later, false), Some(Change::Closed));
        assert_eq!(breaker.admit(later), Ok(()));
    }

    #[test]
    fn a_trial_without_end_does_not_block_others() {
        let start = Instant::now();
        let mut breaker = breaker();
        for _ in 0..3 {
            breaker.ended(start, true);
        }
        assert_eq!(breaker.admit(start + 5 * SECOND), Ok(()));
        assert_eq!(breaker.admit(start + 9 * SECOND), Err(SECOND));
        assert_eq!(breaker.admit(start + 10 * SECOND), Ok(()));
    }

    #[test]
    fn zero_crashes_switch_it_off() {
        let now = Instant::now();
        let mut breaker = Breaker::new(config::Breaker {
            crashes: 0,
            ..config::Breaker::default()
        });
        for _ in 0..1000 {
            assert_eq!(breaker.ended(now, true), None);
        }
    }
}
