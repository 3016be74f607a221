//! Counts values by size: any number of values in bounded memory, with percentiles that are never
//! too low.

use std::collections::BTreeMap;

/// Each power of two has 2^6 buckets: a percentile exceeds the value by at most 1/64.
const BITS: u32 = 6;
const PER_OCTAVE: u64 = 1 << BITS;

/// Counts of values; at most about 3,700 buckets for any values.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: BTreeMap<u64, u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// Counts one value in its bucket.
    pub fn add(&mut self, value: u64) {
        *self.counts.entry(bucket(value)).or_default() += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// Adds all counts of `other`.
    pub fn merge(&mut self, other: &Histogram) {
        for (bucket, count) in &other.counts {
            *self.counts.entry(*bucket).or_default() += count;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// Number of counted values.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The exact largest value; `None` without any.
    pub fn max(&self) -> Option<u64> {
        (self.total > 0).then_some(self.max)
    }

    /// The value that this share of the values does not exceed, `share` from 0 to 1; `None` without
    /// values. At most 1/64 too high.
    pub fn percentile(&self, share: f64) -> Option<u64> {
        let rank = ((share * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        let bucket = self.counts.iter().find(|(_, count)| {
            seen += *count;
            seen >= rank
        });
        bucket.map(|(bucket, _)| largest(*bucket).min(self.max))
    }
}

fn bucket(value: u64) -> u64 {
    if value < PER_OCTAVE {
        return value;
    }
    let shift = value.ilog2() - BITS;
    (u64::from(shift) << BITS) + (value >> shift)
}

/// Largest value that is counted in this bucket.
fn largest(bucket: u64) -> u64 {
    if bucket < 2 * PER_OCTAVE {
        return bucket;
    }
    let shift = (bucket >> BITS) - 1;
    let top = bucket - (shift << BITS);
    (top << shift) | ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_never_too_low_and_at_most_a_64th_too_high() {
        let mut values: Vec<u64> = (0..20_000u64).map(|n| n * n * n % 1_000_003).collect();
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.add(*value));
        values.sort_unstable();
        for share in [0.0, 0.001, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let rank = ((share * 20_000.0_f64).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let found = histogram.percentile(share).unwrap();
            assert!(
                (exact..=exact + exact / 64 + 1).contains(&found),
                "{share}: {found} for {exact}"
            );
        }
        assert_eq!(histogram.max(), values.last().copied());
        assert_eq!(Histogram::default().percentile(0.5), None);
    }

    #[test]
    fn every_value_lies_in_its_bucket() {
        for shift in 0..64 {
            for near in [-1, 0, 1] {
                let value = (1u64 << shift).wrapping_add_signed(near);
                let bucket = bucket(value);
                assert!(largest(bucket) >= value, "{value}");
                assert!(bucket == 0 || largest(bucket - 1) < value, "{value}");
            }
        }
        assert!(bucket(u64::MAX) < 3800);
    }

    #[test]
    fn two_together_are_as_one() {
        let (mut one, mut other, mut both) = (
            Histogram::default(),
            Histogram::default(),
            Histogram::default(),
        );
        for value in 0..1000 {
            if value % 3 == 0 { &mut one } else { &mut other }.add(value * 7);
            both.add(value * 7);
        }
        one.merge(&other);
        for share in [0.1, 0.5, 0.99] {
            assert_eq!(one.percentile(share), both.percentile(share));
        }
        assert_eq!((one.count(), one.max()), (both.count(), both.max()));
    }
}
