//! Headers in front of samples: each is read here and replaced by one that Symphonia reads.

mod aiff;
mod au;
mod behind;
mod caf;
mod sphere;
mod tag;
mod wav;

use behind::{Behind, Chunks};
pub(super) use caf::read as caf;
pub(super) use tag::Tag;

use super::{
    AudioError,
    bounds::{check_channels, check_rate},
    codecs::Voice,
    intake::Intake,
    magic::Format,
    samples::{Converter, Kind, Layout},
    tags::FOLLOWED,
};

/// Programs that do not know a length in advance write one near these, the largest numbers of 32
/// bits, signed or not: 0xffffffff, 0x80000000, 0x7ffff000, 0x7f000008, and the same less a header.
const LIMITS: [u64; 2] = [1 << 31, 1 << 32];

/// How near: SoX stays 16 MiB below, and adds a header.
const NEAR_LIMIT: u64 = (1 << 24) + (1 << 16);

/// How bytes of audio are coded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Samples(Layout),
    MuLaw,
    ALaw,
    /// ADPCM, with its `fmt ` chunk.
    Adpcm(Vec<u8>),
    /// ADPCM as QuickTime has it, in blocks of 64 samples of one channel.
    Ima4,
    /// Packets of fixed length.
    Voice(Voice),
    /// Frames of MPEG audio or ADTS, one after another.
    Frames,
}

/// A header's description of the bytes that follow it.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) coding: Coding,
    /// In hertz.
    pub(super) rate: u32,
    pub(super) channels: u16,
    /// Bytes of audio; `None` if it lasts until the file ends.
    pub(super) len: Option<u64>,
    pub(super) warnings: Vec<String>,
}

impl Header {
    /// Audio until the file ends.
    pub(super) fn of(coding: Coding, rate: u32, channels: u16) -> Self {
        Self {
            coding,
            rate,
            channels,
            len: None,
            warnings: Vec::new(),
        }
    }

    /// Like [`Self::lasting`], if the bytes behind the audio are no samples: a program that cannot
    /// go back leaves the length of the first ones in the header.
    ///
    /// # Errors
    /// The descriptor cannot be read.
    fn ending(mut self, len: u64, chunks: Chunks, intake: &mut Intake) -> Result<Self, AudioError> {
        if intake.left().is_some_and(|left| left > len) {
            match behind::look(len, chunks, intake)? {
                Behind::Samples => return Ok(self),
                Behind::Recording => self.warnings.push(FOLLOWED.into()),
                Behind::Nothing => {}
            }
        }
        Ok(self.lasting(len, intake))
    }

    /// The audio has this many bytes, unless the number stands for an unknown one or `intake` shows
    /// that it does.
    pub(super) fn lasting(mut self, len: u64, intake: &Intake) -> Self {
        self.len = Some(len).filter(|len| !is_unknown(*len, intake));
        self
    }
}

/// True if a header that claims this many bytes behind it was written before they were counted.
fn is_unknown(len: u64, intake: &Intake) -> bool {
    let is_near = LIMITS
        .iter()
        .any(|limit| len.abs_diff(*limit) <= NEAR_LIMIT);
    is_near && intake.left().is_none_or(|left| left < len)
}

/// A file as a demuxer should see it: `head`, then the rest of the intake.
pub(super) struct Opening {
    pub(super) head: Vec<u8>,
    pub(super) converter: Option<Converter>,
    pub(super) demuxer: Demuxer,
    /// True if nobody knows where the audio ends: it lasts until the file does.
    pub(super) is_open_ended: bool,
    pub(super) warnings: Vec<String>,
}

/// Which demuxer reads a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Demuxer {
    Of(Format),
    /// Packets of a codec without a container, at this rate in hertz.
    Voice(Voice, u32),
}

impl Opening {
    /// A file that is read as it is.
    pub(super) fn plain(format: Format) -> Self {
        Self {
            head: Vec::new(),
            converter: None,
            demuxer: Demuxer::Of(format),
            is_open_ended: false,
            warnings: Vec::new(),
        }
    }

    /// A file whose header was read.
    ///
    /// # Errors
    /// The header claims what cannot be.
    pub(super) fn of(header: Header, intake: &mut Intake) -> Result<Self, AudioError> {
        let Header {
            coding,
            rate,
            channels,
            mut len,
            mut warnings,
        } = header;
        check_rate(rate)?;
        check_channels(channels.into())?;
        let left = intake.left();
        if let (Some(len), Some(end)) = (len, intake.len) {
            // Chunks may follow.
            intake.len = Some(end.min(intake.at().saturating_add(len)));
        }
        let (mut converter, mut demuxer) = (None, Demuxer::Of(Format::Wav));
        let fmt = match coding {
            Coding::Samples(layout) if layout.is_absurd() => {
                let bits = layout.bits;
                return Err(AudioError::UnsupportedCodec(format!(
                    "samples of {bits} bits"
                )));
            }
            Coding::Samples(layout) => {
                converter = Converter::of(layout, intake, &mut warnings)?;
                if let Some((to, from)) = converter.as_ref().map(Converter::growth) {
                    len = len.map(|len| (len / from).saturating_mul(to));
                    wav::fmt_of(Layout::plain(Kind::Float, 4), rate, channels)
                } else {
                    wav::fmt_of(layout, rate, channels)
                }
            }
            Coding::MuLaw => wav::fmt(wav::MU_LAW, rate, channels, 8),
            Coding::ALaw => wav::fmt(wav::A_LAW, rate, channels, 8),
            Coding::Adpcm(fmt) => fmt,
            Coding::Ima4 => {
                demuxer = Demuxer::Of(Format::Caf);
                caf::head(*b"ima4", rate, channels, len.or(left))
            }
            Coding::Voice(voice) if channels != 1 => {
                let name = voice.name();
                return Err(AudioError::UnsupportedCodec(format!(
                    "{name} of {channels} channels"
                )));
            }
            Coding::Voice(voice) => {
                demuxer = Demuxer::Voice(voice, voice.rate_in(rate));
                Vec::new()
            }
            Coding::Frames => {
                let (skip, sort) = super::magic::frames(intake)?;
                intake.skip(skip)?;
                demuxer = Demuxer::Of(Format::Frames(sort));
                Vec::new()
            }
        };
        let is_riff = matches!(demuxer, Demuxer::Of(Format::Wav));
        if let (false, Some(len), Some(left)) = (is_riff, len, left)
            && left < len
        {
            // The other demuxers are not told the length.
            warnings.push(format!(
                "the file ends early: {left} of {len} bytes of audio are in it"
            ));
        }
        let head = if is_riff { wav::header(fmt, len) } else { fmt };
        Ok(Self {
            head,
            converter,
            demuxer,
            is_open_ended: len.is_none(),
            warnings,
        })
    }
}

/// Reads the header of a file of this format, up to the first sample; `None` if a demuxer reads it
/// better.
///
/// # Errors
/// The header is damaged, or describes audio that cannot be decoded.
pub(super) fn read(format: Format, intake: &mut Intake) -> Result<Option<Header>, AudioError> {
    match format {
        Format::Wav | Format::W64 => wav::read(format, intake).map(Some),
        Format::Aiff => aiff::read(intake).map(Some),
        Format::Au => au::read(intake).map(Some),
        Format::Sphere => sphere::read(intake).map(Some),
        _ => Ok(None),
    }
}

fn damaged(how: &str) -> AudioError {
    AudioError::Corrupt(how.into())
}

/// The bytes at `at`, as many as the array has; zeros if there are fewer.
fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.first_chunk().copied().unwrap_or([0; N])
}
