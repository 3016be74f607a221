//! Leaves a model alone whose jobs crash again and again.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::config;

/// Opens after too many crashes in too short a time, and closes when a request has succeeded again.
#[derive(Debug)]
pub(in crate::dispatch) struct Breaker {
    settings: config::Breaker,
    state: State,
    /// The latest crashes, as many as open it: when, and how many requests had ended until then.
    crashes: VecDeque<(Instant, u64)>,
    ended: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// Nothing is let through until then.
    Open(Instant),
    /// One request was let through then; its end decides.
    HalfOpen(Instant),
}

/// What the end of a request changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dispatch) enum Change {
    /// It opened just now.
    Opened,
    /// It closed just now.
    Closed,
}

impl Breaker {
    pub(in crate::dispatch) fn new(settings: config::Breaker) -> Self {
        Self {
            settings,
            state: State::Closed,
            crashes: VecDeque::new(),
            ended: 0,
        }
    }

    /// Go on under other settings.
    pub(in crate::dispatch) fn configure(&mut self, settings: config::Breaker) {
        if settings != self.settings {
            *self = Self::new(settings);
        }
    }

    /// Whether requests are refused at this moment, and for how long at least.
    pub(in crate::dispatch) fn is_open(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Closed => None,
            State::Open(until) => Some(until.saturating_duration_since(now)),
            // The one that was let through may have been cancelled: after another pause the next one may try.
            State::HalfOpen(since) => {
                let until = since + self.settings.pause;
                Some(until.saturating_duration_since(now))
            }
        }
    }

    /// Let a request through, or tell when to come again.
    pub(in crate::dispatch) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.is_open(now) {
            None => Ok(()),
            Some(Duration::ZERO) => {
                self.state = State::HalfOpen(now);
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }

    /// A request has ended, by a crash or not.
    pub(in crate::dispatch) fn ended(&mut self, now: Instant, crash: bool) -> Option<Change> {
        self.ended += 1;
        if self.settings.crashes == 0 {
            return None;
        }
        match (self.state, crash) {
            (State::Closed, false) => None,
            (State::Closed, true) => {
                let most = self.settings.crashes as usize;
                if self.crashes.len() == most {
                    self.crashes.pop_front();
                }
                self.crashes.push_back((now, self.ended));
                let (first, ended) = *self.crashes.front()?;
                // Where most requests succeed, a few clients with bad files must not take the model from all others.
                let among = self.ended - ended + 1;
                let too_many = self.crashes.len() == most
                    && now.saturating_duration_since(first) <= self.settings.within
                    && among <= 2 * u64::from(self.settings.crashes);
                too_many.then(|| self.open(now))
            }
            // What ran before it opened says nothing new.
            (State::Open(_), _) => None,
            (State::HalfOpen(_), false) => {
                self.state = State::Closed;
                Some(Change::Closed)
            }
            (State::HalfOpen(_), true) => Some(self.open(now)),
        }
    }

    fn open(&mut self, now: Instant) -> Change {
        self.state = State::Open(now + self.settings.pause);
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
    fn a_trial_that_never_ends_blocks_nobody_for_ever() {
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
