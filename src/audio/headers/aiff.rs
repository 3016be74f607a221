//! AIFF and AIFC: chunks with their numbers high byte first.

use super::{
    super::codecs::Voice, AudioError, Chunks, Coding, Header, Intake, Kind, Layout, bytes_at,
    damaged,
};

/// Largest number of chunks that are looked at.
const MOST_CHUNKS: usize = 1024;

/// Bytes of `COMM` that are read: up to the compression.
const COMMON: u64 = 22;

/// Bytes of `SSND` before its samples: how many to skip, and a block size that nobody uses.
const SOUND: u64 = 8;

/// `COMM`: what the samples are.
struct Common {
    channels: u16,
    frames: u32,
    rate: u32,
    coding: Coding,
    /// Bytes of all channels at one moment; 0 if the coding has none.
    frame: u64,
}

pub(super) fn read(intake: &mut Intake) -> Result<Header, AudioError> {
    let form = intake.take(12)?;
    let form_len = u32::from_be_bytes(bytes_at(&form, 4));
    let (mut common, mut sound) = (None, None);
    for _ in 0..MOST_CHUNKS {
        let chunk = intake.take(8)?;
        if chunk.len() < 8 {
            break;
        }
        let len = u32::from_be_bytes(bytes_at(&chunk, 4));
        let (mut rest, start) = (u64::from(len) + u64::from(len & 1), intake.at());
        if chunk.starts_with(b"COMM") && common.is_none() {
            let body = intake.take(rest.min(COMMON) as usize)?;
            rest -= body.len() as u64;
            common = Some(describe(&body)?);
        } else if chunk.starts_with(b"SSND") && sound.is_none() {
            sound = Some((start, len));
            // The description may come after the samples.
            if common.is_some() || intake.len.is_none() {
                break;
            }
        }
        if common.is_some() && sound.is_some() {
            break;
        }
        if !intake.skip(rest)? {
            break;
        }
    }
    let common = common.ok_or_else(|| damaged("its AIFF header does not describe the samples"))?;
    let (start, len) = sound.ok_or_else(|| damaged("it ends within its header"))?;
    if intake.len.is_some() {
        intake.at = start;
    }
    let offset = u32::from_be_bytes(bytes_at(&intake.take(SOUND as usize)?, 0));
    if !intake.skip(offset.into())? {
        return Err(damaged("it ends within its header"));
    }
    let header = Header::of(common.coding, common.rate, common.channels);
    // A length of 0 was to be filled in later if samples follow.
    if len == 0 || (common.frames == 0 && form_len == 0) {
        return Ok(header);
    }
    let len = u64::from(len).saturating_sub(SOUND + u64::from(offset));
    let header = header.ending(len, Chunks::Big, intake)?;
    let told = u64::from(common.frames) * common.frame;
    // Samples behind the told number are padding.
    Ok(match header.len {
        Some(len) if told > 0 && told < len => header.lasting(told, intake),
        _ => header,
    })
}

fn describe(body: &[u8]) -> Result<Common, AudioError> {
    if body.len() < 18 {
        return Err(damaged("its AIFF header is too short"));
    }
    let channels = u16::from_be_bytes(bytes_at(body, 0));
    let frames = u32::from_be_bytes(bytes_at(body, 2));
    let bits = u16::from_be_bytes(bytes_at(body, 6));
    let bytes = bits.div_ceil(8);
    let whole = Layout {
        kind: Kind::Signed,
        is_big_endian: true,
        bytes,
        bits,
    };
    let sized = |bytes| Coding::Samples(Layout::plain(Kind::Signed, bytes).ordered(true));
    let float = |bytes| Coding::Samples(Layout::plain(Kind::Float, bytes).ordered(true));
    let compression: [u8; 4] = bytes_at(body, 18);
    let (coding, bytes) = match &compression {
        [0, 0, 0, 0] | b"NONE" | b"twos" => (Coding::Samples(whole), bytes),
        b"sowt" => (Coding::Samples(whole.ordered(false)), bytes),
        b"raw " => (Coding::Samples(Layout::plain(Kind::Unsigned, 1)), 1),
        b"in24" => (sized(3), 3),
        b"in32" => (sized(4), 4),
        b"23ni" => (Coding::Samples(Layout::plain(Kind::Signed, 4)), 4),
        b"fl32" | b"FL32" => (float(4), 4),
        b"fl64" | b"FL64" => (float(8), 8),
        b"ulaw" | b"ULAW" => (Coding::MuLaw, 1),
        b"alaw" | b"ALAW" => (Coding::ALaw, 1),
        b"ima4" => (Coding::Ima4, 0),
        b"GSM " => (Coding::Voice(Voice::Gsm), 0),
        b"G722" => (Coding::Voice(Voice::G722), 0),
        other => {
            let keep = |c: &char| c.is_ascii_alphanumeric();
            let name: String = other
                .iter()
                .map(|byte| char::from(*byte))
                .filter(keep)
                .collect();
            return Err(AudioError::UnsupportedCodec(format!(
                "AIFC compression {name}"
            )));
        }
    };
    Ok(Common {
        channels,
        frames,
        rate: extended(bytes_at(body, 8)),
        coding,
        frame: u64::from(bytes) * u64::from(channels),
    })
}

/// A positive number of 80 bits, as the 68881 had it: exponent, then the mantissa with its 1.
fn extended(bytes: [u8; 10]) -> u32 {
    let exponent = i32::from(u16::from_be_bytes(bytes_at(&bytes, 0))) - 16_383 - 63;
    let mantissa = u64::from_be_bytes(bytes_at(&bytes, 2));
    // Too large a rate is refused later.
    (mantissa as f64 * 2.0_f64.powi(exponent)).round() as u32
}
