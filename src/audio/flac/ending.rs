//! Finds the end of the last frame of FLAC, by its checksum: the format does not tell lengths.

use symphonia::core::{
    checksum::{Crc8Ccitt, Crc16Ansi},
    io::Monitor as _,
};

use super::super::magic;

/// Most places that are taken for the beginning of the last frame. Its data look like one in a few
/// files of a million.
const MOST_STARTS: usize = 8;

/// Beginnings of the tags that programs put behind a recording.
const TAGS: [&[u8]; 4] = [b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3"];

/// Zeros that are taken for filling up to the end.
const ZEROS: usize = 512;

/// The bytes behind the last frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing that could be heard.
    Tags,
    /// Another file.
    Recording,
}

/// Number of bytes up to the end of the last frame that begins in `bytes`, and what follows it;
/// `None` if no frame ends before a tag, zeros, another file, or the end.
pub(super) fn of(bytes: &[u8]) -> Option<(usize, Rest)> {
    let starts = (0..bytes.len()).rev();
    let starts = starts.filter(|at| header_len(&bytes[*at..]).is_some());
    starts.take(MOST_STARTS).find_map(|at| {
        let (len, rest) = of_frame(&bytes[at..])?;
        Some((at + len, rest))
    })
}

/// Length of the frame that begins here. The checksum at its end makes that of the whole 0; so do
/// other bytes, now and then.
fn of_frame(bytes: &[u8]) -> Option<(usize, Rest)> {
    let header = header_len(bytes)?;
    let mut sum = Crc16Ansi::new(0);
    for (place, byte) in bytes.iter().enumerate() {
        sum.process_byte(*byte);
        if place > header
            && sum.crc() == 0
            && let Some(rest) = rest(&bytes[place + 1..])
        {
            return Some((place + 1, rest));
        }
    }
    None
}

/// The kind of these bytes, if they are no part of a frame.
fn rest(bytes: &[u8]) -> Option<Rest> {
    let front = &bytes[..bytes.len().min(ZEROS)];
    if front.iter().all(|byte| *byte == 0) || TAGS.iter().any(|tag| bytes.starts_with(tag)) {
        return Some(Rest::Tags);
    }
    magic::is_certain(&bytes[..bytes.len().min(magic::CERTAIN)]).then_some(Rest::Recording)
}

/// Length of the header of a frame that begins here; RFC 9639, 9.1.
fn header_len(bytes: &[u8]) -> Option<usize> {
    let [0xff, 0xf8 | 0xf9, third, fourth, number, ..] = bytes else {
        return None;
    };
    let (size, rate) = (third >> 4, third & 15);
    let (channels, depth) = (fourth >> 4, fourth >> 1 & 7);
    if size == 0 || rate == 15 || channels > 10 || depth == 3 || fourth & 1 != 0 {
        return None;
    }
    // Like a character of UTF-8.
    let number = match number.leading_ones() {
        0 => 1,
        len @ 2..=7 => len as usize,
        _ => return None,
    };
    let size = match size {
        6 => 1,
        7 => 2,
        _ => 0,
    };
    let rate = match rate {
        12 => 1,
        13 | 14 => 2,
        _ => 0,
    };
    let len = 4 + number + size + rate;
    let mut sum = Crc8Ccitt::new(0);
    sum.process_buf_bytes(bytes.get(..len)?);
    (bytes.get(len) == Some(&sum.crc())).then_some(len + 1)
}
