//! The descriptor as demuxers see it: without tags or odd headers in front, and with bounded reads.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    sync::Arc,
};

use symphonia::core::io::MediaSource;

use super::{
    AudioError,
    intake::{Intake, Watch},
    raw::{self, Raw},
    wav::{self, Wav},
};

/// Most bytes that a demuxer may request at once. Demuxers read an object of claimed size in pieces
/// of 4, 8, 16 … MiB. Refusing the third piece bounds an object (a cover picture, a video frame) to
/// 12 MiB.
const LARGEST_READ: usize = 8 << 20;

/// Bytes that may be read before the first sample is decoded. The index of ten hours of MP4 with
/// video takes about 16 MiB; tags and tables take several times their size in memory.
const OPENING_BUDGET: u64 = 32 << 20;

/// The same for CAF, whose index takes 32 bytes of memory for each of its own: ten hours of AAC
/// have 3.5 MiB of index.
const CAF_OPENING_BUDGET: u64 = 4 << 20;

/// Largest number of ID3v2 tags before the audio. One is usual; two occur if a tagged file was
/// tagged again.
const MOST_TAGS: usize = 8;

/// A file as the demuxers see it: `head`, then the file from byte `body` on.
pub(super) struct Source {
    intake: Intake,
    head: Vec<u8>,
    body: u64,
    pos: u64,
    seekable: bool,
    /// True if the length was unknown when the header was written: audio lasts until the file ends.
    pub(super) open_ended: bool,
}

impl Source {
    /// Reads the front of `file`. It skips ID3v2 tags: they are not needed, and fewer parsers
    /// should see hostile bytes. It replaces the header of a WAV file by a plain one. For a file
    /// without any header it makes one from `raw`, the format of the samples, if that is given.
    pub(super) fn open(file: impl Into<Arc<File>>, raw: Option<Raw>) -> Result<Self, AudioError> {
        let mut intake = Intake::new(file.into())?;
        let mut head = intake.take(12)?;
        if head.is_empty() {
            return Err(AudioError::Empty);
        }
        if let Some(raw) = raw {
            match intake.len {
                // Samples written to a pipe as they come have no header to remove, so bytes that
                // look like one are sound.
                None => {
                    let head = [raw.stream_header()?, head].concat();
                    return Ok(Self::of(intake, head, true));
                }
                Some(len) if !raw::has_a_header(&head) => {
                    let whole = raw.whole(len);
                    intake.len = Some(whole);
                    intake.at = 0;
                    return Ok(Self::of(intake, raw.header(whole), false));
                }
                Some(_) => {}
            }
        }
        for _ in 0..MOST_TAGS {
            let Some(tag) = id3_len(&head) else { break };
            let rest = tag - head.len() as u64;
            // The tag claims more bytes than there are: search the bytes that exist instead of
            // giving up.
            if intake
                .len
                .is_some_and(|len| rest >= len.saturating_sub(intake.at))
            {
                break;
            }
            intake.skip(rest)?;
            head = intake.take(12)?;
        }
        let mut open_ended = false;
        // RF64 is a WAV file that may be longer than 4 GiB.
        let is_riff = head.starts_with(b"RIFF") || head.starts_with(b"RF64");
        if head.len() == 12 && is_riff && head.ends_with(b"WAVE") {
            let riff = wav::u32_at(&head, 4);
            let Wav { header, endless } = wav::read_header(&mut intake, riff)?;
            head = header;
            open_ended = endless;
        }
        Ok(Self::of(intake, head, open_ended))
    }

    /// `head`, followed by the bytes that were not read yet.
    fn of(intake: Intake, head: Vec<u8>, open_ended: bool) -> Self {
        intake.watch.allow(opening_budget(&head));
        let (body, seekable) = (intake.at, intake.len.is_some());
        Self {
            intake,
            head,
            body,
            pos: 0,
            seekable,
            open_ended,
        }
    }

    /// The same file again, to be read as if it came through a pipe; `None` if it does come through
    /// one.
    ///
    /// Demuxers give up a file whose end contradicts its front, but not a stream, of which they
    /// cannot see the end.
    pub(super) fn as_stream(&self) -> Option<Self> {
        self.seekable.then(|| {
            let watch = Arc::<Watch>::default();
            watch.allow(opening_budget(&self.head));
            let Intake { file, len, .. } = &self.intake;
            let intake = Intake {
                file: Arc::clone(file),
                len: *len,
                at: self.body,
                watch,
            };
            let (head, body, open_ended) = (self.head.clone(), self.body, self.open_ended);
            Self {
                intake,
                head,
                body,
                pos: 0,
                seekable: false,
                open_ended,
            }
        })
    }

    /// The record of events at the descriptor.
    pub(super) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.intake.watch)
    }

    fn len(&self) -> Option<u64> {
        let len = self.intake.len.filter(|_| self.seekable)?;
        Some(len.saturating_sub(self.body) + self.head.len() as u64)
    }
}

/// Number of bytes that the demuxer of a file with this head may read before it finds audio.
fn opening_budget(head: &[u8]) -> u64 {
    if head.starts_with(b"caff") {
        CAF_OPENING_BUDGET
    } else {
        OPENING_BUDGET
    }
}

