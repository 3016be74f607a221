//! The descriptor as demuxers see it: without tags or odd headers in front, and with bounded reads.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    sync::Arc,
};

use symphonia::core::io::MediaSource;

use super::{
    AudioError, Hint,
    headers::{self, Demuxer, Opening},
    intake::{Intake, Watch},
    magic::{self, Format},
    raw::{self, Raw},
    samples::Converter,
    tags::{ape_len, id3_len},
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

/// Largest number of tags before the audio. One is usual; two occur if a tagged file was
/// tagged again.
const MOST_TAGS: usize = 8;

/// Bytes of the longest page of Ogg (RFC 3533): the last one begins no earlier before the end.
const LONGEST_PAGE: u64 = 65_307;

/// A file as the demuxers see it: `head`, then the file from byte `body` on.
pub(super) struct Source {
    intake: Intake,
    head: Vec<u8>,
    body: u64,
    pos: u64,
    seekable: bool,
    /// Turns what follows the head into other samples.
    converter: Option<Converter>,
    /// Converted bytes, and how many of them were read.
    converted: (Vec<u8>, usize),
    /// The demuxer that reads it.
    pub(super) demuxer: Demuxer,
    /// True if the length was unknown when the header was written: audio lasts until the file ends.
    pub(super) open_ended: bool,
    /// Warnings for the sender.
    pub(super) warnings: Vec<String>,
}

impl Source {
    /// Reads the front of `file`, and decides what it is. It skips tags: they are not needed, and
    /// fewer parsers should see hostile bytes. It replaces the headers of many formats by a plain
    /// one. For a file without any header it makes one from the media type that `hint` gives.
    ///
    /// # Errors
    /// The file is empty or cannot be read; its format is not known or not read; its header is
    /// damaged; or it has none, and the media type does not describe it.
    pub(super) fn open(file: impl Into<Arc<File>>, hint: Hint<'_>) -> Result<Self, AudioError> {
        let mut intake = Intake::new(file.into())?;
        let front = intake.peek(12)?;
        if front.is_empty() {
            return Err(AudioError::Empty);
        }
        // Samples written to a pipe as they come have no header to remove, so bytes that look like
        // one are sound.
        let is_headless = hint.mime.is_some()
            && (intake.len.is_none() || !magic::is_certain(&intake.peek(magic::CERTAIN)?));
        if is_headless && let Some(raw) = hint.mime.map(Raw::of).transpose()?.flatten() {
            intake.len = intake.len.map(|len| raw.whole(len));
            let opening = Opening::of(raw.header(), &mut intake)?;
            return Ok(Self::of(intake, opening));
        }
        skip_tags(&mut intake)?;
        let front = intake.peek(magic::FRONT)?;
        let format = magic::format(&front)?;
        let opening = match format {
            Format::Unknown if magic::is_program_stream(&intake.peek(magic::CERTAIN)?) => {
                Opening::plain(Format::Ps)
            }
            Format::Unknown => {
                let (skip, sort) = magic::frames(&mut intake).map_err(|error| match error {
                    AudioError::Corrupt(_) => unknown(hint),
                    error => error,
                })?;
                intake.skip(skip)?;
                Opening::plain(Format::Frames(sort))
            }
            Format::Caf => headers::caf(&mut intake)?,
            format => match headers::read(format, &mut intake)? {
                Some(header) => Opening::of(header, &mut intake)?,
                None => Opening::plain(format),
            },
        };
        Ok(Self::of(intake, opening))
    }

    /// The opening's head, followed by the bytes that were not read yet.
    fn of(intake: Intake, opening: Opening) -> Self {
        let Opening {
            head,
            converter,
            demuxer,
            is_open_ended,
            warnings,
        } = opening;
        intake.watch.allow(opening_budget(demuxer));
        let (body, seekable) = (intake.at, intake.len.is_some() && converter.is_none());
        Self {
            intake,
            head,
            body,
            pos: 0,
            seekable,
            converter,
            converted: (Vec::new(), 0),
            demuxer,
            open_ended: is_open_ended,
            warnings,
        }
    }

    /// The same file again, to be read as if it came through a pipe; `None` if it does come through
    /// one.
    ///
    /// Demuxers give up a file whose end contradicts its front, but not a stream, of which they
    /// cannot see the end.
    pub(super) fn as_stream(&self) -> Option<Self> {
        let again = self.again()?;
        Some(Self {
            seekable: false,
            ..again
        })
    }

    /// The same file again; `None` if it comes through a pipe.
    pub(super) fn again(&self) -> Option<Self> {
        self.seekable.then(|| {
            let opening = Opening {
                head: self.head.clone(),
                converter: None,
                demuxer: self.demuxer,
                is_open_ended: self.open_ended,
                warnings: self.warnings.clone(),
            };
            Self::of(self.intake.again(self.body), opening)
        })
    }

    /// Where the last page of an Ogg file ends, in samples of its stream; `None` for a pipe or for
    /// another format. It may be a lie.
    pub(super) fn last_granule(&self) -> Option<u64> {
        let Demuxer::Of(Format::Ogg) = self.demuxer else {
            return None;
        };
        let len = self.intake.len?;
        let mut tail = vec![0; usize::try_from(len.min(LONGEST_PAGE)).ok()?];
        let start = len - tail.len() as u64;
        let read = self.intake.file.read_at(&mut tail, start).ok()?;
        tail.truncate(read);
        let page = tail.windows(4).rposition(|bytes| bytes == b"OggS")?;
        let granule = tail.get(page + 6..)?.first_chunk()?;
        u64::try_from(i64::from_le_bytes(*granule)).ok()
    }

    /// The record of events at the descriptor.
    pub(super) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.intake.watch)
    }

    /// Reads samples that the header of the file did not describe in this way.
    fn read_converted(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (bytes, done) = &mut self.converted;
        if *done == bytes.len()
            && let Some(converter) = &mut self.converter
        {
            bytes.clear();
            *done = 0;
            converter.convert(&mut self.intake, bytes)?;
        }
        let count = buf.len().min(bytes.len() - *done);
        buf[..count].copy_from_slice(&bytes[*done..*done + count]);
        *done += count;
        Ok(count)
    }

    fn len(&self) -> Option<u64> {
        let len = self.intake.len.filter(|_| self.seekable)?;
        Some(len.saturating_sub(self.body) + self.head.len() as u64)
    }
}

