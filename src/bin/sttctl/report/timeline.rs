//! Requests, waiting times and service times over time, in steps as fine as the whole period
//! allows.

use std::collections::BTreeMap;

use stt_isolated::request::Group;

use crate::histogram::Histogram;
use crate::journal::Entry;

/// Largest number of steps.
const MAX_STEPS: u64 = 200;

/// Lengths of a step, in seconds; each is a multiple of the previous one. With the last one, every
/// accepted time fits.
const LENGTHS: [u64; 12] = [
    1,
    10,
    60,
    300,
    900,
    3600,
    21_600,
    86_400,
    604_800,
    2_419_200,
    31_449_600,
    1_635_379_200,
];

/// All steps of the period.
#[derive(Debug, Default)]
pub struct Timeline {
    steps: BTreeMap<u64, Step>,
    /// Index of the current step length in `LENGTHS`.
    length: usize,
}

/// Figures of one step.
#[derive(Debug, Default)]
pub struct Step {
    /// Number of ended requests, by outcome.
    pub ended: [u64; Group::ALL.len()],
    /// Waiting times, in milliseconds.
    pub queue: Histogram,
    /// Times that jobs had requests, in milliseconds.
    pub service: Histogram,
}

impl Timeline {
    /// Counts one request in the step of its time.
    pub fn add(&mut self, entry: &Entry) {
        let seconds = entry.time / 1_000_000;
        let step = self
            .steps
            .entry(seconds / LENGTHS[self.length])
            .or_default();
        step.ended[entry.outcome as usize] += 1;
        if entry.is_served() {
            entry
                .queue
                .into_iter()
                .for_each(|time| step.queue.add(time));
            entry
                .wall
                .into_iter()
                .for_each(|time| step.service.add(time));
        }
        while self.is_too_fine() && self.length + 1 < LENGTHS.len() {
            self.coarsen();
        }
    }

    /// Length of a step, in seconds.
    pub fn step(&self) -> u64 {
        LENGTHS[self.length]
    }

    /// Each step with requests, with the second at which it begins.
    pub fn steps(&self) -> impl Iterator<Item = (u64, &Step)> {
        let length = self.step();
        self.steps.iter().map(move |(n, step)| (n * length, step))
    }

    fn is_too_fine(&self) -> bool {
        let (first, last) = (self.steps.keys().next(), self.steps.keys().next_back());
        first
            .zip(last)
            .is_some_and(|(first, last)| last - first >= MAX_STEPS)
    }

    fn coarsen(&mut self) {
        let many = LENGTHS[self.length + 1] / LENGTHS[self.length];
        self.length += 1;
        for (n, step) in std::mem::take(&mut self.steps) {
            let sum = self.steps.entry(n / many).or_default();
            for (sum, count) in sum.ended.iter_mut().zip(step.ended) {
                *sum += count;
            }
            sum.queue.merge(&step.queue);
            sum.service.merge(&step.service);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_holds_the_one_before() {
        assert!(LENGTHS.windows(2).all(|pair| pair[1] % pair[0] == 0));
        assert!(LENGTHS[LENGTHS.len() - 1] * MAX_STEPS > 9000 * 366 * 86_400);
    }
}
