//! How long a client may take for what it sends: a pause each time, and all pauses together what its bytes have earned.

use std::time::Duration;

use crate::config::Http;

/// What is left of the patience with one client. Only the time in which we wait for it counts.
#[derive(Debug)]
pub(super) struct Patience {
    pause: Duration,
    /// Bytes that earn a second; 0: all time is free.
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

    /// As [`Self::new`], but so many bytes earn a second, unless all time is free.
    pub(super) fn at_least(limits: &Http, rate: u64) -> Self {
        let mut patience = Self::new(limits);
        if patience.rate > 0 {
            patience.rate = patience.rate.max(rate);
        }
        patience
    }

    /// How long the next bytes may take.
    pub(super) fn left(&self) -> Duration {
        self.pause.min(self.earned().saturating_sub(self.waited))
    }

    /// Whether time ran out by a single pause, and not by all of them together.
    pub(super) fn is_paused(&self, left: Duration) -> bool {
        left == self.pause
    }

    /// So many bytes came after such a time.
    pub(super) fn arrived(&mut self, bytes: usize, after: Duration) {
        self.received += bytes as u64;
        self.waited += after;
    }

    /// Bytes so far.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// What all pauses together may take.
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
    use crate::config::ByteSize;

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
        // No single pause may be longer, whatever was earned.
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
