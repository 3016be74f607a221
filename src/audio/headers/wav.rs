//! WAV and its kin: RF64 and BW64 (over 4 GiB), RIFX (high byte first), Sony's W64.
//!
//! Recorders that write to a pipe or lose power leave sizes of 0, 4 GiB or anything in between.
//! Telephony tools write `fmt ` chunks of unusual lengths. Symphonia refuses most of these files
//! although their samples are fine.

use super::{
    super::{codecs::Voice, magic::Format},
    AudioError, Chunks, Coding, Header, Intake, Kind, Layout, Tag, bytes_at, damaged,
};

/// A size that means "unknown, because it was streamed".
const UNKNOWN: u64 = u32::MAX as u64;

/// Longest length in 64 bits that is meant, in bytes. Programs that write W64 to a pipe leave a
/// number near 2^63 or 2^64.
const LONGEST: u64 = 1 << 48;

/// Largest number of chunks before the samples.
const MOST_CHUNKS: usize = 1024;

/// Bytes of a chunk behind which the next one is looked for.
const AHEAD: usize = 1 << 16;

/// Longest `fmt ` chunk that is read, in bytes: MS ADPCM with 32 coefficient pairs takes 150.
const LONGEST_FMT: u64 = 256;

/// Bytes read of a `ds64` chunk: the lengths of the file and of the samples, 8 bytes each.
const DS64: u64 = 16;

/// Bytes of the part of `fmt ` that every WAV file has.
const SHORTEST_FMT: usize = 16;

const PCM: u16 = 1;
const ADPCM_MS: u16 = 2;
const FLOAT: u16 = 3;
pub(super) const A_LAW: u16 = 6;
pub(super) const MU_LAW: u16 = 7;
const ADPCM_IMA: u16 = 0x11;
const EXTENSIBLE: u16 = 0xfffe;

/// How chunks are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Riff,
    Rifx,
    W64,
}

/// A chunk's name and the length of its body, in bytes.
struct Chunk {
    name: [u8; 4],
    len: u64,
    /// The same with what fills it up to the next chunk.
    padded: u64,
}

impl Dialect {
    /// The head of the next chunk; `None` if the file ends before.
    fn chunk(self, intake: &mut Intake) -> Result<Option<Chunk>, AudioError> {
        let (size, unit) = if self == Self::W64 { (24, 8) } else { (8, 2) };
        let head = intake.take(size)?;
        if head.len() < size {
            return Ok(None);
        }
        let len = match self {
            Self::Riff => u32::from_le_bytes(bytes_at(&head, 4)).into(),
            Self::Rifx => u32::from_be_bytes(bytes_at(&head, 4)).into(),
            // Counted with the head. 0 or less than the head was to be filled in later.
            Self::W64 => u64::from_le_bytes(bytes_at(&head, 16)).saturating_sub(24),
        };
        Ok(Some(Chunk {
            name: bytes_at(&head, 0),
            len,
            padded: len.saturating_add(unit - 1) / unit * unit,
        }))
    }
}

