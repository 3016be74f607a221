//! Silero VAD 6.2.3 at 16 kHz: a neural network that tells speech from music, noise and tones.
//!
//! It gives the probabilities of `silero_vad.onnx` in Python's package `silero-vad` 6.2.3, to 0.05.
//! A spectrum goes through four convolutions and one LSTM cell. `weights.bin` has 247,072 weights,
//! each the upper half of a 32-bit float (`convert.py` made it).

use std::{
    array,
    f32::consts::TAU,
    fmt,
    sync::{Arc, LazyLock},
};

use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex};

/// Number of samples that are judged at once: 32 ms.
pub const CHUNK: usize = 512;

/// Number of samples of the last chunk that the network sees again.
const CONTEXT: usize = 64;

/// Samples in a spectrum, and from one spectrum to the next.
const WINDOW: usize = 256;
const STEP: usize = 128;

/// Number of frequencies in a spectrum.
const BINS: usize = WINDOW / 2 + 1;

/// Number of spectra of a chunk.
const SPECTRA: usize = 4;

/// Number of values that the LSTM cell remembers.
const CELLS: usize = 128;

/// Outputs of a layer that are computed at once: as many as fit into the registers of any CPU.
const LANES: usize = 32;

/// Length of all layers' weights, in the order of use; the last layer is padded to [`LANES`].
static WEIGHTS: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let halves = include_bytes!("../weights.bin").as_chunks::<2>().0;
    let whole = |half: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*half)) << 16);
    halves.iter().map(whole).collect()
});

/// Judges the chunks of one recording in order.
pub struct Detector {
    transform: Arc<dyn RealToComplex<f32>>,
    window: [f32; WINDOW],
    context: [f32; CONTEXT],
    said: [f32; CELLS],
    kept: [f32; CELLS],
}

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detector").finish_non_exhaustive()
    }
}

impl Default for Detector {
    /// A detector at the beginning of a recording.
    fn default() -> Self {
        Self {
            transform: RealFftPlanner::new().plan_fft_forward(WINDOW),
            window: array::from_fn(|n| 0.5 - 0.5 * (TAU * n as f32 / WINDOW as f32).cos()),
            context: [0.0; CONTEXT],
            said: [0.0; CELLS],
            kept: [0.0; CELLS],
        }
    }
}

impl Detector {
    /// Probability that somebody speaks in the next chunk (one channel, −1 … 1, 16 kHz), 0 … 1.
    pub fn judge(&mut self, chunk: &[f32; CHUNK]) -> f32 {
        let mut weights = WEIGHTS.as_slice();
        // Each layer has a frame of zeros before and after its input.
        let spectra = self.spectra(chunk);
        let mut first = [0.0; (SPECTRA + 2) * 128];
        for n in 0..SPECTRA {
            let out = &mut first[(n + 1) * 128..][..128];
            layer(weights, &spectra[n * BINS..][..3 * BINS], out);
        }
        skip(&mut weights, 3 * BINS, 128);
        rectify(&mut first);
        let mut second = [0.0; (2 + 2) * 64];
        for n in 0..2 {
            let out = &mut second[(n + 1) * 64..][..64];
            layer(weights, &first[2 * n * 128..][..3 * 128], out);
        }
        skip(&mut weights, 3 * 128, 64);
        rectify(&mut second);
        let mut third = [0.0; (1 + 2) * 64];
        layer(weights, &second[..3 * 64], &mut third[64..2 * 64]);
        skip(&mut weights, 3 * 64, 64);
        rectify(&mut third);
        let mut heard = [0.0; 128 + CELLS];
        layer(weights, &third, &mut heard[..128]);
        skip(&mut weights, 3 * 64, 128);
        rectify(&mut heard);
        heard[128..].copy_from_slice(&self.said);
        let mut gates = [0.0; 4 * CELLS];
        layer(weights, &heard, &mut gates);
        skip(&mut weights, 128 + CELLS, 4 * CELLS);
        self.remember(&gates);
        let mut said = self.said;
        rectify(&mut said);
        let mut speech = [0.0];
        layer(weights, &said, &mut speech);
        sigmoid(speech[0])
    }

    /// The LSTM cell: its gates are what to take, what to keep, the news, and what to say.
    fn remember(&mut self, gates: &[f32; 4 * CELLS]) {
        for n in 0..CELLS {
            let [take, keep, news, say] = array::from_fn(|gate| gates[gate * CELLS + n]);
            self.kept[n] = sigmoid(keep) * self.kept[n] + sigmoid(take) * news.tanh();
            self.said[n] = sigmoid(say) * self.kept[n].tanh();
        }
    }

    /// Magnitudes of the chunk's spectra, between two frames of zeros.
    fn spectra(&mut self, chunk: &[f32; CHUNK]) -> [f32; (SPECTRA + 2) * BINS] {
        // The end is mirrored, so that the last spectrum is complete.
        let mut samples = [0.0; CONTEXT + CHUNK + CONTEXT];
        samples[..CONTEXT].copy_from_slice(&self.context);
        samples[CONTEXT..][..CHUNK].copy_from_slice(chunk);
        let end = CONTEXT + CHUNK;
        for n in 0..CONTEXT {
            samples[end + n] = samples[end - 2 - n];
        }
        self.context.copy_from_slice(&chunk[CHUNK - CONTEXT..]);
        let mut spectra = [0.0; (SPECTRA + 2) * BINS];
        let mut spectrum = [Complex::default(); BINS];
        for (n, magnitudes) in spectra[BINS..].chunks_exact_mut(BINS).take(SPECTRA).enumerate() {
            let mut part: [f32; WINDOW] =
                array::from_fn(|at| samples[n * STEP + at] * self.window[at]);
            // The lengths are those that the transform was made for, so it does not fail.
            let _ = self.transform.process(&mut part, &mut spectrum);
            for (magnitude, value) in magnitudes.iter_mut().zip(&spectrum) {
                *magnitude = value.norm_sqr().sqrt();
            }
        }
        spectra
    }
}

/// One layer without its activation: `out` is the product of the first weights with `values`, and
/// their bias. The weights of [`LANES`] outputs lie together: first their bias, then for each value
/// its weights.
fn layer(weights: &[f32], values: &[f32], out: &mut [f32]) {
    let blocks = weights.chunks_exact((1 + values.len()) * LANES);
    for (block, out) in blocks.zip(out.chunks_mut(LANES)) {
        let (rows, _) = block.as_chunks::<LANES>();
        let Some((bias, rows)) = rows.split_first() else {
            return;
        };
        let mut sums = *bias;
        for (row, value) in rows.iter().zip(values) {
            for n in 0..LANES {
                sums[n] += row[n] * value;
            }
        }
        let length = out.len();
        out.copy_from_slice(&sums[..length]);
    }
}

/// Go on to the weights of the next layer.
fn skip(weights: &mut &[f32], values: usize, out: usize) {
    *weights = &weights[(1 + values) * out..];
}

fn rectify(values: &mut [f32]) {
    for value in values {
        *value = value.max(0.0);
    }
}

fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}
