//! Judges for each moment of a recording whether somebody speaks.
//!
//! The judge is `earshot`, a neural network of 40 KB. By itself it takes loud noise, hum and chords
//! for speech, and misses faint speech. So it gets every recording at about the same loudness, and
//! a tone ([`tone::is_tone`]) never counts as speech.

mod tone;

use earshot::Detector;

/// Samples judged at once: 16 ms, the detector's own step.
pub(super) const FRAME: usize = 256;

/// Loudness of everything that the detector hears, as a root mean square (−30 dB of full scale). It
/// was measured on 13 clips of speech (each at four volumes, in two noises and in telephone
/// quality) and 50 clips of noises, tones and chords. At this loudness the two groups are farthest
/// apart.
const LOUDNESS: f32 = 0.03;

/// Fainter samples (below −80 dB) are not raised to that loudness: they are the rounding error of
/// 16 bits.
const FAINTEST: f32 = 1e-4;

/// Speech probability up to which a frame is not speech in any case.
const UNLIKELY: f32 = 0.3;

/// Judges the frames of one recording in order.
pub(super) struct Vad {
    detector: Box<Detector>,
    /// The last two frames, which are needed to recognise a tone.
    window: [f32; 2 * FRAME],
    scaled: [f32; FRAME],
}

impl Vad {
    pub(super) fn new() -> Self {
        Self {
            detector: Detector::default_boxed(),
            window: [0.0; 2 * FRAME],
            scaled: [0.0; FRAME],
        }
    }

    /// Probability that the next frame ([`FRAME`] samples) is speech, 0 … 1. `loudness` is that of
    /// the recording around it, from [`loudness`].
    pub(super) fn judge(&mut self, frame: &[f32], loudness: f32) -> f32 {
        if frame.len() != FRAME {
            return 0.0;
        }
        let gain = LOUDNESS / loudness.max(FAINTEST);
        for (scaled, sample) in self.scaled.iter_mut().zip(frame) {
            *scaled = (sample * gain).clamp(-1.0, 1.0);
        }
        self.window.copy_within(FRAME.., 0);
        self.window[FRAME..].copy_from_slice(frame);
        let speech = self.detector.predict_f32(&self.scaled);
        // A frame that is not speech anyway need not be tested for a tone.
        if speech > UNLIKELY && tone::is_tone(&self.window) {
            0.0
        } else {
            speech
        }
    }
}

/// Root mean square of samples within −1 … 1.
pub(super) fn root_mean_square(samples: &[f32]) -> f32 {
    let power: f32 = samples.iter().map(|sample| sample * sample).sum();
    (power / samples.len().max(1) as f32).sqrt()
}

/// Loudness of the loud parts, from the root mean squares of all frames: their mean, each weighted
/// by itself. So neither long silence nor a single click hides the loudness of the speech.
pub(super) fn loudness(frames: impl Iterator<Item = f32>) -> f32 {
    let (weighted, sum) = frames.fold((0.0, 0.0), |(weighted, sum), loud| {
        (weighted + loud * loud, sum + loud)
    });
    if sum > 0.0 { weighted / sum } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loudness_is_that_of_the_loud_parts() {
        let speech = [0.05; 100];
        let silence = [0.0001; 2_000];
        let frames = speech.iter().chain(&silence).copied();
        assert!((loudness(frames) - 0.05).abs() < 0.01);
        let with_click = [1.0].iter().chain(&[0.05; 900]).copied();
        assert!(loudness(with_click) < 0.1);
        assert_eq!(loudness([0.0; 10].into_iter()), 0.0);
        assert_eq!(loudness(std::iter::empty()), 0.0);
    }
}
