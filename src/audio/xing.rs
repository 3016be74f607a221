//! The frame without sound that encoders of MP3 put first: how many frames follow, and how many
//! samples only prime the decoder or fill the last frame.

use super::frames::{Frame, Sort};

/// Samples by which a decoder of layer 3 is late by itself.
const DECODER_DELAY: u32 = 529;

/// Names of encoders whose delay and padding are known to be true.
const KNOWN_ENCODERS: [&[u8; 4]; 3] = [b"LAME", b"Lavf", b"Lavc"];

/// An encoder's description of the frames that follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    /// Number of frames, this one not counted.
    pub(super) frames: Option<u32>,
    /// Samples at the start and at the end that are no sound; `None` if the encoder does not tell.
    pub(super) trims: Option<(u32, u32)>,
}

impl Info {
    /// Reads the description, if this frame holds one instead of sound.
    pub(super) fn of(frame: &Frame, bytes: &[u8]) -> Option<Self> {
        if frame.sort != Sort::Mpeg(3) {
            return None;
        }
        Self::xing(frame, bytes).or_else(|| vbri(bytes))
    }

    fn xing(frame: &Frame, bytes: &[u8]) -> Option<Self> {
        // The side information of a frame of sound would lie there.
        let at = match (frame.samples, frame.channels) {
            (1152, 1) | (576, 2) => 4 + 17,
            (1152, _) => 4 + 32,
            _ => 4 + 9,
        };
        let (name, mut rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
        let is_silent = bytes.get(6..at)?.iter().all(|byte| *byte == 0);
        if ![b"Xing", b"Info"].contains(&name) || !is_silent {
            return None;
        }
        let flags = number(&mut rest)?;
        let mut field = |flag: u32, len: usize| {
            let (field, behind) = rest.split_at_checked(if flags & flag == 0 { 0 } else { len })?;
            rest = behind;
            Some(field)
        };
        let mut frames = field(1, 4)?;
        let (_bytes, _seek, _quality) = (field(2, 4)?, field(4, 100)?, field(8, 4)?);
        Some(Self {
            frames: number(&mut frames),
            trims: trims(rest),
        })
    }
}

/// Delay and padding from LAME's part: the encoder's name in 9 bytes, 12 bytes, 12 bits each.
fn trims(lame: &[u8]) -> Option<(u32, u32)> {
    let name: &[u8; 4] = lame.first_chunk()?;
    let [a, b, c]: &[u8; 3] = lame.get(21..)?.first_chunk()?;
    let delay = u32::from(*a) << 4 | u32::from(*b) >> 4;
    let padding = u32::from(*b & 15) << 8 | u32::from(*c);
    KNOWN_ENCODERS
        .contains(&name)
        .then_some((delay + DECODER_DELAY, padding.saturating_sub(DECODER_DELAY)))
}

/// Fraunhofer's description.
fn vbri(bytes: &[u8]) -> Option<Info> {
    let (name, rest) = bytes.get(36..)?.split_first_chunk::<4>()?;
    let mut frames = rest.get(10..)?;
    (name == b"VBRI" && rest.starts_with(&[0, 1])).then(|| Info {
        frames: number(&mut frames),
        trims: None,
    })
}

/// Takes a number of 32 bits from the front.
fn number(bytes: &mut &[u8]) -> Option<u32> {
    let (four, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_be_bytes(*four))
}
