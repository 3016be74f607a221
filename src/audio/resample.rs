//! Converts the recording's sample rate to the engines' 16 kHz, in blocks, without shift or loss.

use audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _};

use super::AudioError;
use super::SAMPLE_RATE;
use super::mix::sane;

/// Blocks of about 1/16 s. The filter's transition band then stays a few tens of hertz wide, and
/// its delay (half a block) stays unnoticed.
const BLOCKS_PER_SECOND: u32 = 16;

/// Converts one channel from one rate to [`SAMPLE_RATE`].
///
/// For any block sizes, n input samples give n · 16000 / rate output samples (rounded), aligned
/// with the input.
pub(super) struct Resampler {
    rate: u32,
    /// `None` at 16 kHz: samples pass unchanged.
    fft: Option<Fft<f32>>,
    /// Samples that do not yet fill a block.
    pending: Vec<f32>,
    resampled: Vec<f32>,
    /// Number of output samples, caused by the filter's delay, to drop before the first real one.
    to_cut: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    /// Make a resampler from `rate` hertz.
    ///
    /// The rate bounds memory and work: a rate without a common divisor with 16000 makes blocks of
    /// 1 s.
    pub(super) fn new(rate: u32) -> Result<Self, AudioError> {
        let fft = if rate == SAMPLE_RATE {
            None
        } else {
            let fft = Fft::new(
                rate as usize,
                SAMPLE_RATE as usize,
                block(rate),
                1,
                FixedSync::Both,
            );
            Some(fft.map_err(failed)?)
        };
        let to_cut = fft.as_ref().map_or(0, |fft| fft.output_delay());
        let resampled = vec![0.0; fft.as_ref().map_or(0, |fft| fft.output_frames_max())];
        Ok(Self {
            rate,
            fft,
            pending: Vec::new(),
            resampled,
            to_cut,
            taken: 0,
            given: 0,
        })
    }

    /// Input rate in hertz.
    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// Take the next samples, and append to `out` the output that can be computed from all samples
    /// so far.
    pub(super) fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<(), AudioError> {
        self.taken += samples.len() as u64;
        match self.fft.as_ref().map(|fft| fft.input_frames_next()) {
            None => {
                self.given += samples.len() as u64;
                out.extend_from_slice(samples);
                Ok(())
            }
            Some(block) => {
                self.pending.extend_from_slice(samples);
                let mut start = 0;
                while self.pending.len() - start >= block {
                    self.convert(start, u64::MAX, out)?;
                    start += block;
                }
                self.pending.drain(..start);
                Ok(())
            }
        }
    }

    /// Append the rest of the output: `out` then has the whole recording. No sample may follow.
    pub(super) fn finish(&mut self, out: &mut Vec<f32>) -> Result<(), AudioError> {
        let Some(block) = self.fft.as_ref().map(|fft| fft.input_frames_next()) else {
            return Ok(());
        };
        let rate = u64::from(self.rate);
        let due = (self.taken * u64::from(SAMPLE_RATE) + rate / 2) / rate;
        while self.given < due {
            self.pending.resize(block, 0.0);
            self.convert(0, due, out)?;
            self.pending.clear();
        }
        Ok(())
    }

    /// Convert the block at `start` of the pending samples, but append no sample beyond number
    /// `due`.
    fn convert(&mut self, start: usize, due: u64, out: &mut Vec<f32>) -> Result<(), AudioError> {
        let Some(fft) = &mut self.fft else {
            return Ok(());
        };
        let block = fft.input_frames_next();
        let input = SequentialSlice::new(&self.pending[start..start + block], 1, block);
        let room = self.resampled.len();
        let output = SequentialSlice::new_mut(&mut self.resampled, 1, room);
        let (_, made) = fft
            .process_into_buffer(&input.map_err(failed)?, &mut output.map_err(failed)?, None)
            .map_err(failed)?;
        let cut = self.to_cut.min(made);
        self.to_cut -= cut;
        let wanted = (due - self.given).min((made - cut) as u64) as usize;
        self.given += wanted as u64;
        out.extend(self.resampled[cut..cut + wanted].iter().copied().map(sane));
        Ok(())
    }
}