/// Number of bytes that this demuxer may read before it finds audio.
fn opening_budget(demuxer: Demuxer) -> u64 {
    match demuxer {
        Demuxer::Of(Format::Caf) => CAF_OPENING_BUDGET,
        _ => OPENING_BUDGET,
    }
}

/// The error for a file that is not known.
fn unknown(hint: Hint<'_>) -> AudioError {
    let headerless = raw::without_header(hint.extension);
    headerless.unwrap_or_else(|| AudioError::Unsupported(described(hint)))
}

/// The sender's description of the file, made short and harmless for a message.
fn described(hint: Hint<'_>) -> String {
    let harmless = |text: &str| -> String {
        let keep = |c: &char| c.is_ascii_alphanumeric() || "/.+-".contains(*c);
        text.chars().filter(keep).take(32).collect()
    };
    match (hint.extension, hint.mime) {
        (Some(extension), _) => format!("it came as .{}", harmless(extension)),
        (None, Some(mime)) => {
            let essence = mime.split(';').next().unwrap_or(mime);
            format!("it came as {}", harmless(essence))
        }
        (None, None) => "its first megabyte shows no known header".into(),
    }
}

/// Skips tags in front of the audio.
fn skip_tags(intake: &mut Intake) -> Result<(), AudioError> {
    for _ in 0..MOST_TAGS {
        let front = intake.peek(16)?;
        let Some(tag) = id3_len(&front).or_else(|| ape_len(&front)) else {
            break;
        };
        // The tag claims more bytes than there are: search the bytes that exist instead of giving
        // up.
        if intake.left().is_some_and(|left| tag >= left) {
            break;
        }
        intake.skip(tag)?;
    }
    Ok(())
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
            _ if self.converter.is_some() => self.read_converted(buf)?,
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
        Source::open(file, Hint::default())
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
        let rest = (0..100_000_u32).map(|n| (n % 251) as u8);
        let bytes: Vec<u8> = b"fLaC".iter().copied().chain(rest).collect();
        assert_eq!(read_all(memfd(&bytes)), bytes);
        assert_eq!(read_all(pipe(bytes.clone())), bytes);
        assert_eq!(read_all(memfd(b"fLaC")), b"fLaC");
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
    fn behind_a_tag_that_claims_more_than_the_file_frames_are_found() {
        let mut bytes = b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f and then the audio".to_vec();
        let frame = [&b"\xff\xfb\x90\x64"[..], &[0; 413]].concat();
        let frames = frame.repeat(3);
        bytes.extend(&frames);
        assert_eq!(read_all(memfd(&bytes)), frames);
        // One frame proves nothing.
        bytes.truncate(bytes.len() - 2 * frame.len());
        assert!(matches!(
            open(memfd(&bytes)),
            Err(AudioError::Unsupported(_))
        ));
    }

    #[test]
    fn seeking_knows_the_head_and_leaves_the_shared_offset_alone() {
        let mut bytes = id3(50);
        bytes.extend(b"fLaC");
        bytes.extend(4..200);
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
        let bytes = [id3(50), b"fLaC".to_vec(), (4..200).collect()].concat();
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
        let mut source = open(memfd(b"fLaC and so on")).ok().unwrap();
        assert!(source.read(&mut vec![0; LARGEST_READ + 1]).is_err());
        assert!(source.watch().refused());
        let file = memfd(b"fLaC and so on");
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
