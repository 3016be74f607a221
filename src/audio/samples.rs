//! Samples of any width and byte order, turned into those that the WAV demuxer reads.

use super::{AudioError, intake::Intake};

/// Kind of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Signed,
    Unsigned,
    Float,
}

/// How samples lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) kind: Kind,
    pub(super) is_big_endian: bool,
    /// Bytes of one sample: 1 to 8, of a float 4 or 8.
    pub(super) bytes: u16,
    /// How many of its bits count.
    pub(super) bits: u16,
}

/// Float samples that exceed this in number are not meant to stay within ±1. (A float recording may
/// well be louder than 1 for moments.)
const LOUD: f64 = 4.0;

/// Places of a file where its samples are looked at, and the bytes looked at in each.
const PLACES: (u64, usize) = (64, 1 << 14);

/// Bytes of samples that are converted at once; a multiple of each width.
const PIECE: usize = 3 * 5 * 7 * 8 * 64;

/// How far samples of floating point exceed ±1: some programs write whole numbers as floats.
#[derive(Debug, Default)]
pub(super) struct Loudness {
    sounding: u64,
    loud: u64,
    peak: f64,
}

impl Loudness {
    pub(super) fn see(&mut self, sample: f64) {
        let sample = sample.abs();
        self.sounding += u64::from(sample > 0.0);
        self.loud += u64::from(sample > LOUD);
        if sample.is_finite() {
            self.peak = self.peak.max(sample);
        }
    }

    /// The number by which all samples are multiplied.
    pub(super) fn scale(&self) -> f64 {
        if self.loud == 0 || self.loud * 100 < self.sounding {
            return 1.0;
        }
        let full = [7, 15, 23, 31].map(|bits| f64::from(1_u32 << bits));
        let full = full.into_iter().find(|full| *full >= self.peak);
        1.0 / full.unwrap_or(self.peak)
    }
}

/// A sentence for the sender if samples are multiplied by `scale`.
pub(super) fn scale_warning(scale: f64) -> Option<String> {
    let by = 1.0 / scale;
    (scale != 1.0).then(|| {
        format!(
            "samples of floating point should stay between -1 and 1, and these do not: they were \
             divided by {by}"
        )
    })
}

impl Layout {
    /// Samples that fill their bytes, low byte first.
    pub(super) fn plain(kind: Kind, bytes: u16) -> Self {
        Self {
            kind,
            is_big_endian: false,
            bytes,
            bits: bytes * 8,
        }
    }

    /// The same with this order of bytes.
    pub(super) fn ordered(self, is_big_endian: bool) -> Self {
        Self {
            is_big_endian,
            ..self
        }
    }

    /// True if no sample can have this layout.
    pub(super) fn is_absurd(self) -> bool {
        let Self { bytes, bits, .. } = self;
        let has_width = match self.kind {
            Kind::Float => [4, 8].contains(&bytes) && bits == bytes * 8,
            _ => (1..=8).contains(&bytes) && (2..=bytes * 8).contains(&bits),
        };
        !has_width
    }

    /// True if WAV knows samples of this layout.
    fn is_plain(self) -> bool {
        let is_known = match self.kind {
            Kind::Unsigned => self.bytes == 1,
            Kind::Signed => (2..=4).contains(&self.bytes),
            Kind::Float => true,
        };
        let is_full = self.bits == self.bytes * 8;
        is_known && is_full && (!self.is_big_endian || self.bytes == 1)
    }
}

/// Turns samples of one layout into floats of 32 bits, low byte first.
#[derive(Clone, Debug)]
pub(super) struct Converter {
    layout: Layout,
    /// Bits by which whole numbers are moved up, because their high bits do not count.
    shift: u32,
    scale: f64,
    /// Bytes that were read and not converted, because they are no whole sample.
    part: Vec<u8>,
}

