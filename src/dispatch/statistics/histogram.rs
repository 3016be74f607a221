//! Times in buckets: how many of them were at most as long as each bound.

use std::time::Duration;

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Upper bounds of the buckets, in microseconds: from the time of a fork to the longest time that a
/// client waits.
const BOUNDS: [u64; 21] = [
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    300_000_000,
];

/// A histogram with fixed bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Observations within the bound and above the one before it.
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Histogram {
    /// Count one observation of this `time`.
    pub fn observe(&mut self, time: Duration) {
        self.count += 1;
        self.sum += time;
        let within = |bound: &u64| time <= Duration::from_micros(*bound);
        if let Some(bucket) = BOUNDS
            .iter()
            .position(within)
            .and_then(|index| self.buckets.get_mut(index))
        {
            *bucket += 1;
        }
    }

    /// Number of all observations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Sum of all observations, in seconds.
    pub fn sum(&self) -> f64 {
        self.sum.as_secs_f64()
    }

    /// Each bound in seconds, and the number of observations at or below it.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BOUNDS.iter().map(|micros| *micros as f64 / 1e6);
        bounds.zip(self.buckets.iter().scan(0, |below, count| {
            *below += count;
            Some(*below)
        }))
    }
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Histogram", 3)?;
        object.serialize_field("count", &self.count)?;
        object.serialize_field("sum", &self.sum())?;
        let buckets: Vec<(f64, u64)> = self.buckets().collect();
        object.serialize_field("buckets", &buckets)?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_from_50_microseconds_to_5_minutes() {
        assert!(BOUNDS.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!((BOUNDS[0], BOUNDS[20]), (50, 300 * 1_000_000));
    }

    #[test]
    fn a_time_counts_in_its_bucket_and_in_all_above_it() {
        let mut histogram = Histogram::default();
        for micros in [0, 50, 51, 1_000, 300_000_000, 300_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let buckets: Vec<(f64, u64)> = histogram.buckets().collect();
        assert_eq!(
            buckets[..5],
            [
                (0.000_05, 2),
                (0.0001, 3),
                (0.000_25, 3),
                (0.0005, 3),
                (0.001, 4)
            ]
        );
        assert_eq!(buckets[20], (300.0, 5));
        assert_eq!(histogram.count(), 6);
        assert!((histogram.sum() - 600.001_102).abs() < 1e-9);
        let json = serde_json::to_value(&histogram).unwrap();
        assert_eq!(json["count"], 6);
        assert_eq!(json["buckets"][1], serde_json::json!([0.0001, 3]));
    }
}
