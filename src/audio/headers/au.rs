//! AU, of Sun and NeXT: numbers have their high byte first (`.snd`) or last (`dns.`).

use super::{
    super::codecs::Voice, AudioError, Chunks, Coding, Header, Intake, Kind, Layout, bytes_at,
    damaged,
};

/// Bytes of the header without its annotation.
const HEADER: usize = 24;

/// The length of unknown audio.
const UNKNOWN: u32 = u32::MAX;

pub(super) fn read(intake: &mut Intake) -> Result<Header, AudioError> {
    let head = intake.take(HEADER)?;
    if head.len() < HEADER {
        return Err(damaged("it ends within its header"));
    }
    let is_big_endian = head.starts_with(b".snd");
    let number = |n: usize| {
        let bytes = bytes_at(&head, 4 * n);
        if is_big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    };
    let [offset, len, encoding, rate, channels] = [1, 2, 3, 4, 5].map(number);
    let signed = |bytes| Coding::Samples(Layout::plain(Kind::Signed, bytes).ordered(is_big_endian));
    let float = |bytes| Coding::Samples(Layout::plain(Kind::Float, bytes).ordered(is_big_endian));
    let unknown = |name: &str| Err(AudioError::UnsupportedCodec(name.to_owned()));
    let coding = match encoding {
        1 => Coding::MuLaw,
        2 => signed(1),
        3 => signed(2),
        4 => signed(3),
        5 => signed(4),
        6 => float(4),
        7 => float(8),
        23 | 25 | 26 => return unknown("G.721 or G.723 ADPCM in AU"),
        24 => Coding::Voice(Voice::G722),
        27 => Coding::ALaw,
        other => return unknown(&format!("AU encoding {other}")),
    };
    if !intake.skip(u64::from(offset).saturating_sub(HEADER as u64))? {
        return Err(damaged("it ends within its header"));
    }
    let channels = u16::try_from(channels).unwrap_or(u16::MAX);
    let header = Header::of(coding, rate, channels);
    Ok(match len {
        UNKNOWN => header,
        // No program writes samples and a length of 0, unless it was to be filled in later.
        0 if intake.left() != Some(0) => header,
        len => header.ending(len.into(), Chunks::No, intake)?,
    })
}
