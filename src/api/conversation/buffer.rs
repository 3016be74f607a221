//! The audio of a conversation that is not passed on yet.

use bytes::Bytes;

/// By so many bytes the memory grows at least; at most twice as many are kept unused.
const GROWTH: usize = 4 * 1024;

/// Bytes with their positions in the conversation.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// Position of the first byte.
    start: u64,
    /// Not `BytesMut`, whose capacity says nothing of the memory before its first byte.
    bytes: Vec<u8>,
}

impl Buffer {
    /// Position of the first byte that is held.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Position after the last byte.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Add the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.bytes.capacity() - self.bytes.len() < bytes.len() {
            // Not twice as much, as a vector would grow by itself: every client has this.
            self.bytes.reserve_exact(bytes.len().max(GROWTH));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// A copy of at most `most` bytes from `position` on.
    pub(super) fn copy(&self, position: u64, most: usize) -> Bytes {
        let from = self.index(position);
        let to = self.bytes.len().min(from.saturating_add(most));
        Bytes::copy_from_slice(&self.bytes[from..to])
    }

    /// Drop all bytes before `position`.
    pub(super) fn drop_before(&mut self, position: u64) {
        let length = self.index(position);
        self.start += length as u64;
        self.bytes.drain(..length);
        let least = self.bytes.len() + GROWTH;
        if self.bytes.capacity() > least + GROWTH {
            self.bytes.shrink_to(least);
        }
    }

    /// Index of the byte at `position`, or of the nearest one that is held.
    fn index(&self, position: u64) -> usize {
        let offset = position.saturating_sub(self.start);
        usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_stay_those_of_the_whole() {
        let mut buffer = Buffer::default();
        buffer.push(b"abcdef");
        buffer.drop_before(2);
        assert_eq!((buffer.start(), buffer.end()), (2, 6));
        assert_eq!(&buffer.copy(3, 2)[..], b"de");
        assert_eq!(&buffer.copy(0, 100)[..], b"cdef");
        assert_eq!(&buffer.copy(9, 100)[..], b"");
        buffer.drop_before(100);
        assert_eq!((buffer.start(), buffer.end()), (6, 6));
        buffer.push(b"g");
        assert_eq!(&buffer.copy(6, 1)[..], b"g");
    }

    #[test]
    fn memory_is_given_back() {
        let mut buffer = Buffer::default();
        buffer.push(&vec![0; 1 << 20]);
        buffer.drop_before((1 << 20) - 10);
        assert_eq!(buffer.bytes.len(), 10);
        assert!(buffer.bytes.capacity() <= 10 + 2 * GROWTH);
        // As much as a silent client has, after bursts of 2 s.
        for _ in 0..100 {
            buffer.push(&[0; 96_000]);
            buffer.drop_before(buffer.end() - 40_000);
            assert!(buffer.bytes.capacity() <= 40_000 + 2 * GROWTH);
        }
    }
}
