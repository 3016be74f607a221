//! Judges for each moment of a recording whether somebody speaks.
//!
//! The judge is Silero VAD, a neural network (crate `silero`). Music, noise and tones are no speech
//! to it. But it misses speech fainter than −50 dB of full scale, and speech on a constant offset.
//! So offset and rumble are removed from all that it hears, and faint parts are made louder.

use silero::{CHUNK, Detector};

/// Samples judged at once: 32 ms, the detector's own step.
pub(super) const FRAME: usize = CHUNK;

/// Loudness to which fainter parts are raised, as a root mean square (−34 dB of full scale). Speech
/// at −50 dB is then heard as well as loud speech: docs/decisions/0049 has the figures.
const LOUDNESS: f32 = 0.02;

/// Fainter parts (below −80 dB) are not raised to that loudness: they are the rounding error of 16
/// bits.
const FAINTEST: f32 = 1e-4;

/// Change of the followed loudness with each frame while nothing is louder: −10 dB in a second. So
/// a faint speaker is heard after a loud one has paused, and pauses in a sentence stay pauses.
const FADING: f32 = 0.964;

/// Share of the last output in the high-pass filter: it removes what lies below 80 Hz.
const RUMBLE: f32 = 0.969;

/// A frame with its measurements.
#[derive(Clone, Copy)]
pub(super) struct Judged {
    /// Root mean square of the frame, without offset and rumble.
    pub(super) loud: f32,
    /// Probability of speech, 0 … 1.
    pub(super) speech: f32,
}

/// Judges the frames of one recording in order.
#[derive(Default)]
pub(super) struct Vad {
    detector: Box<Detector>,
    /// The last sample before and after the high-pass filter; `None` at the beginning.
    last: Option<(f32, f32)>,
    /// Followed loudness: at once that of a louder frame, then slowly down.
    loudness: f32,
}

impl Vad {
    /// Judge the next frame (one channel, −1 … 1, 16 kHz).
    pub(super) fn judge(&mut self, frame: &[f32; FRAME]) -> Judged {
        let mut filtered = *frame;
        self.filter(&mut filtered);
        let loud = root_mean_square(&filtered);
        self.loudness = loud.max(self.loudness * FADING);
        let gain = (LOUDNESS / self.loudness.max(FAINTEST)).max(1.0);
        let raised = filtered.map(|sample| (sample * gain).clamp(-1.0, 1.0));
        Judged {
            loud,
            speech: self.detector.judge(&raised),
        }
    }

    /// Remove constant offset and rumble.
    fn filter(&mut self, frame: &mut [f32; FRAME]) {
        let (mut before, mut after) = self.last.unwrap_or((frame[0], 0.0));
        for sample in frame {
            after = *sample - before + RUMBLE * after;
            before = std::mem::replace(sample, after);
        }
        self.last = Some((before, after));
    }
}

/// Root mean square of samples within −1 … 1.
fn root_mean_square(samples: &[f32]) -> f32 {
    let power: f32 = samples.iter().map(|sample| sample * sample).sum();
    (power / samples.len().max(1) as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_gives_what_the_original_gives() {
        let raw = std::fs::read("/usr/share/pocketsphinx/test/data/goforward.raw").unwrap();
        let samples: Vec<f32> = (raw.as_chunks::<2>().0.iter())
            .map(|two| f32::from(i16::from_le_bytes(*two)) / 32_768.0)
            .collect();
        let mut detector = Detector::default();
        let heard = samples
            .as_chunks()
            .0
            .iter()
            .map(|chunk| detector.judge(chunk));
        // Every fourth probability that onnxruntime computes from `silero_vad.onnx` 6.2.3.
        let original = [
            0.043, 0.009, 0.014, 0.003, 0.901, 1.0, 1.0, 0.995, 1.0, 0.995, 0.615, 1.0, 1.0, 1.0,
            1.0, 1.0, 1.0, 0.962, 0.034, 0.012, 0.009, 0.035,
        ];
        let pairs: Vec<(f32, f32)> = heard.step_by(4).zip(original).collect();
        assert_eq!(pairs.len(), original.len());
        for (heard, original) in pairs {
            assert!(
                (heard - original).abs() < 0.02,
                "{heard} instead of {original}"
            );
        }
    }
}
