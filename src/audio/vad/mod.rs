//! Judges each moment of a recording: is somebody speaking?
//!
//! The judge is `earshot`, a neural network of 40 KB. On its own it takes loud noise, hum and chords for speech, and
//! misses speech that is faint. So it hears every recording at about the same loudness, and what is a tone
//! ([`tone::is_tone`]) is no speech whatever the network says.

mod tone;

use earshot::Detector;

/// Samples that are judged at once: 16 ms, the detector's own step.
pub(super) const FRAME: usize = 256;

/// The loudness at which the detector hears everything, as a root mean square (−30 dB of full scale). Measured on
/// 13 clips of speech (each at four volumes, in two noises and in telephone quality) and 50 of noises, tones and chords:
/// here they lie farthest apart.
const LOUDNESS: f32 = 0.03;

/// What is fainter than this (−80 dB) is not made as loud as the rest: it is the rounding of 16 bits.
const FAINTEST: f32 = 1e-4;

/// So likely speech is what nobody takes for speech.
const UNLIKELY: f32 = 0.3;

/// Judges the frames of one recording, in their order.
pub(super) struct Vad {
    detector: Box<Detector>,
    /// The last two frames: so much is looked at to tell a tone.
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

    /// How likely the next frame ([`FRAME`] samples) is speech, 0 … 1. `loudness` is that of the recording around it,
    /// as [`loudness`] has it.
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
        // What is no speech anyhow need not be looked at again.
        if speech > UNLIKELY && tone::is_tone(&self.window) {
            0.0
        } else {
            speech
        }
    }
}

/// Root mean square of some samples, −1 … 1.
pub(super) fn root_mean_square(samples: &[f32]) -> f32 {
    let power: f32 = samples.iter().map(|sample| sample * sample).sum();
    (power / samples.len().max(1) as f32).sqrt()
}

/// How loud the loud parts are, from the root mean squares of all frames: their mean, each weighted by itself. So
/// neither long silence nor a single click hides how loud the speech is.
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