impl Converter {
    /// The way to read the samples from here to the end of `intake`: `None` if they can be read as
    /// they are. The samples themselves tell what headers leave open.
    ///
    /// # Errors
    /// The descriptor cannot be read.
    pub(super) fn of(
        layout: Layout,
        intake: &mut Intake,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Self>, AudioError> {
        let mut this = Self {
            layout,
            shift: 0,
            scale: 1.0,
            part: Vec::new(),
        };
        match layout.kind {
            Kind::Float => {
                this.scale = this.fitting_scale(intake)?;
                warnings.extend(scale_warning(this.scale));
            }
            _ if layout.bits < layout.bytes * 8 && this.are_low(intake)? => {
                this.shift = u32::from(layout.bytes * 8 - layout.bits);
            }
            _ => {}
        }
        let as_they_are = layout.is_plain() && this.scale == 1.0;
        // Bits that do not count are 0, so samples of whole bytes can be read with them.
        let filled = Layout {
            bits: layout.bytes * 8,
            ..layout
        };
        let as_they_are =
            as_they_are || (this.shift == 0 && filled.is_plain() && this.scale == 1.0);
        Ok((!as_they_are).then_some(this))
    }

    /// Bytes of a converted sample for each of a sample in the file.
    pub(super) fn growth(&self) -> (u64, u64) {
        (4, self.layout.bytes.into())
    }

    /// The number by which all samples are multiplied.
    fn fitting_scale(&self, intake: &mut Intake) -> Result<f64, AudioError> {
        let mut loudness = Loudness::default();
        self.look(intake, |sample| loudness.see(sample))?;
        Ok(loudness.scale())
    }

    /// True if the bits that count are the low ones, as ALSA has them; WAV wants the high ones.
    fn are_low(&self, intake: &mut Intake) -> Result<bool, AudioError> {
        let Layout { bits, bytes, .. } = self.layout;
        let spare = u32::from(bytes * 8 - bits);
        // A whole spare byte would be 48 dB of silence.
        let (mut fit, mut low, mut seen) = (true, spare >= 8, false);
        // Samples come as parts of the full range of 64 bits.
        let unit = 2.0_f64.powi(i32::from(bytes * 8) - 1);
        self.look(intake, |sample| {
            let number = (sample * unit) as i64;
            let shifted = number << (64 - u32::from(bits)) >> (64 - u32::from(bits));
            fit &= shifted == number;
            low |= number & ((1 << spare) - 1) != 0;
            seen = true;
        })?;
        Ok(seen && fit && low)
    }

    /// Show samples from all over the file; none of a pipe.
    fn look(&self, intake: &mut Intake, mut see: impl FnMut(f64)) -> Result<(), AudioError> {
        let (start, Some(left)) = (intake.at, intake.left()) else {
            return Ok(());
        };
        let width = usize::from(self.layout.bytes);
        let step = (left / PLACES.0).max(PLACES.1 as u64);
        let step = step - step % u64::from(self.layout.bytes);
        for place in 0..PLACES.0 {
            intake.at = start.saturating_add(place * step);
            let bytes = intake.take(PLACES.1)?;
            for sample in bytes.chunks_exact(width) {
                see(self.value(sample));
            }
            if bytes.len() < PLACES.1 {
                break;
            }
        }
        intake.at = start;
        Ok(())
    }

    /// One sample, −1 … 1.
    fn value(&self, sample: &[u8]) -> f64 {
        // Left-aligned in 64 bits, high byte first.
        let mut wide = [0; 8];
        let len = sample.len().min(8);
        wide[..len].copy_from_slice(&sample[..len]);
        if !self.layout.is_big_endian {
            wide[..len].reverse();
        }
        let wide = u64::from_be_bytes(wide);
        let number = match self.layout.kind {
            Kind::Float if len == 4 => {
                return f64::from(f32::from_bits((wide >> 32) as u32)) * self.scale;
            }
            Kind::Float => return f64::from_bits(wide) * self.scale,
            Kind::Signed => (wide << self.shift) as i64,
            Kind::Unsigned => ((wide << self.shift) ^ (1 << 63)) as i64,
        };
        number as f64 / 2.0_f64.powi(63)
    }

    /// Convert what comes next from `intake` and add it to `into`; nothing at the end of the file.
    pub(super) fn convert(
        &mut self,
        intake: &mut Intake,
        into: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let width = usize::from(self.layout.bytes);
        let mut bytes = std::mem::take(&mut self.part);
        // A pipe may give single bytes.
        while bytes.len() < width {
            let known = bytes.len();
            bytes.resize(PIECE, 0);
            let read = intake.read(&mut bytes[known..])?;
            bytes.truncate(known + read);
            if read == 0 {
                break;
            }
        }
        let samples = bytes.chunks_exact(width);
        self.part = samples.remainder().to_vec();
        for sample in samples {
            into.extend((self.value(sample) as f32).to_le_bytes());
        }
        Ok(())
    }
}
