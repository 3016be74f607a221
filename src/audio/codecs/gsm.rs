//! GSM 06.10 full rate (ETSI EN 300 961): 160 samples at 8 kHz from 260 bits.
//!
//! All arithmetic is that of the standard, on saturated words of 16 bits, so the samples are exact.

use super::Decode;

/// Bits of the eight log area ratios.
const LAR_BITS: [u32; 8] = [6, 6, 5, 5, 4, 4, 3, 3];

/// Tables 4.1 and 4.2: how log area ratios are quantised.
const LAR_OFFSET: [i32; 8] = [0, 0, 2048, -2560, 94, -1792, -341, -1144];
const LAR_LEAST: [i32; 8] = [-32, -32, -16, -16, -8, -8, -4, -4];
const LAR_INVERSE: [i32; 8] = [13107, 13107, 13107, 13107, 19223, 17476, 31454, 29708];

/// Table 4.3b: gains of the long-term predictor.
const GAINS: [i32; 4] = [3277, 11469, 21299, 32767];

/// Table 4.6: normalised direct mantissas.
const MANTISSAS: [i32; 8] = [18431, 20479, 22527, 24575, 26623, 28671, 30719, 32767];

/// Samples of a subframe, and how far back its predictor may look.
const SUBFRAME: usize = 40;
const LAGS: std::ops::RangeInclusive<usize> = 40..=120;
const HISTORY: usize = 120;

/// Decodes frames of 33 bytes.
pub(super) struct Decoder {
    /// Excitation of the last 120 samples, and the current subframe's.
    excitation: [i32; HISTORY + SUBFRAME],
    lag: usize,
    ratios: [i32; 8],
    filter: [i32; 9],
    emphasis: i32,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            excitation: [0; HISTORY + SUBFRAME],
            lag: *LAGS.start(),
            ratios: [0; 8],
            filter: [0; 9],
            emphasis: 0,
        }
    }
}

impl Decode for Decoder {
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> bool {
        let mut bits = Bits::high_first(packet);
        if packet.len() < 33 || bits.take(4) != 0xd {
            return false;
        }
        self.frame(&mut bits, samples);
        true
    }
}

/// Decodes two frames in 65 bytes, low bits first.
#[derive(Default)]
pub(super) struct Pairs(Decoder);

impl Decode for Pairs {
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> bool {
        if packet.len() < 65 {
            return false;
        }
        let mut bits = Bits::low_first(packet);
        self.0.frame(&mut bits, samples);
        self.0.frame(&mut bits, samples);
        true
    }
}

/// Numbers of a few bits in a row of bytes.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    is_high_first: bool,
}

impl<'a> Bits<'a> {
    fn high_first(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            is_high_first: true,
        }
    }

    fn low_first(bytes: &'a [u8]) -> Self {
        Self {
            is_high_first: false,
            ..Self::high_first(bytes)
        }
    }

    /// The next `count` bits; zeros behind the end.
    fn take(&mut self, count: u32) -> i32 {
        (0..count).fold(0, |number, n| {
            let byte = self.bytes.get(self.at / 8).copied().unwrap_or(0);
            let place = self.at % 8;
            self.at += 1;
            if self.is_high_first {
                number << 1 | i32::from(byte >> (7 - place) & 1)
            } else {
                number | i32::from(byte >> place & 1) << n
            }
        })
    }
}

fn saturate(number: i32) -> i32 {
    number.clamp(-32768, 32767)
}

/// Product of two fractions, rounded.
fn product(a: i32, b: i32) -> i32 {
    saturate((a * b + 16384) >> 15)
}

fn shifted_down(number: i32, by: i32) -> i32 {
    if by < 0 {
        saturate(number << -by.max(-15))
    } else {
        number >> by.min(15)
    }
}

