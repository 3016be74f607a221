//! One track as its entry in the file describes it.

use std::io::Cursor;

use symphonia::{
    core::{
        audio::Channels,
        codecs::{
            CodecParameters,
            audio::{AudioCodecParameters, well_known as codec},
            subtitle::SubtitleCodecParameters,
            video::VideoCodecParameters,
        },
        formats::{FormatReader as _, Track, TrackFlags},
        io::MediaSourceStream,
        units::TimeBase,
    },
    default::formats::MkvReader,
};

use super::ebml::{
    CLUSTER, EBML, INFO, SEGMENT, TRACKS, child, children, float_child, unsigned_child, wrap,
};
use crate::audio::containers::described;

/// Longest decompressed packet, in bytes.
const LONGEST_INFLATED: usize = 4 << 20;

/// Nanoseconds as the unit of time stamps.
pub(super) fn nanoseconds() -> Option<TimeBase> {
    TimeBase::try_new(1, 1_000_000_000)
}

/// Packing that must be undone in each packet.
#[derive(Debug)]
pub(super) enum Packing {
    Plain,
    Deflated,
    /// These bytes were taken from the front.
    Stripped(Box<[u8]>),
}

impl Packing {
    /// Restore a packet; `None` if it is damaged or absurdly long.
    pub(super) fn restore(&self, packet: &[u8]) -> Option<Box<[u8]>> {
        match self {
            Self::Plain => Some(packet.into()),
            Self::Stripped(front) => Some([front, packet].concat().into()),
            Self::Deflated => {
                let inflate = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;
                inflate(packet, LONGEST_INFLATED)
                    .ok()
                    .map(Vec::into_boxed_slice)
            }
        }
    }

    /// Read `ContentEncodings`; `None` if a part of it is not supported.
    fn read(entry: &[u8]) -> Option<Self> {
        let Some(encodings) = child(entry, 0x6d80) else {
            return Some(Self::Plain);
        };
        let mut all = children(encodings).filter(|(id, _)| *id == 0x6240);
        let Some((_, encoding)) = all.next() else {
            return Some(Self::Plain);
        };
        let only_packets = unsigned_child(encoding, 0x5032).unwrap_or(1) == 1;
        let is_compression = unsigned_child(encoding, 0x5033).unwrap_or(0) == 0;
        if all.next().is_some() || !only_packets || !is_compression {
            return None;
        }
        let compression = child(encoding, 0x5034).unwrap_or_default();
        match unsigned_child(compression, 0x4254).unwrap_or(0) {
            0 => Some(Self::Deflated),
            3 => Some(Self::Stripped(
                child(compression, 0x4255).unwrap_or_default().into(),
            )),
            _ => None,
        }
    }
}

/// A track, and what its packets need.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) track: Track,
    pub(super) is_sound: bool,
    pub(super) packing: Packing,
    /// Frames that only prime the decoder, and length of a packet, in nanoseconds.
    pub(super) delay: u64,
    pub(super) duration: u64,
    /// Time of its last block, in nanoseconds, if there was one.
    pub(super) last: Option<i64>,
}

impl Entry {
    /// Reads a `TrackEntry`; `None` without a number.
    pub(super) fn read(entry: &[u8]) -> Option<Self> {
        let number = u32::try_from(unsigned_child(entry, 0xd7)?).ok()?;
        let kind = unsigned_child(entry, 0x83).unwrap_or(0);
        let packing = Packing::read(entry);
        let mut track = Track::new(number);
        track.time_base = nanoseconds();
        if let Some(language) = child(entry, 0x22_b59d).or_else(|| child(entry, 0x22_b59c)) {
            let letters = language
                .iter()
                .filter(|byte| byte.is_ascii_graphic())
                .take(35);
            let language: String = letters.map(|byte| char::from(*byte)).collect();
            track.with_language(&language);
        }
        let is_set = |id: u32| unsigned_child(entry, id).unwrap_or(1) == 1;
        if is_set(0x88) && is_set(0xb9) {
            track.with_flags(TrackFlags::DEFAULT);
        }
        track.codec_params = match kind {
            1 => Some(CodecParameters::Video(VideoCodecParameters::default())),
            2 => packing
                .as_ref()
                .and_then(|_| samples(entry).or_else(|| describe(entry))),
            _ => Some(CodecParameters::Subtitle(SubtitleCodecParameters::default())),
        };
        Some(Self {
            track,
            is_sound: kind == 2,
            packing: packing.unwrap_or(Packing::Plain),
            delay: unsigned_child(entry, 0x56aa).unwrap_or(0),
            duration: unsigned_child(entry, 0x23_e383).unwrap_or(0),
            last: None,
        })
    }
}

/// Samples of which Symphonia does not read the description: those of 8 bits, and those that are
/// described as in WAV. Other codecs that WAV has a number for are named only.
fn samples(entry: &[u8]) -> Option<CodecParameters> {
    let codec = child(entry, 0x86)?;
    let params = match codec.split(|byte| *byte == 0).next()? {
        b"A_MS/ACM" => described(child(entry, 0x63a2)?)?,
        b"A_PCM/INT/LIT" | b"A_PCM/INT/BIG" => {
            let audio = child(entry, 0xe1)?;
            let channels = unsigned_child(audio, 0x9f).unwrap_or(1);
            let rate = float_child(audio, 0xb5).unwrap_or(8000.0);
            let channels = u16::try_from(channels).ok().filter(|count| *count > 0)?;
            let is_byte = unsigned_child(audio, 0x6264) == Some(8);
            let mut params = AudioCodecParameters::new();
            params
                .for_codec(codec::CODEC_ID_PCM_U8)
                .with_sample_rate(rate as u32)
                .with_channels(Channels::Discrete(channels))
                .with_max_frames_per_packet(1 << 16);
            is_byte.then_some(params)?
        }
        _ => return None,
    };
    Some(CodecParameters::Audio(params))
}

/// Lets Symphonia read the codec's description, in a file made for this track alone.
fn describe(entry: &[u8]) -> Option<CodecParameters> {
    let head = [
        wrap(0x4286, &[1]),
        wrap(0x42f7, &[1]),
        wrap(0x42f2, &[4]),
        wrap(0x42f3, &[8]),
        wrap(0x4282, b"matroska"),
        wrap(0x4287, &[4]),
        wrap(0x4285, &[2]),
    ];
    let info = [
        wrap(0x2a_d7b1, &1_000_000_u32.to_be_bytes()),
        wrap(0x4d80, b"x"),
        wrap(0x5741, b"x"),
    ];
    let segment = [
        wrap(INFO, &info.concat()),
        wrap(TRACKS, &wrap(0xae, entry)),
        wrap(CLUSTER, &wrap(0xe7, &[0])),
    ];
    let file = [wrap(EBML, &head.concat()), wrap(SEGMENT, &segment.concat())].concat();
    let stream = MediaSourceStream::new(Box::new(Cursor::new(file)), Default::default());
    let reader = MkvReader::try_new(stream, Default::default()).ok()?;
    reader.tracks().first()?.codec_params.clone()
}
