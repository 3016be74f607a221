//! The elements of Matroska and WebM: their headers in a stream, and values in the bytes of one.

use std::io;

use symphonia::core::io::{MediaSourceStream, ReadBytes as _};

use crate::audio::mp4::boxes::go;

pub(super) const EBML: u32 = 0x1a45_dfa3;
pub(super) const SEGMENT: u32 = 0x1853_8067;
pub(super) const INFO: u32 = 0x1549_a966;
pub(super) const TRACKS: u32 = 0x1654_ae6b;
pub(super) const CLUSTER: u32 = 0x1f43_b675;
pub(super) const TIMESTAMP: u32 = 0xe7;
pub(super) const SIMPLE_BLOCK: u32 = 0xa3;
pub(super) const BLOCK_GROUP: u32 = 0xa0;
pub(super) const BLOCK: u32 = 0xa1;
pub(super) const BLOCK_DURATION: u32 = 0x9b;
pub(super) const DISCARD_PADDING: u32 = 0x75a2;

/// All other elements that can be where blocks are: indexes, tags, pictures, and children of
/// clusters and groups that say nothing about sound.
const OTHERS: [u32; 18] = [
    0x114d_9b74,
    0x1c53_bb6b,
    0x1254_c367,
    0x1941_a469,
    0x1043_a770,
    0xec,
    0xbf,
    0xa7,
    0xab,
    0x5854,
    0xaf,
    0x75a1,
    0xfa,
    0xfb,
    0xfd,
    0xa4,
    0x8e,
    0xa2,
];

/// Header of an element in a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    pub(super) id: u32,
    /// Position behind the contents; `None` if it is not known.
    pub(super) end: Option<u64>,
    /// Number of bytes of the contents; 0 if it is not known.
    pub(super) len: u64,
}

impl Element {
    /// True if an element with this name can be among the blocks.
    pub(super) fn is_known(&self) -> bool {
        let ours = [
            EBML,
            SEGMENT,
            INFO,
            TRACKS,
            CLUSTER,
            TIMESTAMP,
            SIMPLE_BLOCK,
            BLOCK_GROUP,
            BLOCK,
            BLOCK_DURATION,
            DISCARD_PADDING,
        ];
        ours.contains(&self.id) || OTHERS.contains(&self.id)
    }

    /// True for elements whose contents are walked through one by one.
    pub(super) fn is_entered(&self) -> bool {
        [SEGMENT, CLUSTER, BLOCK_GROUP].contains(&self.id)
    }
}

/// Read the header of the next element; `None` if the bytes are none.
pub(super) fn element(stream: &mut MediaSourceStream<'_>) -> io::Result<Option<Element>> {
    let first = stream.read_byte()?;
    let more = first.leading_zeros();
    if more > 3 {
        return Ok(None);
    }
    let mut id = u32::from(first);
    for _ in 0..more {
        id = id << 8 | u32::from(stream.read_byte()?);
    }
    let Some(len) = number(stream)? else {
        return Ok(None);
    };
    let end = len.map(|len| stream.pos().saturating_add(len));
    let len = len.unwrap_or(0);
    Ok(Some(Element { id, end, len }))
}

/// Read a number of variable length: `Some(None)` if all its bits are set, which means unknown.
pub(super) fn number(stream: &mut MediaSourceStream<'_>) -> io::Result<Option<Option<u64>>> {
    let first = stream.read_byte()?;
    let more = first.leading_zeros();
    if more > 7 {
        return Ok(None);
    }
    let mut number = u64::from(first) & (0x7f >> more);
    for _ in 0..more {
        number = number << 8 | u64::from(stream.read_byte()?);
    }
    let unknown = (1 << (7 * (more + 1))) - 1;
    Ok(Some((number != unknown).then_some(number)))
}

/// Read the contents of an element as an unsigned number, and stop behind it.
pub(super) fn unsigned(stream: &mut MediaSourceStream<'_>, of: &Element) -> io::Result<u64> {
    let mut number = 0;
    for _ in 0..of.len.min(8) {
        number = number << 8 | u64::from(stream.read_byte()?);
    }
    leave(stream, of)?;
    Ok(number)
}

/// Go behind an element whose length is known.
pub(super) fn leave(stream: &mut MediaSourceStream<'_>, of: &Element) -> io::Result<()> {
    of.end.map_or(Ok(()), |end| go(stream, end))
}

/// Read the contents of an element. Fails before it allocates much if the bytes do not exist.
pub(super) fn contents(stream: &mut MediaSourceStream<'_>, of: &Element) -> io::Result<Box<[u8]>> {
    let len = usize::try_from(of.len).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.read_boxed_slice_exact(len)
}

/// A number of variable length in front of `bytes`, and its length.
pub(super) fn number_in(bytes: &[u8]) -> Option<(u64, usize)> {
    let more = bytes.first()?.leading_zeros() as usize;
    let rest = bytes.get(1..=more).filter(|_| more < 8)?;
    let first = u64::from(bytes[0]) & (0x7f >> more);
    let number = rest
        .iter()
        .fold(first, |number, byte| number << 8 | u64::from(*byte));
    Some((number, more + 1))
}

/// The elements inside the bytes of another one: name and contents. Stops at the first bad size.
pub(super) fn children(mut bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let name = bytes.first()?.leading_zeros() as usize + 1;
        let id = bytes.get(..name).filter(|_| name <= 4)?;
        let id = id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
        let (len, width) = number_in(&bytes[name..])?;
        let body = name + width;
        let end = body.checked_add(usize::try_from(len).ok()?)?;
        let contents = bytes.get(body..end)?;
        bytes = &bytes[end..];
        Some((id, contents))
    })
}

/// The first child with this name.
pub(super) fn child(bytes: &[u8], id: u32) -> Option<&[u8]> {
    children(bytes)
        .find(|child| child.0 == id)
        .map(|child| child.1)
}

/// Value of the first child with this name as an unsigned number.
pub(super) fn unsigned_child(bytes: &[u8], id: u32) -> Option<u64> {
    let value = child(bytes, id)?;
    let value = value.get(..value.len().min(8))?.iter();
    Some(value.fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Value of the first child with this name as a floating-point number.
pub(super) fn float_child(bytes: &[u8], id: u32) -> Option<f64> {
    let value = child(bytes, id)?;
    match value.len() {
        4 => Some(f32::from_be_bytes(value.try_into().ok()?).into()),
        8 => Some(f64::from_be_bytes(value.try_into().ok()?)),
        _ => None,
    }
}

/// An element with these contents.
pub(super) fn wrap(id: u32, contents: &[u8]) -> Vec<u8> {
    let name = id.to_be_bytes();
    let unused = id.leading_zeros() as usize / 8;
    let len = (contents.len() as u64 | 1 << 56).to_be_bytes();
    [&name[unused..], &len, contents].concat()
}