/// Reads from the start of the file up to the first sample.
pub(super) fn read(format: Format, intake: &mut Intake) -> Result<Header, AudioError> {
    let form = intake.take(if format == Format::W64 { 40 } else { 12 })?;
    let (dialect, form_len) = match form.first_chunk() {
        Some(b"RIFX") => (Dialect::Rifx, u32::from_be_bytes(bytes_at(&form, 4)).into()),
        Some(b"riff") => (Dialect::W64, u64::from_le_bytes(bytes_at(&form, 16))),
        _ => (Dialect::Riff, u32::from_le_bytes(bytes_at(&form, 4)).into()),
    };
    let (mut header, mut long) = (None, None);
    for _ in 0..MOST_CHUNKS {
        let chunk = dialect.chunk(intake)?;
        let Chunk { name, len, padded } =
            chunk.ok_or_else(|| damaged("it ends within its header"))?;
        let mut rest = padded;
        match &name {
            b"data" => {
                let header = header
                    .ok_or_else(|| damaged("its WAV header does not describe the samples"))?;
                // RF64, which may be longer than 4 GiB, keeps its length in another place.
                let len = long.filter(|_| len == UNKNOWN).unwrap_or(len);
                return finish(header, len, form_len, dialect, intake);
            }
            b"ds64" if long.is_none() => {
                let body = intake.take(padded.min(DS64) as usize)?;
                rest -= body.len() as u64;
                long = Some(u64::from_le_bytes(bytes_at(&body, 8)));
            }
            b"fmt " if header.is_none() => {
                let body = intake.take(padded.min(LONGEST_FMT) as usize)?;
                rest -= body.len() as u64;
                header = Some(describe(body, dialect)?);
            }
            _ => {}
        }
        if padded > len && dialect != Dialect::W64 && !is_padded(rest, intake)? {
            rest -= 1;
        }
        if !intake.skip(rest)? {
            return Err(damaged("it ends within its header"));
        }
    }
    Err(damaged("its WAV header has no end"))
}

/// True if the next chunk begins behind `rest` bytes, and not one byte earlier: some programs leave
/// out the byte that fills a chunk up.
fn is_padded(rest: u64, intake: &mut Intake) -> Result<bool, AudioError> {
    let Some(ahead) = usize::try_from(rest)
        .ok()
        .filter(|rest| (1..AHEAD).contains(rest))
    else {
        return Ok(true);
    };
    let front = intake.peek(ahead + 4)?;
    let is_name = |at: usize| {
        let name = front.get(at..at + 4).unwrap_or_default();
        [&b"data"[..], b"fmt ", b"fact", b"LIST"].contains(&name)
    };
    Ok(is_name(ahead) || !is_name(ahead - 1))
}

/// Decides how many of the bytes that follow are audio.
fn finish(
    header: Header,
    len: u64,
    form_len: u64,
    dialect: Dialect,
    intake: &mut Intake,
) -> Result<Header, AudioError> {
    refuse_disguise(intake)?;
    // No program writes 0 samples and then samples, unless the length was to be filled in later.
    // Bytes after the end of the RIFF form are such samples; bytes within it are other chunks.
    let later = matches!(form_len, 0 | UNKNOWN) || form_len.saturating_add(8) <= intake.at();
    let is_later = len == 0 && later && intake.left() != Some(0);
    if len == UNKNOWN || len > LONGEST || is_later {
        return Ok(header);
    }
    let chunks = match dialect {
        Dialect::Riff => Chunks::Little,
        Dialect::Rifx => Chunks::Big,
        Dialect::W64 => Chunks::Guids,
    };
    header.ending(len, chunks, intake)
}

/// Refuses DTS and AC-3 that are disguised as samples, to be carried to an amplifier.
fn refuse_disguise(intake: &mut Intake) -> Result<(), AudioError> {
    let front = intake.peek(4)?;
    let name = match front.as_slice() {
        [0xff, 0x1f, 0, 0xe8] | [0xfe, 0x7f, 1, 0x80] | [0x7f, 0xfe, 0x80, 1] => "DTS in WAV",
        [0x72, 0xf8, 0x1f, 0x4e] => "AC-3 or DTS for S/PDIF in WAV",
        _ => return Ok(()),
    };
    Err(AudioError::UnsupportedCodec(name.into()))
}

