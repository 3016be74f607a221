//! Reads FLAC files that were joined, one after the other, and without what stands behind them.
//!
//! Symphonia's reader takes the rest for damage, or for a part of the last frame. So it is shown
//! one file at a time, up to the end of its last frame.

mod ending;

use std::{
    io::{self, ErrorKind, Read},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use symphonia::{
    core::{
        errors::{Error, Result, SeekErrorKind, reset_error, seek_error, unsupported_error},
        formats::{
            FormatInfo, FormatOptions, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track,
        },
        io::{MediaSourceStream, ReadOnlySource},
        meta::Metadata,
        packet::Packet,
    },
    default::formats::FlacReader,
};

use self::ending::Rest;
use super::tags::FOLLOWED;

/// The first bytes of a file: its name, and the header of a block of 34 bytes that describes it.
/// Eight bytes do not occur by chance.
const BEGINNINGS: [&[u8; 8]; 2] = [b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22"];
const BEGINNING: usize = 8;

/// Bytes that are searched at once.
const PIECE: usize = 64 << 10;

/// Bytes that are held back until it is known whether they are the last ones. Few files have
/// frames that are longer.
const HELD: usize = 128 << 10;

/// The bytes of all files.
struct Files<'s> {
    stream: MediaSourceStream<'s>,
    /// Bytes that were read from the stream, of which the first `given` were read from here.
    ready: Vec<u8>,
    given: usize,
    /// Position in `ready` of the next file, if it was found.
    next: Option<usize>,
    is_over: bool,
    /// Position in `ready` of the current file's end, if it is known.
    end: Option<usize>,
    /// Another recording follows, which is no FLAC.
    is_followed: bool,
}

impl Files<'_> {
    /// Read bytes of the current file; 0 at its end.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.end.is_none() && self.ready.len() <= self.given + HELD {
            self.fill()?;
        }
        let end = self.end.unwrap_or_else(|| self.ready.len() - HELD);
        let count = (end - self.given).min(buf.len());
        buf[..count].copy_from_slice(&self.ready[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }

    fn fill(&mut self) -> io::Result<()> {
        self.ready.drain(..self.given);
        self.given = 0;
        // The name at the front is that of the current file.
        let searched = self.ready.len().saturating_sub(BEGINNING - 1).max(1);
        let old = self.ready.len();
        self.ready.resize(old + PIECE, 0);
        let read = self.stream.read(&mut self.ready[old..]);
        self.ready.truncate(old + *read.as_ref().unwrap_or(&0));
        self.is_over = read? == 0;
        self.search(searched);
        Ok(())
    }

    /// Find the end of the current file, if the bytes up to the next one, or all, are there.
    fn find_end(&mut self) {
        let Some(limit) = self.next.or(self.is_over.then_some(self.ready.len())) else {
            return;
        };
        let found = ending::of(&self.ready[self.given..limit]);
        let (len, rest) = found.unwrap_or((limit - self.given, Rest::Tags));
        self.end = Some(self.given + len);
        self.is_followed = self.next.is_none() && rest == Rest::Recording;
    }

    /// Find the next file from this position on.
    fn search(&mut self, from: usize) {
        let rest = self.ready.get(from..).unwrap_or_default();
        let mut places = rest.windows(BEGINNING);
        let is_name = |place: &[u8]| BEGINNINGS.iter().any(|name| place == *name);
        self.next = places.position(is_name).map(|place| from + place);
        self.find_end();
    }

    /// Go on with the next file; false if there is none.
    fn go_on(&mut self) -> bool {
        let Some(next) = self.next.take() else {
            return false;
        };
        self.ready.drain(..next);
        (self.given, self.end) = (0, None);
        self.search(1);
        true
    }
}

/// The bytes of one file, as a stream that cannot seek.
#[derive(Clone)]
struct OneFile<'s>(Arc<Mutex<Files<'s>>>);

impl<'s> OneFile<'s> {
    fn with<T>(&self, work: impl FnOnce(&mut Files<'s>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn reader(&self) -> Result<FlacReader<'s>>
    where
        Self: 's,
    {
        let stream = MediaSourceStream::new(
            Box::new(ReadOnlySource::new(self.clone())),
            Default::default(),
        );
        FlacReader::try_new(stream, FormatOptions::default())
    }
}

impl Read for OneFile<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.with(|files| files.read(buf))
    }
}

/// Symphonia's reader of the current file.
pub(super) struct Reader<'s> {
    files: OneFile<'s>,
    inner: FlacReader<'s>,
}

impl<'s> Reader<'s> {
    pub(super) fn new(stream: MediaSourceStream<'s>) -> Result<Self> {
        let files = OneFile(Arc::new(Mutex::new(Files {
            stream,
            ready: Vec::new(),
            given: 0,
            next: None,
            is_over: false,
            end: None,
            is_followed: false,
        })));
        let inner = files.reader()?;
        Ok(Self { files, inner })
    }
}

impl FormatReader for Reader<'_> {
    fn format_info(&self) -> &FormatInfo {
        self.inner.format_info()
    }

    fn media_info(&self) -> &MediaInfo {
        self.inner.media_info()
    }

    fn metadata(&mut self) -> Metadata<'_> {
        self.inner.metadata()
    }

    fn seek(&mut self, _: SeekMode, _: SeekTo) -> Result<SeekedTo> {
        seek_error(SeekErrorKind::Unseekable)
    }

    fn tracks(&self) -> &[Track] {
        self.inner.tracks()
    }

    fn next_packet(&mut self) -> Result<Option<Packet>> {
        let packet = self.inner.next_packet();
        let is_over = match &packet {
            Ok(None) => true,
            Err(Error::IoError(error)) => error.kind() == ErrorKind::UnexpectedEof,
            _ => false,
        };
        if is_over && self.files.with(Files::go_on) {
            self.inner = self.files.reader()?;
            return reset_error();
        }
        if is_over && self.files.with(|files| mem::take(&mut files.is_followed)) {
            return unsupported_error(FOLLOWED);
        }
        packet
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        Box::new(self.inner).into_inner()
    }
}