/// Length in bytes of the ID3v2 tag that starts `head`, including the tag's header.
fn id3_len(head: &[u8]) -> Option<u64> {
    let header = head.get(..12).filter(|head| head.starts_with(b"ID3"))?;
    let size = &header[6..10];
    if size.iter().any(|byte| byte & 0x80 != 0) {
        return None;
    }
    let size = size
        .iter()
        .fold(0, |size, byte| size << 7 | u64::from(*byte));
    let footer = if header[5] & 0x10 == 0 { 0 } else { 10 };
    // The tag cannot be shorter than the bytes read to find it, and no tag with contents is.
    Some((10 + size + footer).max(12))
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.len() > LARGEST_READ || self.intake.watch.is_spent() {
            self.intake.watch.refuse();
            return Err(io::Error::other("more bytes than any recording needs"));
        }
        let read = match usize::try_from(self.pos)
            .ok()
            .and_then(|pos| self.head.get(pos..))
        {
            Some(rest) if !rest.is_empty() => {
                let count = rest.len().min(buf.len());
                buf[..count].copy_from_slice(&rest[..count]);
                count
            }
            _ => {
                if self.intake.len.is_some() {
                    self.intake.at = self.body.saturating_add(self.pos - self.head.len() as u64);
                }
                self.intake.read(buf)?
            }
        };
        self.intake.watch.spend(read);
        self.pos += read as u64;
        Ok(read)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let Some(len) = self.len() else {
            return Err(io::Error::new(
                ErrorKind::Unsupported,
                "a pipe cannot be sought",
            ));
        };
        let pos = match to {
            SeekFrom::Start(pos) => Some(pos),
            SeekFrom::Current(delta) => self.pos.checked_add_signed(delta),
            SeekFrom::End(delta) => len.checked_add_signed(delta),
        };
        self.pos = pos.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.pos)
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn byte_len(&self) -> Option<u64> {
        self.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tests::{memfd, pipe};

    fn open(file: File) -> Result<Source, AudioError> {
        Source::open(file, None)
    }

    fn read_all(file: File) -> Vec<u8> {
        let mut bytes = Vec::new();
        open(file).ok().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn id3(size: u8) -> Vec<u8> {
        let mut tag = b"ID3\x04\x00\x00\x00\x00\x00".to_vec();
        tag.push(size);
        tag.extend(vec![b'x'; size.into()]);
        tag
    }

    #[test]
    fn other_files_are_seen_as_they_are() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        assert_eq!(read_all(memfd(&bytes)), bytes);
        assert_eq!(read_all(pipe(bytes.clone())), bytes);
        assert_eq!(read_all(memfd(b"short")), b"short");
    }

    #[test]
    fn tags_in_front_are_passed_over() {
        let mut bytes = id3(100);
        bytes.extend(id3(20));
        bytes.extend(b"fLaC and so on");
        assert_eq!(read_all(memfd(&bytes)), b"fLaC and so on");
        assert_eq!(read_all(pipe(bytes)), b"fLaC and so on");
    }

    #[test]
    fn a_tag_that_claims_more_than_the_file_is_left_in_place() {
        let bytes = b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f and then the audio".to_vec();
        assert_eq!(read_all(memfd(&bytes)), bytes);
    }

    #[test]
    fn seeking_knows_the_head_and_leaves_the_shared_offset_alone() {
        let mut bytes = id3(50);
        bytes.extend(0..200);
        let mut file = memfd(&bytes);
        file.seek(SeekFrom::Start(7)).unwrap();
        let mut source = open(file.try_clone().unwrap()).ok().unwrap();
        assert_eq!(source.byte_len(), Some(200));
        let mut four = [0; 4];
        for (to, expected) in [
            (SeekFrom::Start(10), [10, 11, 12, 13]),
            (SeekFrom::Current(100), [114, 115, 116, 117]),
            (SeekFrom::End(-4), [196, 197, 198, 199]),
        ] {
            source.seek(to).unwrap();
            source.read_exact(&mut four).unwrap();
            assert_eq!(four, expected);
        }
        assert!(source.seek(SeekFrom::End(-201)).is_err());
        assert_eq!(file.stream_position().unwrap(), 7);
    }

    #[test]
    fn a_file_can_be_read_once_more_as_a_stream() {
        let bytes = [id3(50), (0..200).collect()].concat();
        let mut source = open(memfd(&bytes)).ok().unwrap();
        let mut again = source.as_stream().unwrap();
        source.seek(SeekFrom::Start(100)).unwrap();
        assert!(!again.is_seekable() && again.byte_len().is_none());
        assert!(again.seek(SeekFrom::Start(0)).is_err());
        let mut read = Vec::new();
        again.read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes[60..]);
        assert!(again.as_stream().is_none());
        assert!(open(pipe(bytes)).ok().unwrap().as_stream().is_none());
    }

    #[test]
    fn endless_search_and_giant_objects_are_refused() {
        let mut source = open(memfd(&[1; 4096])).ok().unwrap();
        assert!(source.read(&mut vec![0; LARGEST_READ + 1]).is_err());
        assert!(source.watch().refused());
        let file = memfd(&[1; 4096]);
        file.set_len(2 * OPENING_BUDGET).unwrap();
        let mut source = open(file).ok().unwrap();
        let mut read = 0;
        while let Ok(more) = source.read(&mut [0; 4096]) {
            read += more as u64;
        }
        assert!(read.abs_diff(OPENING_BUDGET) <= 4096, "{read} bytes");
        assert!(source.watch().refused());
    }

    #[test]
    fn the_descriptor_s_own_errors_are_told() {
        let write_only = File::options().write(true).open("/dev/null").unwrap();
        assert!(matches!(open(write_only), Err(AudioError::Read(_))));
    }
}
