//! How a live recording comes: how long it kept its job waiting, which is not held against the job, and how much of it
//! the job was given.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What the service, which feeds the recording to its job, and whoever watches the job both know of it.
#[derive(Debug, Default)]
pub struct Feed(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    waited: Duration,
    since: Option<Instant>,
    given: u64,
}

impl Feed {
    /// Nothing is there that the job could be given: until [`Self::arrived`] it is the client that is waited for.
    pub fn waits(&self) {
        self.state().since.get_or_insert_with(Instant::now);
    }

    /// Something is there again, or nothing more will come.
    pub fn arrived(&self) {
        let mut state = self.state();
        if let Some(since) = state.since.take() {
            state.waited += since.elapsed();
        }
    }

    /// So many bytes more are where the job reads them.
    pub fn give(&self, bytes: usize) {
        self.state().given += bytes as u64;
    }

    /// How many bytes of the recording the job was given until now.
    pub(in crate::dispatch) fn given(&self) -> u64 {
        self.state().given
    }

    /// Whether the client is waited for at this moment, and how long it was until now.
    pub(in crate::dispatch) fn waited(&self) -> (bool, Duration) {
        let State { waited, since, .. } = *self.state();
        let now = since.map_or(Duration::ZERO, |since| since.elapsed());
        (since.is_some(), waited + now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers, always whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_without_anything_counts() {
        let feed = Feed::default();
        assert_eq!(feed.waited(), (false, Duration::ZERO));
        feed.waits();
        std::thread::sleep(Duration::from_millis(20));
        feed.waits();
        let (waits, first) = feed.waited();
        assert!(waits && first >= Duration::from_millis(20));
        feed.arrived();
        feed.arrived();
        let (waits, sum) = feed.waited();
        assert!(!waits && sum >= first);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(feed.waited(), (false, sum));
    }
}
