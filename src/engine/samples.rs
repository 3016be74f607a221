//! Converts samples of the decoder to those that libraries take.

/// −1 … 1 as 16 bits, rounded. Values beyond are clipped, and NaN becomes 0. The inverse of
/// `f32::from(i16) / 32768`.
pub(super) fn to_i16(sample: f32) -> i16 {
    // `as` clips, and turns NaN into 0.
    #[allow(clippy::cast_possible_truncation)]
    let sample = (sample * 32768.0).round() as i16;
    sample
}
