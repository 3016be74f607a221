//! Rewrites the WAV headers that occur in practice into the one form that every parser reads.
//!
//! Recorders that write to a pipe or lose power leave sizes of 0, 4 GiB or anything in between.
//! Telephony tools write `fmt ` chunks of unusual lengths. The demuxer refuses most of these files
//! although their samples are fine.

use super::AudioError;
use super::intake::Intake;

/// A size that means "unknown, because it was streamed".
const UNKNOWN: u32 = u32::MAX;

/// Largest number of chunks before the samples.
const MOST_CHUNKS: usize = 1024;

/// Longest `fmt ` chunk that is read, in bytes: MS ADPCM with 32 coefficient pairs takes 150.
const LONGEST_FMT: u64 = 256;

/// Bytes read of a `ds64` chunk: the lengths of the file and of the samples, 8 bytes each.
const DS64: u64 = 16;

/// Bytes of the part of `fmt ` that every WAV file has.
const SHORTEST_FMT: usize = 16;

const PCM: u16 = 1;
const ADPCM_MS: u16 = 2;
const FLOAT: u16 = 3;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
const ADPCM_IMA: u16 = 0x11;
const EXTENSIBLE: u16 = 0xfffe;

/// A header that replaces the file's own.
pub(super) struct Wav {
    /// `RIFF`, `fmt ` and the head of `data`; the samples come next.
    pub(super) header: Vec<u8>,
    /// True if the file says that its length is unknown: samples last until its end.
    pub(super) endless: bool,
}

/// Continues after `RIFF`, `riff_len` and `WAVE`, up to the first sample.
pub(super) fn read_header(intake: &mut Intake, riff_len: u32) -> Result<Wav, AudioError> {
    let (mut fmt, mut long) = (None, None);
    for _ in 0..MOST_CHUNKS {
        let chunk = intake.take(8)?;
        if chunk.len() < 8 {
            return Err(damaged("it ends within its header"));
        }
        let len = u32_at(&chunk, 4);
        // Chunks are padded to an even length.
        let padded = u64::from(len) + u64::from(len & 1);
        if chunk.starts_with(b"data") {
            let fmt = fmt.ok_or_else(|| damaged("its WAV header does not describe the samples"))?;
            // RF64, which may be longer than 4 GiB, keeps its length in another place. Longer files
            // end where the file does.
            let len = long.filter(|_| len == UNKNOWN).unwrap_or(len);
            let endless = is_endless(len, riff_len, intake);
            return Ok(Wav {
                header: header(fmt, if endless { UNKNOWN } else { len }),
                endless,
            });
        }
        let mut rest = padded;
        if chunk.starts_with(b"ds64") && long.is_none() {
            let body = intake.take(padded.min(DS64) as usize)?;
            rest -= body.len() as u64;
            long = Some(if u32_at(&body, 12) == 0 {
                u32_at(&body, 8)
            } else {
                UNKNOWN
            });
        }
        if chunk.starts_with(b"fmt ") && fmt.is_none() {
            let body = intake.take(padded.min(LONGEST_FMT) as usize)?;
            rest -= body.len() as u64;
            fmt = Some(plain_fmt(body)?);
        }
        if !intake.skip(rest)? {
            return Err(damaged("it ends within its header"));
        }
    }
    Err(damaged("its WAV header has no end"))
}

/// True if the length 0 stands for an unknown length. No program writes 0 samples and then samples,
/// unless the length was to be filled in later. Bytes after the end of the RIFF form are such
/// samples; bytes within it are other chunks.
fn is_endless(data_len: u32, riff_len: u32, intake: &Intake) -> bool {
    let riff_end = u64::from(riff_len) + 8;
    let later = matches!(riff_len, 0 | UNKNOWN) || riff_end <= intake.at();
    data_len == UNKNOWN || (data_len == 0 && later && intake.has_more() != Some(false))
}

/// Rewrites a `fmt ` chunk to a plain one with the same meaning.
fn plain_fmt(mut fmt: Vec<u8>) -> Result<Vec<u8>, AudioError> {
    if fmt.len() < SHORTEST_FMT {
        return Err(damaged("its WAV header is too short"));
    }
    let (channels, rate) = (u16_at(&fmt, 2), u32_at(&fmt, 4));
    if channels == 0 {
        return Err(AudioError::Channels(0));
    }
    if rate == 0 {
        return Err(AudioError::SampleRate(0));
    }
    // EXTENSIBLE adds the positions of loudspeakers, which do not matter in mono.
    if u16_at(&fmt, 0) == EXTENSIBLE && fmt.len() >= 26 {
        fmt.copy_within(24..26, 0);
    }
    let extra = match u16_at(&fmt, 0) {
        PCM | FLOAT => None,
        A_LAW | MU_LAW => Some(0),
        ADPCM_MS | ADPCM_IMA if fmt.len() >= 18 => Some(usize::from(u16_at(&fmt, 16))),
        ADPCM_MS | ADPCM_IMA => return Err(damaged("its WAV header is too short")),
        0x31 => return Err(AudioError::UnsupportedCodec("GSM 6.10".into())),
        0x55 => return Err(AudioError::UnsupportedCodec("MP3 inside WAV".into())),
        other => {
            return Err(AudioError::UnsupportedCodec(format!(
                "WAV format {other:#06x}"
            )));
        }
    };
    match extra {
        None => fmt.truncate(SHORTEST_FMT),
        Some(0) => {
            fmt.truncate(SHORTEST_FMT);
            fmt.extend([0, 0]);
        }
        Some(extra) if fmt.len() >= 18 + extra => fmt.truncate(18 + extra),
        Some(_) => return Err(damaged("its WAV header is too short")),
    }
    Ok(fmt)
}

/// Kind of samples without a header.
#[derive(Clone, Copy)]
pub(super) enum Samples {
    Whole,
    Float,
    MuLaw,
    ALaw,
}

/// Header for samples that last until the stream ends: little-endian, with `bits` bits per sample.
pub(super) fn stream_header(samples: Samples, rate: u32, channels: u16, bits: u16) -> Vec<u8> {
    let (tag, is_plain) = match samples {
        Samples::Whole => (PCM, true),
        Samples::Float => (FLOAT, true),
        Samples::MuLaw => (MU_LAW, false),
        Samples::ALaw => (A_LAW, false),
    };
    let frame = bits / 8 * channels;
    let mut fmt = Vec::new();
    fmt.extend(tag.to_le_bytes());
    fmt.extend(channels.to_le_bytes());
    fmt.extend(rate.to_le_bytes());
    fmt.extend((rate * u32::from(frame)).to_le_bytes());
    fmt.extend(frame.to_le_bytes());
    fmt.extend(bits.to_le_bytes());
    if !is_plain {
        fmt.extend([0, 0]);
    }
    header(fmt, UNKNOWN)
}

fn header(mut fmt: Vec<u8>, data_len: u32) -> Vec<u8> {
    let mut header = b"RIFF\xff\xff\xff\xffWAVEfmt ".to_vec();
    header.extend((fmt.len() as u32).to_le_bytes());
    if fmt.len() % 2 == 1 {
        fmt.push(0);
    }
    header.append(&mut fmt);
    header.extend(b"data");
    header.extend(data_len.to_le_bytes());
    header
}

fn damaged(how: &str) -> AudioError {
    AudioError::Corrupt(how.into())
}

/// The little-endian number at `at`; 0 if the bytes end before.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |four| u32::from_le_bytes(*four))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |two| u16::from_le_bytes(*two))
}
