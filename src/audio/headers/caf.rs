//! CAF of samples, or of unknown length: `-1` means that the data last until the file ends.

use super::{AudioError, Chunks, Coding, Header, Intake, Kind, Layout, Opening, bytes_at};
use crate::audio::magic::Format;

/// Bytes of all chunks before the data, if their length is to be replaced.
const LONGEST: usize = 1 << 16;

/// Bytes of the chunk `desc`.
const DESC: usize = 32;

/// Bytes of a chunk's name and length, and of the edit count before the data.
const CHUNK: usize = 12;
const EDITS: u64 = 4;

/// Prepares a CAF file; `intake` is at its start.
///
/// # Errors
/// The descriptor cannot be read.
pub(crate) fn read(intake: &mut Intake) -> Result<Opening, AudioError> {
    let front = intake.peek(LONGEST)?;
    let (mut at, mut desc) = (8, None);
    while let Some(chunk) = front.get(at..at + CHUNK) {
        let len = i64::from_be_bytes(bytes_at(chunk, 4));
        at += CHUNK;
        if chunk.starts_with(b"desc") {
            desc = front.get(at..at + DESC);
        }
        if chunk.starts_with(b"data") {
            return data(intake, &front[..at], desc, len);
        }
        let Some(next) = usize::try_from(len)
            .ok()
            .and_then(|len| at.checked_add(len))
        else {
            break;
        };
        at = next;
    }
    Ok(Opening::plain(Format::Caf))
}

fn data(
    intake: &mut Intake,
    head: &[u8],
    desc: Option<&[u8]>,
    len: i64,
) -> Result<Opening, AudioError> {
    let len = u64::try_from(len).ok();
    if let Some(header) = desc.and_then(samples) {
        intake.skip(head.len() as u64 + EDITS)?;
        let header = match len {
            Some(len) => header.ending(len.saturating_sub(EDITS), Chunks::Caf, intake)?,
            None => header,
        };
        return Opening::of(header, intake);
    }
    let mut opening = Opening::plain(Format::Caf);
    if let (None, Some(left)) = (len, intake.left()) {
        intake.skip(head.len() as u64)?;
        opening.head = head[..head.len() - 8].to_vec();
        let len = left.saturating_sub(head.len() as u64);
        opening.head.extend(len.to_be_bytes());
    }
    Ok(opening)
}

/// The description of a file of samples; `None` if they are compressed or make no sense.
fn samples(desc: &[u8]) -> Option<Header> {
    let number = |n: usize| u32::from_be_bytes(bytes_at(desc, 8 + 4 * n));
    let [flags, packet, frames, channels, bits] = [1, 2, 3, 4, 5].map(number);
    let rate = f64::from_be_bytes(bytes_at(desc, 0)).round() as u32;
    let channels = u16::try_from(channels)
        .ok()
        .filter(|channels| *channels > 0)?;
    let coding = match &bytes_at(desc, 8) {
        b"ulaw" => Coding::MuLaw,
        b"alaw" => Coding::ALaw,
        b"lpcm" if frames == 1 => {
            let bytes = u16::try_from(packet / u32::from(channels)).ok()?;
            let layout = Layout {
                kind: if flags & 1 == 0 {
                    Kind::Signed
                } else {
                    Kind::Float
                },
                is_big_endian: flags & 2 == 0,
                bytes,
                bits: u16::try_from(bits).ok()?,
            };
            Coding::Samples(layout)
        }
        _ => return None,
    };
    Some(Header::of(coding, rate, channels))
}

/// Bytes of a block of ADPCM, and samples in it, of one channel.
const BLOCK: (u32, u32) = (34, 64);

/// The head of a CAF file of blocks of ADPCM, which `len` bytes follow.
pub(super) fn head(coding: [u8; 4], rate: u32, channels: u16, len: Option<u64>) -> Vec<u8> {
    let mut head = b"caff\0\x01\0\0desc\0\0\0\0\0\0\0\x20".to_vec();
    head.extend(f64::from(rate).to_be_bytes());
    head.extend(coding);
    for field in [
        0,
        BLOCK.0 * u32::from(channels),
        BLOCK.1,
        channels.into(),
        16,
    ] {
        head.extend(field.to_be_bytes());
    }
    let len = len.and_then(|len| i64::try_from(len + EDITS).ok());
    head.extend(b"data");
    head.extend(len.unwrap_or(-1).to_be_bytes());
    head.extend([0; EDITS as usize]);
    head
}
