//! The silence of a job: whether it hangs, or only waits for a CPU on a busy host.

use std::time::Duration;

use tokio::time::Instant;

use crate::isolation::Delay;

/// CPU time below which a job did nothing between two looks: idle threads wake up now and then.
const IDLE_CPU: Duration = Duration::from_millis(2);

/// A job since it last spoke or was seen to use the CPU.
#[derive(Debug)]
pub struct Silence {
    /// When it gave its last sign of life.
    since: Instant,
    /// CPU time that it had used by then.
    cpu: Duration,
    /// Its waits for a CPU in the middle of the silence, and when they were read.
    halfway: Option<(Instant, Option<Delay>)>,
}

impl Silence {
    /// The silence of a job that has used no CPU yet.
    pub fn new(since: Instant) -> Self {
        Self {
            since,
            cpu: Duration::ZERO,
            halfway: None,
        }
    }

    /// The job gave a sign of life.
    pub fn broken(&mut self, now: Instant) {
        self.since = now;
        self.halfway = None;
    }

    /// Whether the job hangs: it has been silent for longer than `limit` and did not wait for a CPU
    /// meanwhile. `cpu` is the CPU time that it has used. Its waits are read only twice: `delay` is
    /// called when half of the time is over, and at its end.
    ///
    /// A job that has waited for at least half of the second half is not to blame, and has the
    /// whole time again. Its deadline still ends it.
    pub fn hangs(
        &mut self,
        now: Instant,
        cpu: Duration,
        limit: Duration,
        delay: impl Fn() -> Option<Delay>,
    ) -> bool {
        if cpu > self.cpu + IDLE_CPU {
            self.cpu = cpu;
            self.broken(now);
            return false;
        }
        let silent = now.saturating_duration_since(self.since);
        if silent <= limit / 2 {
            return false;
        }
        let (noted, before) = *self.halfway.get_or_insert_with(|| (now, delay()));
        // If the limit is so short that both looks would be the same one, it takes another.
        if silent <= limit || noted == now {
            return false;
        }
        let (Some(before), Some(after)) = (before, delay()) else {
            return true;
        };
        let waited = after.total.saturating_sub(before.total);
        if waited >= now.saturating_duration_since(noted) / 2 {
            self.broken(now);
            return false;
        }
        // The length of a wait that goes on is not known yet. A thread that only woke up for a
        // moment is asleep again at the next look.
        !after.goes_on
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// For how many half seconds a job may be silent that uses no CPU and whose waits are `delay`
    /// after so many of them, up to ten minutes; and how often its waits were read.
    fn endures(limit: Duration, delay: impl Fn(u32) -> Option<Delay>) -> (u32, u32) {
        let (start, read) = (Instant::now(), Cell::new(0));
        let mut silence = Silence::new(start);
        for look in 1..=1200 {
            let now = start + look * Duration::from_millis(500);
            let delay = || {
                read.set(read.get() + 1);
                delay(look)
            };
            if silence.hangs(now, Duration::ZERO, limit, delay) {
                return (look, read.get());
            }
        }
        (1200, read.get())
    }

    fn waited(milliseconds: u32) -> Option<Delay> {
        Some(Delay {
            total: Duration::from_millis(milliseconds.into()),
            goes_on: false,
        })
    }

    #[test]
    fn a_job_that_sleeps_hangs() {
        assert_eq!(endures(LIMIT, |_| waited(7)), (61, 2));
        // The same if nobody can tell, for example because /proc hides the job.
        assert_eq!(endures(LIMIT, |_| None), (61, 2));
        // It woke up, and waited a little each time.
        assert_eq!(endures(LIMIT, |look| waited(look * 100)), (61, 2));
        let woken = |look| {
            let mut delay = waited(7)?;
            delay.goes_on = look == 61;
            Some(delay)
        };
        assert_eq!(endures(LIMIT, woken), (62, 3));
    }

    #[test]
    fn a_job_that_waits_for_a_cpu_does_not_hang() {
        let (looks, read) = endures(LIMIT, |look| waited(look * 300));
        assert_eq!(looks, 1200);
        assert!(read <= 42, "{read}");
        // One wait without an end, which the kernel has not counted yet.
        let one = Delay {
            total: Duration::ZERO,
            goes_on: true,
        };
        assert_eq!(endures(LIMIT, |_| Some(one)).0, 1200);
        // It waited for a while, and then hung.
        let (looks, _) = endures(LIMIT, |look| waited(500 * look.min(100)));
        assert!((120..=184).contains(&looks), "{looks}");
    }

    #[test]
    fn a_limit_shorter_than_two_looks_still_ends_a_job() {
        for limit in [1, 400, 700, 1000].map(Duration::from_millis) {
            let (looks, read) = endures(limit, |_| waited(0));
            assert!(looks <= 3 && read <= 2, "{limit:?}: {looks}, {read}");
        }
    }

    #[test]
    fn words_and_work_are_signs_of_life() {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        let mut hangs = |seconds, cpu| {
            let now = start + Duration::from_secs(seconds);
            silence.hangs(now, Duration::from_millis(cpu), LIMIT, || waited(0))
        };
        assert!(!hangs(20, 0) && !hangs(29, 3) && !hangs(50, 4) && hangs(60, 4));
        silence.broken(start + Duration::from_secs(61));
        let later = start + Duration::from_secs(90);
        assert!(!silence.hangs(later, Duration::from_millis(4), LIMIT, || waited(0)));
    }
}
