//! Figures of a segment, as OpenAI defines them.

use miniz_oxide::deflate::compress_to_vec_zlib;

/// Python's zlib, by which OpenAI's figure is made, compresses at this level.
const LEVEL: u8 = 6;

/// Stands for probabilities without a finite logarithm.
const IMPOSSIBLE: f32 = -100.0;

/// Length of `text` against that of `text` compressed.
#[allow(clippy::cast_precision_loss)]
pub(super) fn compression_ratio(text: &str) -> f32 {
    let compressed = compress_to_vec_zlib(text.as_bytes(), LEVEL);
    text.len() as f32 / compressed.len().max(1) as f32
}

/// Mean of the known values of the tokens; 0 if there are none.
pub(super) fn mean_logprob(logprobs: impl Iterator<Item = f32>) -> f32 {
    let (sum, count) = logprobs.fold((0.0, 0.0), |(sum, count), logprob| {
        let logprob = if logprob.is_finite() {
            logprob
        } else {
            IMPOSSIBLE
        };
        (sum + logprob.min(0.0), count + 1.0_f32)
    });
    sum / count.max(1.0)
}

/// A probability as 0 … 1; 0 for NaN.
pub(super) fn probability(number: f32) -> f32 {
    if number.is_nan() {
        return 0.0;
    }
    number.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_repeats_itself_has_a_high_ratio() {
        // As Python says: len(t) / len(zlib.compress(t.encode()))
        let ratio = compression_ratio("and so my fellow americans");
        assert!((0.7..0.9).contains(&ratio), "{ratio}");
        let ratio = compression_ratio(&"thank you ".repeat(20));
        // 9.5 there; OpenAI's limit is 2.4.
        assert!(ratio > 5.0, "{ratio}");
    }

    #[test]
    fn the_mean_is_a_number_whatever_is_in_it() {
        assert_eq!(mean_logprob([].into_iter()), 0.0);
        assert_eq!(mean_logprob([-1.0, -3.0].into_iter()), -2.0);
        assert_eq!(
            mean_logprob([f32::NEG_INFINITY, f32::NAN].into_iter()),
            -100.0
        );
    }
}
