//! When a job that serves several requests (mode `hybrid`) has served enough.

use tokio::time::Instant;

use crate::{config::Recycle, job::wire::JobProcess};

/// Why a job that did nothing wrong is replaced though there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It served `max_requests` requests.
    Requests,
    /// Its own memory has grown by `max_growth`.
    Growth,
    /// It has lived for `max_age`.
    Age,
}

impl Reason {
    /// The word for it in logs and statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Growth => "growth",
            Self::Age => "age",
        }
    }
}

/// A job's work since it was ready, held against the rule for its replacement.
#[derive(Debug)]
pub struct Wear {
    rule: Recycle,
    since: Instant,
    served: u64,
    /// Its own memory when it was ready, in bytes.
    first_memory: u64,
    /// Its own memory after its last request, in bytes.
    last_memory: u64,
}

impl Wear {
    /// The wear of a job that has just become ready, under the rule that is in force now.
    pub fn of(job: &JobProcess, rule: Recycle) -> Self {
        Self::new(rule, job.usage().anonymous)
    }

    fn new(rule: Recycle, memory: u64) -> Self {
        Self {
            rule,
            since: Instant::now(),
            served: 0,
            first_memory: memory,
            last_memory: memory,
        }
    }

    /// It has served one more request, after which it has `memory` of its own, in bytes.
    pub fn served(&mut self, memory: u64) {
        self.served += 1;
        self.last_memory = memory;
    }

    /// How many requests it has served.
    pub fn requests(&self) -> u64 {
        self.served
    }

    /// By how many bytes its own memory has grown.
    pub fn growth(&self) -> u64 {
        self.last_memory.saturating_sub(self.first_memory)
    }

    /// Why it must end now, if it must.
    pub fn due(&self) -> Option<Reason> {
        if self.served >= self.rule.max_requests {
            Some(Reason::Requests)
        } else if self.growth() >= self.rule.max_growth.bytes() {
            Some(Reason::Growth)
        } else if self.since.elapsed() >= self.rule.max_age {
            Some(Reason::Age)
        } else {
            None
        }
    }

    /// When it must end at the latest.
    pub fn end(&self) -> Instant {
        self.since + self.rule.max_age
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::units::ByteSize;

    fn rule() -> Recycle {
        Recycle {
            max_requests: 3,
            max_growth: ByteSize::mib(10),
            max_age: Duration::from_secs(3600),
        }
    }

    #[test]
    fn a_job_ends_after_its_last_request_and_not_before() {
        let mut wear = Wear::new(rule(), 1 << 20);
        let ends = [(); 3].map(|()| {
            wear.served(1 << 20);
            wear.due()
        });
        assert_eq!(ends, [None, None, Some(Reason::Requests)]);
    }

    #[test]
    fn what_counts_is_growth_and_not_size() {
        let mut wear = Wear::new(rule(), 100 << 20);
        wear.served(109 << 20);
        assert_eq!((wear.due(), wear.growth()), (None, 9 << 20));
        wear.served(110 << 20);
        assert_eq!(wear.due(), Some(Reason::Growth));
        let mut shrunk = Wear::new(rule(), 100 << 20);
        shrunk.served(0);
        assert_eq!((shrunk.due(), shrunk.growth()), (None, 0));
    }

    #[test]
    fn age_alone_ends_a_job_that_never_served() {
        let rule = Recycle {
            max_age: Duration::ZERO,
            ..rule()
        };
        assert_eq!(Wear::new(rule, 0).due(), Some(Reason::Age));
        let young = Wear::new(self::rule(), 0);
        assert_eq!(young.due(), None);
        assert!(young.end() > Instant::now());
    }
}
