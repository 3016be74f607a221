//! Looks at the bytes behind the announced samples: chunks, tags, another recording, or samples.

use super::{
    super::{
        frames, magic,
        magic::Format,
        tags::{ape_len, id3_len},
    },
    AudioError, Intake, bytes_at,
};

/// Bytes behind the samples that are looked at: zeros only were reserved and never written.
const BEHIND: usize = 4096;

/// Largest number of chunks behind the samples.
const MOST_CHUNKS: usize = 1024;

/// Frames of MPEG audio that are another recording.
const FEW: usize = 3;

/// How chunks are written: a name of four letters, then a length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    /// Of 32 bits, low byte first (RIFF), or high byte first.
    Little,
    Big,
    /// Of 64 bits, high byte first, as CAF has it.
    Caf,
    /// Names are longer (W64).
    Guids,
    /// The format has none.
    No,
}

/// The bytes behind the announced samples.
pub(super) enum Behind {
    /// Chunks, tags, zeros.
    Nothing,
    /// Another file.
    Recording,
    /// More samples: the length was written after the first of them.
    Samples,
}

impl Chunks {
    /// Length of the chunk that begins here, with its head and what fills it up; `None` if its name
    /// is none.
    fn len(self, front: &[u8]) -> Option<u64> {
        let name: [u8; 4] = bytes_at(front, 0);
        let is_letter = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        if !name.iter().all(is_letter) {
            return None;
        }
        let short: [u8; 4] = bytes_at(front, 4);
        let padded = |len: u32| u64::from(len) + u64::from(len & 1) + 8;
        match self {
            Self::Little => Some(padded(u32::from_le_bytes(short))),
            Self::Big => Some(padded(u32::from_be_bytes(short))),
            Self::Caf => u64::from_be_bytes(bytes_at(front, 4)).checked_add(12),
            Self::Guids | Self::No => None,
        }
    }
}

/// Looks behind `len` bytes of samples. The intake stays where it is.
///
/// # Errors
/// The descriptor cannot be read.
pub(super) fn look(len: u64, chunks: Chunks, intake: &mut Intake) -> Result<Behind, AudioError> {
    let start = intake.at;
    intake.skip(len)?;
    let found = search(chunks, intake);
    intake.at = start;
    found
}

fn search(chunks: Chunks, intake: &mut Intake) -> Result<Behind, AudioError> {
    for number in 0..MOST_CHUNKS {
        let mut front = intake.peek(BEHIND)?;
        // The byte that fills the samples up.
        if number == 0
            && front.first() == Some(&0)
            && (is_recording(&front[1..]) || chunks.len(&front[1..]).is_some())
        {
            intake.skip(1)?;
            front.remove(0);
        }
        if is_recording(&front) {
            return Ok(Behind::Recording);
        }
        if let Some(tag) = id3_len(&front).or_else(|| ape_len(&front)) {
            // Another recording may begin with it.
            if !intake.skip(tag)? {
                return Ok(Behind::Nothing);
            }
            continue;
        }
        let is_tag = front.starts_with(b"TAG") || front.starts_with(b"ID3");
        let is_nothing = front.len() < 8 || is_tag || front.iter().all(|byte| *byte == 0);
        if is_nothing || chunks == Chunks::Guids {
            return Ok(Behind::Nothing);
        }
        match chunks.len(&front) {
            Some(len) if intake.left().is_none_or(|left| len <= left + 1) => {
                intake.skip(len)?;
            }
            // Behind chunks there are no samples.
            _ if number > 0 => return Ok(Behind::Nothing),
            _ => return Ok(Behind::Samples),
        }
    }
    Ok(Behind::Nothing)
}

/// True if a file begins here.
fn is_recording(front: &[u8]) -> bool {
    let weak = |format| matches!(format, Format::Unknown | Format::Gsm | Format::Ts { .. });
    let is_named = magic::format(front).is_ok_and(|format| !weak(format));
    is_named || frames::begins_run(front, FEW)
}
