//! Headers of MPEG audio frames (layers 1 to 3) and of ADTS frames (AAC), and runs of them.
//!
//! One header is 12 certain bits, so noise is full of them. Several in a row, each where the one
//! before says that it is, are proof.

/// Bits of an MPEG header that do not change within a stream: version, layer, sample rate.
const SAME_MPEG: [u8; 4] = [0xff, 0xfe, 0x0c, 0];

/// The same of ADTS: version, profile, sample rate.
const SAME_ADTS: [u8; 4] = [0xff, 0xfe, 0xfc, 0];

/// Bytes of the longest header: ADTS without its checksum.
pub(super) const HEADER: usize = 7;

/// Samples in a block of AAC-LC; an ADTS frame has one to four blocks.
const AAC_BLOCK: u32 = 1024;

/// ISO/IEC 14496-3, table 1.16.
const AAC_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Bit rates in kbit/s by index from 1, ISO/IEC 11172-3 and 13818-3: version 1 with layers 1 to 3,
/// then version 2 with layer 1 and with layers 2 and 3.
const BIT_RATES: [[u32; 14]; 5] = [
    [
        32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448,
    ],
    [
        32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384,
    ],
    [
        32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ],
    [
        32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256,
    ],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// Sort of the frames in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// MPEG audio of this layer, 1 to 3.
    Mpeg(u8),
    /// AAC in ADTS.
    Adts,
}

/// One frame, as its header describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) sort: Sort,
    /// Length in bytes, with the header.
    pub(super) len: usize,
    /// Bytes to remove in front before it is decoded: MPEG's header belongs to the frame.
    pub(super) header: usize,
    /// Samples of each channel.
    pub(super) samples: u32,
    /// In hertz.
    pub(super) rate: u32,
    /// Number of channels; 0 if the data themselves tell.
    pub(super) channels: u8,
    /// The bits that all headers of a stream share.
    same: [u8; 4],
}

impl Frame {
    /// The frame that starts with these bytes.
    pub(super) fn at(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; HEADER] = bytes.first_chunk()?;
        if head[0] != 0xff {
            return None;
        }
        match head[1] & 0xf6 {
            0xf0 => Self::adts(head),
            second if second & 0xe0 == 0xe0 => Self::mpeg(head),
            _ => None,
        }
    }

    fn mpeg(head: &[u8; HEADER]) -> Option<Self> {
        let (version, layer) = (head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3));
        let (bit_rate, rate) = (usize::from(head[2] >> 4), usize::from(head[2] >> 2 & 3));
        // Version 1 and bit rate 0 are reserved and "free"; MPEG 2.5 knows layer 3 only.
        if version == 1 || layer == 4 || bit_rate == 0 || bit_rate == 15 || rate == 3 {
            return None;
        }
        if version == 0 && layer != 3 {
            return None;
        }
        let halved = version != 3;
        let table = match (halved, layer) {
            (false, layer) => usize::from(layer) - 1,
            (true, 1) => 3,
            (true, _) => 4,
        };
        let bits = BIT_RATES[table][bit_rate - 1] * 1000;
        let rate = [44_100, 48_000, 32_000][rate] >> [2, 0, 1, 0][usize::from(version)];
        let padding = u32::from(head[2] >> 1 & 1);
        let (samples, len) = match layer {
            1 => (384, (12 * bits / rate + padding) * 4),
            3 if halved => (576, 72 * bits / rate + padding),
            _ => (1152, 144 * bits / rate + padding),
        };
        Some(Self {
            sort: Sort::Mpeg(layer),
            len: len as usize,
            header: 0,
            samples,
            rate,
            channels: if head[3] >> 6 == 3 { 1 } else { 2 },
            same: masked(head, SAME_MPEG),
        })
    }

    fn adts(head: &[u8; HEADER]) -> Option<Self> {
        let len = usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3;
        let len = len | usize::from(head[5] >> 5);
        let header = if head[1] & 1 == 0 { 9 } else { 7 };
        let rate = *AAC_RATES.get(usize::from(head[2] >> 2 & 15))?;
        let channels = (head[2] & 1) << 2 | head[3] >> 6;
        (len > header).then_some(Self {
            sort: Sort::Adts,
            len,
            header,
            samples: AAC_BLOCK * (u32::from(head[6] & 3) + 1),
            rate,
            channels: if channels == 7 { 8 } else { channels },
            same: masked(head, SAME_ADTS),
        })
    }

    /// True if both can be frames of one stream.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.same == other.same
    }
}

fn masked(head: &[u8; HEADER], mask: [u8; 4]) -> [u8; 4] {
    std::array::from_fn(|n| head[n] & mask[n])
}

/// The first frame in `bytes` at which a run starts, and its place: a run is as many frames of one
/// stream in a row as `wanted` says for its place. Fewer do if they end where the file does;
/// `is_all` tells that nothing follows `bytes`.
pub(super) fn first_run(
    bytes: &[u8],
    is_all: bool,
    wanted: impl Fn(usize) -> usize,
) -> Option<(usize, Frame)> {
    let starts = bytes.windows(2).enumerate();
    let starts = starts.filter(|(_, two)| two[0] == 0xff && two[1] >= 0xe0);
    for (at, _) in starts {
        let Some(first) = Frame::at(&bytes[at..]) else {
            continue;
        };
        if is_run(&bytes[at..], &first, is_all, wanted(at)) {
            return Some((at, first));
        }
    }
    None
}

/// True if a run of so many frames starts here.
pub(super) fn begins_run(bytes: &[u8], wanted: usize) -> bool {
    let first = Frame::at(bytes);
    first.is_some_and(|first| is_run(bytes, &first, false, wanted))
}

fn is_run(bytes: &[u8], first: &Frame, is_all: bool, wanted: usize) -> bool {
    let (mut at, mut count) = (first.len, 1);
    while count < wanted {
        let rest = bytes.get(at..).unwrap_or_default();
        match Frame::at(rest).filter(|frame| frame.is_like(first)) {
            Some(frame) => at += frame.len,
            // A tag of ID3v1, APE or Lyrics may be the last.
            None => {
                let tags: [&[u8]; 4] = [b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3"];
                let is_end = rest.len() < HEADER || tags.iter().any(|tag| rest.starts_with(tag));
                return is_all && is_end && count > 1;
            }
        }
        count += 1;
    }
    true
}
