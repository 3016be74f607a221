//! Limits how long a client may take to send: each pause by itself, and all pauses together by the
//! bytes received.

use std::time::Duration;

use crate::config::Http;

/// Time left for one client. Only time in which we wait for the client counts.
#[derive(Debug)]
pub(super) struct Patience {
    pause: Duration,
    /// Bytes that earn one second of waiting; 0 removes the limit on the total.
    rate: u64,
    waited: Duration,
    received: u64,
}

impl Patience {
    pub(super) fn new(limits: &Http) -> Self {
        Self {
            pause: limits.body_timeout,
            rate: limits.body_min_rate.bytes(),
            waited: Duration::ZERO,
            received: 0,
        }
    }

    /// Like [`Self::new`], but one second costs at least `rate` bytes, unless waiting is free.
    pub(super) fn at_least(limits: &Http, rate: u64) -> Self {
        let mut patience = Self::new(limits);
        if patience.rate > 0 {
            patience.rate = patience.rate.max(rate);
        }
        patience
    }

    /// Longest time that the next bytes may take.
    pub(super) fn left(&self) -> Duration {
        self.pause.min(self.earned().saturating_sub(self.waited))
    }

    /// True if `left` was limited by a single pause, false if by the total of all pauses.
    pub(super) fn is_paused(&self, left: Duration) -> bool {
        left == self.pause
    }

    /// Record that `bytes` bytes arrived after waiting for `after`.
    pub(super) fn arrived(&mut self, bytes: usize, after: Duration) {
        self.received += bytes as u64;
        self.waited += after;
    }

    /// Bytes received so far.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Total time that all pauses may take.
    fn earned(&self) -> Duration {
        let seconds = self.received as f64 / self.rate as f64;
        let earned = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        match self.rate {
            0 => Duration::MAX,
            _ => self.pause.saturating_add(earned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ByteSize;

    fn patience(rate: ByteSize) -> Patience {
        Patience::new(&Http {
            body_timeout: Duration::from_secs(10),
            body_min_rate: rate,
            ..Http::default()
        })
    }

    #[test]
    fn bytes_earn_time_and_pauses_use_it_up() {
        let mut patience = patience(ByteSize::kib(1));
        let left = |patience: &Patience| patience.left().as_secs_f64();
        assert_eq!(left(&patience), 10.0);
        patience.arrived(1, Duration::from_secs(9));
        assert!((1.0..1.01).contains(&left(&patience)));
        patience.arrived(4096, Duration::from_secs(1));
        assert!((4.0..4.01).contains(&left(&patience)));
        // No single pause may be longer, however much time was earned.
        patience.arrived(100 << 10, Duration::ZERO);
        assert_eq!(left(&patience), 10.0);
        patience.arrived(1, Duration::from_secs(200));
        assert_eq!(left(&patience), 0.0);
        assert_eq!(patience.received(), 4098 + (100 << 10));
    }

    #[test]
    fn without_a_rate_all_time_is_free() {
        let mut patience = patience(ByteSize::kib(0));
        assert_eq!(patience.left(), Duration::from_secs(10));
        patience.arrived(1, Duration::from_secs(1 << 40));
        assert_eq!(patience.left(), Duration::from_secs(10));
    }
}
