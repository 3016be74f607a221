//! Tells the journal of clients that show no key that is known, however many there are.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The first refusal is told at once, further ones together after each such time.
const PERIOD: Duration = Duration::from_secs(60);

/// Requests that were refused for their keys. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Strangers(Arc<Mutex<Period>>);

/// The refusals since the journal was last told; both are empty after a quiet period.
#[derive(Debug, Default)]
struct Period {
    is_under_way: bool,
    untold: u64,
    last: Option<IpAddr>,
}

impl Strangers {
    /// Note the refusal of a request from `client`.
    pub(super) fn note(&self, client: SocketAddr) {
        let address = client.ip().to_canonical();
        if self.is_counted(address) {
            return;
        }
        tracing::warn!(
            "over TCP, a request from {address} was refused: it shows no key that is known \
             (clients.keys); more of them are counted, and told after {PERIOD:?}"
        );
        let strangers = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PERIOD).await;
                let Some((count, last)) = strangers.next_period() else {
                    return;
                };
                tracing::warn!(
                    "over TCP, {count} more requests without a known key were refused within \
                     {PERIOD:?}, the last one from {last}"
                );
            }
        });
    }

    /// Count a refusal for later; false if it begins a period, so that it is told now.
    fn is_counted(&self, address: IpAddr) -> bool {
        let mut period = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !period.is_under_way {
            period.is_under_way = true;
            return false;
        }
        period.untold += 1;
        period.last = Some(address);
        true
    }

    /// The number of refusals in the period that is over, and where the last one came from. If
    /// there were none, no other period begins.
    fn next_period(&self) -> Option<(u64, IpAddr)> {
        let mut period = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = std::mem::take(&mut *period);
        let last = over.last?;
        period.is_under_way = true;
        Some((over.untold, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_period_is_told_once_and_a_quiet_one_is_the_last() {
        let strangers = Strangers::default();
        let [first, second] = [1, 2].map(|n| IpAddr::from([192, 0, 2, n]));
        assert!(!strangers.is_counted(first));
        for _ in 0..10_000 {
            assert!(strangers.is_counted(first));
        }
        assert!(strangers.is_counted(second));
        assert_eq!(strangers.next_period(), Some((10_001, second)));
        assert!(strangers.is_counted(first));
        assert_eq!(strangers.next_period(), Some((1, first)));
        assert_eq!(strangers.next_period(), None);
        assert!(!strangers.is_counted(first));
        assert_eq!(strangers.next_period(), None);
    }
}
