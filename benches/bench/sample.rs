//! Times of many runs and their statistics: medians, p99, and how certain a difference is.

use std::time::Duration;

/// Number of resamplings for an interval.
const RESAMPLINGS: usize = 1000;

/// Times in the order in which they were measured, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1e6);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The times from this index on.
    pub fn since(&self, number: usize) -> Samples {
        Samples(self.0[number..].to_vec())
    }

    /// The time below which this share of all times lies (nearest rank); 0 if there are none.
    pub fn quantile(&self, share: f64) -> f64 {
        quantile(&sorted(&self.0), share)
    }

    pub fn p50(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    /// At most `most` points of the distribution: (time, share of runs that took no longer).
    pub fn distribution(&self, most: usize) -> Vec<(f64, f64)> {
        let sorted = sorted(&self.0);
        let count = sorted.len().max(1);
        let step = (count / most.max(1)).max(1);
        let last = sorted.last().map(|time| (*time, 1.0));
        let points = sorted.iter().enumerate().step_by(step);
        points
            .map(|(rank, time)| (*time, (rank + 1) as f64 / count as f64))
            .chain(last)
            .collect()
    }
}

/// The bounds that contain `of` for 95 % of samples redrawn from `one` and `other` (bootstrap).
pub fn interval(one: &Samples, other: &Samples, of: impl Fn(f64, f64) -> f64) -> (f64, f64) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |samples: &Samples| {
        let count = samples.len().max(1) as u64;
        let drawn = (0..samples.len()).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            samples.0[usize::try_from(state % count).unwrap()]
        });
        quantile(&sorted(&drawn.collect::<Vec<f64>>()), 0.5)
    };
    let mut results = Vec::new();
    for _ in 0..RESAMPLINGS {
        results.push(of(draw(one), draw(other)));
    }
    let results = sorted(&results);
    (quantile(&results, 0.025), quantile(&results, 0.975))
}

fn sorted(times: &[f64]) -> Vec<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    let index = rank.clamp(1, sorted.len().max(1)) - 1;
    sorted.get(index).copied().unwrap_or_default()
}
