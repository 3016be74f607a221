//! State of a live upload, shared by the task that feeds the job and the task that supervises it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How far a recording has come that is still being uploaded, and how long its job had to wait for
/// it. That time is not held against the job.
#[derive(Debug, Default)]
pub struct Feed(Mutex<Arrival>);

#[derive(Clone, Copy, Debug, Default)]
struct Arrival {
    waited: Duration,
    since: Option<Instant>,
    given: u64,
}

/// How long a job has waited for its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// Whether it waits at this moment.
    pub is_on: bool,
    /// The sum of all waits until now, the present one included.
    pub total: Duration,
}

impl Feed {
    /// Nothing is there that the job could be given: until [`Self::arrived`] it waits for the
    /// client.
    pub fn waits(&self) {
        self.arrival().since.get_or_insert_with(Instant::now);
    }

    /// Something is there again, or nothing more will come.
    pub fn arrived(&self) {
        let mut arrival = self.arrival();
        if let Some(since) = arrival.since.take() {
            arrival.waited += since.elapsed();
        }
    }

    /// The job can read `bytes` more of the recording.
    pub fn give(&self, bytes: usize) {
        self.arrival().given += bytes as u64;
    }

    /// How many bytes of the recording the job was given until now.
    pub(in crate::dispatch) fn given(&self) -> u64 {
        self.arrival().given
    }

    /// How long the job has waited for the client.
    pub(in crate::dispatch) fn waited(&self) -> Wait {
        let Arrival { waited, since, .. } = *self.arrival();
        let now = since.map_or(Duration::ZERO, |since| since.elapsed());
        Wait {
            is_on: since.is_some(),
            total: waited + now,
        }
    }

    fn arrival(&self) -> MutexGuard<'_, Arrival> {
        // These are numbers: no panic can leave them half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_without_anything_counts() {
        let feed = Feed::default();
        assert_eq!(feed.waited(), Wait::default());
        feed.waits();
        std::thread::sleep(Duration::from_millis(20));
        feed.waits();
        let first = feed.waited();
        assert!(first.is_on && first.total >= Duration::from_millis(20));
        feed.arrived();
        feed.arrived();
        let sum = feed.waited();
        assert!(!sum.is_on && sum.total >= first.total);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(feed.waited(), sum);
    }
}