/// Number of samples at `rate` to convert at once: about 1/[`BLOCKS_PER_SECOND`] s, and a multiple
/// of a length that gives a whole number of samples at 16 kHz. The filter is as long as the block,
/// so an even length puts its middle, which is the delay, on a sample. For rates that need blocks
/// of 1 s we do not double the block, because the error is only half a sample.
fn block(rate: u32) -> usize {
    let (mut divisor, mut rest) = (rate, SAMPLE_RATE);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    let smallest = rate / divisor;
    let multiple = (rate / BLOCKS_PER_SECOND).div_ceil(smallest);
    let even = if multiple > 1 {
        multiple.next_multiple_of(2)
    } else {
        multiple
    };
    (smallest * even) as usize
}

fn failed(reason: impl std::fmt::Display) -> AudioError {
    AudioError::Corrupt(format!("its audio cannot be brought to 16 kHz: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    const RATES: [u32; 14] = [
        2_000, 8_000, 11_025, 12_000, 15_999, 16_000, 16_001, 22_050, 24_000, 32_000, 44_100,
        48_000, 96_000, 384_000,
    ];

    fn tone(rate: u32, hertz: f64, samples: usize) -> Vec<f32> {
        let at = |n: usize| (TAU * hertz * n as f64 / f64::from(rate)).sin();
        (0..samples).map(|n| 0.5 * at(n) as f32).collect()
    }

    fn resample(rate: u32, samples: &[f32], chunk: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(rate).unwrap();
        let mut out = Vec::new();
        for chunk in samples.chunks(chunk) {
            resampler.push(chunk, &mut out).unwrap();
        }
        resampler.finish(&mut out).unwrap();
        out
    }

    /// Signal-to-error ratio in dB, without the edges: a tone that starts suddenly is not a pure
    /// tone there.
    fn fidelity(got: &[f32], ideal: &[f32]) -> f64 {
        let middle = got.len() / 5..got.len() * 4 / 5;
        let energy = |s: &mut dyn Iterator<Item = f64>| s.map(|x| x * x).sum::<f64>();
        let signal = energy(&mut ideal[middle.clone()].iter().map(|x| f64::from(*x)));
        let pairs = got[middle.clone()].iter().zip(&ideal[middle]);
        let error = energy(&mut pairs.map(|(a, b)| f64::from(a - b)));
        10.0 * (signal / error.max(1e-12)).log10()
    }

    #[test]
    fn the_length_is_right_at_every_rate_and_length() {
        for rate in RATES {
            for samples in [0, 1, 7, 160, 1_000, 44_101] {
                let due = (samples as f64 * 16_000.0 / f64::from(rate)).round() as usize;
                let got = resample(rate, &tone(rate, 300.0, samples), 777).len();
                assert_eq!(got, due, "{samples} samples at {rate} Hz");
            }
        }
    }

    #[test]
    fn a_tone_stays_the_same_tone_at_the_same_place() {
        for rate in RATES {
            let hertz = 0.2 * f64::from(rate.min(SAMPLE_RATE));
            let got = resample(rate, &tone(rate, hertz, rate as usize), 4_096);
            let quality = fidelity(&got, &tone(SAMPLE_RATE, hertz, got.len()));
            println!("{quality:.1} dB at {rate} Hz");
            let half_a_sample = if block(rate).is_multiple_of(2) {
                60.0
            } else {
                3.0
            };
            assert!(quality > half_a_sample, "{quality:.1} dB at {rate} Hz");
        }
    }

    #[test]
    fn speech_up_to_seven_kilohertz_passes_and_what_would_alias_does_not() {
        for rate in [44_100, 48_000] {
            let got = resample(rate, &tone(rate, 7_000.0, rate as usize), 4_096);
            assert!(fidelity(&got, &tone(SAMPLE_RATE, 7_000.0, got.len())) > 50.0);
            let got = resample(rate, &tone(rate, 9_000.0, rate as usize), 4_096);
            let loudest = got[4_000..12_000]
                .iter()
                .fold(0.0_f32, |peak, s| peak.max(s.abs()));
            assert!(
                loudest < 0.001,
                "9 kHz came through as {loudest} at {rate} Hz"
            );
        }
    }

    #[test]
    fn the_size_of_the_blocks_makes_no_difference() {
        let samples = tone(44_100, 440.0, 30_000);
        let whole = resample(44_100, &samples, samples.len());
        for chunk in [1, 10, 1_152, 4_097] {
            assert_eq!(
                resample(44_100, &samples, chunk),
                whole,
                "in chunks of {chunk}"
            );
        }
    }

    #[test]
    fn sixteen_kilohertz_is_left_alone() {
        let samples = tone(16_000, 440.0, 5_000);
        assert_eq!(resample(16_000, &samples, 100), samples);
    }
}
