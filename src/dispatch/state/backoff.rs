//! Pauses between attempts that fail: the second pause is twice the first, and so on.

use std::time::Duration;

/// The pause after a first failure.
pub const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Counts failures in a row and tells how long to pause after each of them.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure; it is never longer than `longest`.
    pub fn failed(&mut self, longest: Duration) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        pause.min(longest)
    }

    /// Begin with the first pause again: an attempt has succeeded.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::default();
        let longest = Duration::from_secs(1);
        let pauses = [(); 4].map(|()| backoff.failed(longest).as_millis());
        assert_eq!(pauses, [200, 400, 800, 1000]);
        for _ in 0..100 {
            assert_eq!(backoff.failed(longest), longest);
        }
        backoff.reset();
        assert_eq!(backoff.failed(longest), FIRST_PAUSE);
    }
}
