//! When a job that serves several requests (mode `hybrid`) has served enough.

use std::time::Instant;

use crate::{config::Recycle, job::wire::JobProcess};

/// Why a job that did nothing wrong ends though there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dispatch) enum Reason {
    /// It served `max_requests`.
    Requests,
    /// Its own memory has grown by `max_growth`.
    Growth,
    /// It has lived for `max_age`.
    Age,
}

impl Reason {
    /// The word for it in logs and statistics.
    pub(in crate::dispatch) fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Growth => "growth",
            Self::Age => "age",
        }
    }
}

/// What a job has gone through since it was ready.
#[derive(Debug)]
pub(in crate::dispatch) struct Wear {
    rule: Recycle,
    since: Instant,
    served: u64,
    /// Its own memory at the beginning and now, in bytes.
    memory: (u64, u64),
}

impl Wear {
    /// Of a job that has just become ready. It is held to `rule` as it stands now.
    pub(in crate::dispatch) fn of(job: &JobProcess, rule: Recycle) -> Self {
        Self::new(rule, job.usage().anonymous)
    }

    fn new(rule: Recycle, memory: u64) -> Self {
        Self {
            rule,
            since: Instant::now(),
            served: 0,
            memory: (memory, memory),
        }
    }

    /// It has served one more request, and this much memory of its own is left, in bytes.
    pub(in crate::dispatch) fn served(&mut self, memory: u64) {
        self.served += 1;
        self.memory.1 = memory;
    }

    /// How many requests it has served.
    pub(in crate::dispatch) fn requests(&self) -> u64 {
        self.served
    }

    /// By how many bytes its own memory has grown.
    pub(in crate::dispatch) fn growth(&self) -> u64 {
        self.memory.1.saturating_sub(self.memory.0)
    }

    /// Why it must end now, if it must.
    pub(in crate::dispatch) fn verdict(&self) -> Option<Reason> {
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

    /// When it must end, whatever it does until then.
    pub(in crate::dispatch) fn end(&self) -> Instant {
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
        let verdicts = [(); 3].map(|()| {
            wear.served(1 << 20);
            wear.verdict()
        });
        assert_eq!(verdicts, [None, None, Some(Reason::Requests)]);
    }

    #[test]
    fn what_counts_is_growth_and_not_size() {
        let mut wear = Wear::new(rule(), 100 << 20);
        wear.served(109 << 20);
        assert_eq!((wear.verdict(), wear.growth()), (None, 9 << 20));
        wear.served(110 << 20);
        assert_eq!(wear.verdict(), Some(Reason::Growth));
        let mut shrunk = Wear::new(rule(), 100 << 20);
        shrunk.served(0);
        assert_eq!((shrunk.verdict(), shrunk.growth()), (None, 0));
    }

    #[test]
    fn age_alone_ends_a_job_that_never_served() {
        let rule = Recycle {
            max_age: Duration::ZERO,
            ..rule()
        };
        assert_eq!(Wear::new(rule, 0).verdict(), Some(Reason::Age));
        let young = Wear::new(self::rule(), 0);
        assert_eq!(young.verdict(), None);
        assert!(young.end() > Instant::now());
    }
}