/// Reads the chunk `fmt `.
fn describe(fmt: Vec<u8>, dialect: Dialect) -> Result<Header, AudioError> {
    if fmt.len() < SHORTEST_FMT {
        return Err(damaged("its WAV header is too short"));
    }
    let is_big_endian = dialect == Dialect::Rifx;
    let short = |at| {
        let bytes = bytes_at(&fmt, at);
        if is_big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        }
    };
    let rate = bytes_at(&fmt, 4);
    let rate = if is_big_endian {
        u32::from_be_bytes(rate)
    } else {
        u32::from_le_bytes(rate)
    };
    let (mut tag, channels, align, mut bits) = (short(0), short(2), short(12), short(14));
    if channels == 0 {
        return Err(AudioError::Channels(0));
    }
    let mut bytes = bits.div_ceil(8);
    // EXTENSIBLE adds the positions of loudspeakers, which do not matter in mono.
    if tag == EXTENSIBLE && fmt.len() >= 26 {
        tag = short(24);
        let valid = short(18);
        if (1..=bits).contains(&valid) && tag == PCM {
            bits = valid;
        }
    }
    // The block may have more bytes than the bits need.
    if align % channels == 0 && (bytes..=8).contains(&(align / channels)) {
        bytes = align / channels;
    }
    let samples = |kind| {
        let layout = Layout {
            kind,
            is_big_endian,
            bytes,
            bits,
        };
        Coding::Samples(layout)
    };
    let coding = match tag {
        PCM if bytes == 1 => samples(Kind::Unsigned),
        PCM => samples(Kind::Signed),
        FLOAT => samples(Kind::Float),
        A_LAW => Coding::ALaw,
        MU_LAW => Coding::MuLaw,
        ADPCM_MS | ADPCM_IMA if !is_big_endian => Coding::Adpcm(adpcm(fmt)?),
        0x31 | 0x32 => Coding::Voice(if align == 33 {
            Voice::Gsm
        } else {
            Voice::GsmPairs
        }),
        0x65 | 0x28f => Coding::Voice(Voice::G722),
        // MPEG audio, MP3, ADTS.
        0x50 | 0x55 | 0x1600 => Coding::Frames,
        other => return Err(AudioError::UnsupportedCodec(Tag(other).name())),
    };
    Ok(Header::of(coding, rate, channels))
}

/// The chunk `fmt ` of ADPCM without superfluous bytes.
fn adpcm(mut fmt: Vec<u8>) -> Result<Vec<u8>, AudioError> {
    let extra = usize::from(u16::from_le_bytes(bytes_at(&fmt, 16)));
    if fmt.len() < 18 + extra {
        return Err(damaged("its WAV header is too short"));
    }
    fmt.truncate(18 + extra);
    Ok(fmt)
}

/// The chunk `fmt ` of these samples, which WAV knows.
pub(super) fn fmt_of(layout: Layout, rate: u32, channels: u16) -> Vec<u8> {
    let tag = if layout.kind == Kind::Float {
        FLOAT
    } else {
        PCM
    };
    fmt(tag, rate, channels, layout.bytes * 8)
}

/// The chunk `fmt ` of samples with this many bits.
pub(super) fn fmt(tag: u16, rate: u32, channels: u16, bits: u16) -> Vec<u8> {
    let frame = bits / 8 * channels;
    let mut fmt = Vec::new();
    fmt.extend(tag.to_le_bytes());
    fmt.extend(channels.to_le_bytes());
    fmt.extend(rate.to_le_bytes());
    fmt.extend((rate * u32::from(frame)).to_le_bytes());
    fmt.extend(frame.to_le_bytes());
    fmt.extend(bits.to_le_bytes());
    if ![PCM, FLOAT].contains(&tag) {
        fmt.extend([0, 0]);
    }
    fmt
}

/// A WAV header up to its samples, which have this many bytes. `None` stands for an unknown number.
pub(super) fn header(mut fmt: Vec<u8>, len: Option<u64>) -> Vec<u8> {
    let len = len
        .and_then(|len| u32::try_from(len).ok())
        .unwrap_or(u32::MAX);
    let mut header = b"RIFF\xff\xff\xff\xffWAVEfmt ".to_vec();
    header.extend((fmt.len() as u32).to_le_bytes());
    if fmt.len() % 2 == 1 {
        fmt.push(0);
    }
    header.append(&mut fmt);
    header.extend(b"data");
    header.extend(len.to_le_bytes());
    header
}