impl Decoder {
    fn frame(&mut self, bits: &mut Bits<'_>, samples: &mut Vec<i16>) {
        let codes = LAR_BITS.map(|count| bits.take(count));
        let ratios: [i32; 8] = std::array::from_fn(|n| {
            let ratio = (codes[n] + LAR_LEAST[n]) << 10;
            let ratio = product(LAR_INVERSE[n], saturate(ratio - (LAR_OFFSET[n] << 1)));
            saturate(ratio + ratio)
        });
        let mut residual = [0; 4 * SUBFRAME];
        for subframe in residual.chunks_exact_mut(SUBFRAME) {
            self.predict(bits);
            subframe.copy_from_slice(&self.excitation[HISTORY..]);
            self.excitation.copy_within(SUBFRAME.., 0);
        }
        let old = self.ratios;
        let mix = |mixed: fn(i32, i32) -> i32| {
            let mixed: [i32; 8] = std::array::from_fn(|n| mixed(old[n], ratios[n]));
            mixed.map(reflection)
        };
        self.synthesise(
            &mut residual[..13],
            &mix(|a, b| (a >> 2) + (b >> 2) + (a >> 1)),
        );
        self.synthesise(&mut residual[13..27], &mix(|a, b| (a >> 1) + (b >> 1)));
        self.synthesise(
            &mut residual[27..40],
            &mix(|a, b| (a >> 2) + (b >> 2) + (b >> 1)),
        );
        self.synthesise(&mut residual[40..], &mix(|_, b| b));
        self.ratios = ratios;
        for sample in residual {
            self.emphasis = saturate(sample + product(self.emphasis, 28180));
            samples.push((saturate(self.emphasis * 2) & !7) as i16);
        }
    }

    /// Excitation of one subframe: its pulses, and what the long-term predictor adds.
    fn predict(&mut self, bits: &mut Bits<'_>) {
        let (lag, gain, grid) = (bits.take(7) as usize, bits.take(2), bits.take(2));
        let pulses = pulses(bits);
        let mut excitation = [0; SUBFRAME];
        for (n, pulse) in pulses.into_iter().enumerate() {
            excitation[grid as usize + 3 * n] = pulse;
        }
        if LAGS.contains(&lag) {
            self.lag = lag;
        }
        for (n, pulse) in excitation.into_iter().enumerate() {
            let echo = self.excitation[HISTORY + n - self.lag];
            let echo = product(GAINS[gain as usize], echo);
            self.excitation[HISTORY + n] = saturate(pulse + echo);
        }
    }

    /// Short-term synthesis: a lattice filter of eight stages.
    fn synthesise(&mut self, samples: &mut [i32], reflections: &[i32; 8]) {
        for sample in samples {
            for n in (0..8).rev() {
                *sample = saturate(*sample - product(reflections[n], self.filter[n]));
                let back = product(reflections[n], *sample);
                self.filter[n + 1] = saturate(self.filter[n] + back);
            }
            self.filter[0] = *sample;
        }
    }
}

/// The thirteen pulses of a subframe.
fn pulses(bits: &mut Bits<'_>) -> [i32; 13] {
    let block = bits.take(6);
    let mut exponent = if block > 15 { (block >> 3) - 1 } else { 0 };
    let mut mantissa = block - (exponent << 3);
    if mantissa == 0 {
        (exponent, mantissa) = (-4, 7);
    } else {
        while mantissa <= 7 {
            mantissa = mantissa << 1 | 1;
            exponent -= 1;
        }
        mantissa -= 8;
    }
    let shift = 6 - exponent;
    let round = shifted_down(1, 1 - shift);
    std::array::from_fn(|_| {
        let pulse = ((bits.take(3) << 1) - 7) << 12;
        let pulse = product(MANTISSAS[mantissa as usize], pulse);
        shifted_down(saturate(pulse + round), shift)
    })
}

/// The reflection coefficient of a log area ratio.
fn reflection(ratio: i32) -> i32 {
    let size = saturate(ratio.abs());
    let size = match size {
        ..11059 => size << 1,
        11059..20070 => size + 11059,
        _ => saturate((size >> 2) + 26112),
    };
    if ratio < 0 { -size } else { size }
}
