//! The boxes of MP4 and MOV: their headers in a stream, and numbers in the bytes of one box.

use std::io::{self, Seek as _, SeekFrom};

use symphonia::core::io::{MediaSource as _, MediaSourceStream, ReadBytes as _};

/// Shortest distance that is sought instead of read, in bytes: that of the stream's buffer.
const WORTH_SEEKING: u64 = 64 << 10;

/// Header of a box in a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) kind: [u8; 4],
    /// Position of the header's first byte.
    pub(super) start: u64,
    /// Position of the first byte of the contents.
    pub(super) body: u64,
    /// Position behind the contents; `u64::MAX` if they last until the file ends.
    pub(super) end: u64,
}

impl Header {
    /// True if a box of this kind and size can be where it was found.
    pub(super) fn is_plausible(&self) -> bool {
        let printable = |byte: &u8| byte.is_ascii_graphic() || [b' ', 0xa9].contains(byte);
        self.end >= self.body && self.kind.iter().all(printable)
    }

    /// Length of the contents in bytes.
    pub(super) fn len(&self) -> u64 {
        self.end.saturating_sub(self.body)
    }
}

/// Read the header of the box at the stream's position.
pub(super) fn header(stream: &mut MediaSourceStream<'_>) -> io::Result<Header> {
    let start = stream.pos();
    let size = stream.read_be_u32()?;
    let kind = stream.read_quad_bytes()?;
    let size = match size {
        0 => u64::MAX,
        1 => stream.read_be_u64()?,
        size => size.into(),
    };
    Ok(Header {
        kind,
        start,
        body: stream.pos(),
        end: start.saturating_add(size),
    })
}

/// Go to `position`; backwards only in a stream that can seek.
pub(in crate::audio) fn go(stream: &mut MediaSourceStream<'_>, position: u64) -> io::Result<()> {
    match position.checked_sub(stream.pos()) {
        Some(0) => Ok(()),
        Some(ahead) if ahead < WORTH_SEEKING || !stream.is_seekable() => stream.ignore_bytes(ahead),
        _ => stream.seek(SeekFrom::Start(position)).map(drop),
    }
}

/// Read the contents of a box. Fails before it allocates much if the bytes do not exist.
pub(super) fn contents(stream: &mut MediaSourceStream<'_>, of: &Header) -> io::Result<Box<[u8]>> {
    let len = usize::try_from(of.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.read_boxed_slice_exact(len)
}

/// The boxes inside the bytes of another one: kind and contents. Stops at the first bad size.
pub(super) fn children(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let size = match u32_at(bytes, 0)? {
            0 => bytes.len(),
            size => size as usize,
        };
        let kind = *bytes.get(4..)?.first_chunk()?;
        let body = bytes.get(8..size)?;
        bytes = &bytes[size..];
        Some((kind, body))
    })
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|two| u16::from_be_bytes(*two))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|four| u32::from_be_bytes(*four))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|eight| u64::from_be_bytes(*eight))
}

/// A number that has 8 bytes in version 1 of a box and 4 in version 0.
pub(super) fn wide_at(bytes: &[u8], at: usize, wide: bool) -> Option<u64> {
    if wide {
        u64_at(bytes, at)
    } else {
        u32_at(bytes, at).map(u64::from)
    }
}
