//! Reads Ogg so that lost and damaged pages leave a gap, and pictures tell when the sound starts.
//!
//! Symphonia's reader lets the page behind a lost one follow the page before it, so what it holds
//! comes too early. So the headers are shown to the reader again there: then it counts back from
//! the page's end. The gap is seen in the numbers of the pages.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Read},
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use symphonia::{
    core::{
        checksum::Crc32,
        codecs::{CodecParameters, video::VideoCodecParameters},
        errors::{Error, Result, SeekErrorKind, decode_error, seek_error, unsupported_error},
        formats::{
            FormatInfo, FormatOptions, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track,
        },
        io::{MediaSourceStream, Monitor as _, ReadBytes as _, ReadOnlySource, SeekBuffered as _},
        meta::Metadata,
        packet::Packet,
        units::TimeBase,
    },
    default::formats::OggReader,
};

use super::tags::FOLLOWED;

/// Length of a page's header without the lengths of its segments, and of the longest page, in
/// bytes.
const HEADER: usize = 27;
const LONGEST_PAGE: usize = HEADER + 255 + 255 * 255;

/// Flags of a page: the first of its stream, and the last.
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// Most bytes of headers that are kept, and of those that are shown again. Headers can have a
/// picture.
const MOST_HEADERS: usize = 1 << 20;
const MOST_REPEATS: usize = 8 << 20;

/// Most damaged pages in a row whose bytes are searched again for the start of another page.
const MOST_BAD: u32 = 64;

/// Bytes behind the last page that are more than tags: they were pages, or are another recording.
const MOST_TAGS: u64 = 1024;

/// Most streams whose pages are counted.
const MOST_STREAMS: usize = 64;

/// Beginnings of the first packet of streams of sound, and of pictures.
const SOUND: [&[u8]; 4] = [b"OpusHead", b"\x01vorbis", b"\x7fFLAC", b"fLaC"];
const PICTURES: [&[u8]; 3] = [b"\x80theora", b"BBCD\0", b"\x01video"];

/// Facts that pages tell besides their packets.
#[derive(Default)]
struct Notes {
    /// Number of places where pages are missing.
    gaps: AtomicU64,
    /// The last page of sound was seen.
    is_complete: AtomicBool,
    has_picture: AtomicBool,
    /// Number of bytes behind the last page that are neither 0 nor a page.
    behind: AtomicU64,
    /// Numbers of the streams of sound, in the order of the file.
    order: Mutex<Vec<u32>>,
}

impl Notes {
    fn change_order(&self, change: impl FnOnce(&mut Vec<u32>)) {
        change(&mut self.order.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The pages of a file, checked, as a stream that cannot seek.
struct Pages<'s> {
    stream: MediaSourceStream<'s>,
    notes: Arc<Notes>,
    /// Bytes to be read next, and how many of them were.
    ready: Vec<u8>,
    read: usize,
    page: Vec<u8>,
    /// All pages before the first one with sound, as long as they are not too many.
    headers: Option<Vec<u8>>,
    in_headers: bool,
    repeats: usize,
    /// Number of the next page of each stream of sound.
    next: HashMap<u32, u32>,
    /// Number of damaged pages in a row.
    bad: u32,
    /// Number of bytes since the last page that are neither 0 nor a page; `None` if they may be a
    /// page that the file's end cuts off.
    foreign: Option<u64>,
}

impl Pages<'_> {
    /// Read the next intact page into `page`; false at the end.
    fn next_page(&mut self) -> io::Result<bool> {
        loop {
            match self.try_page() {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    let foreign = self.foreign.unwrap_or_default();
                    self.notes.behind.store(foreign, Ordering::Relaxed);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Search for a page and read it; false if it is damaged.
    fn try_page(&mut self) -> io::Result<bool> {
        let mut mark = [0; 4];
        while &mark != b"OggS" {
            mark = [mark[1], mark[2], mark[3], self.stream.read_byte()?];
            self.foreign = self.foreign.map(|count| count + u64::from(mark[3] != 0));
        }
        let behind = self.stream.pos();
        let whole = self.read_page(mark);
        match whole {
            Ok(true) => {
                (self.bad, self.foreign) = (0, Some(0));
                Ok(true)
            }
            // Bytes that looked like a page may hide the start of a real one.
            Ok(false) => {
                self.bad += 1;
                if self.bad < MOST_BAD {
                    self.stream.seek_buffered(behind);
                }
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                if self.stream.seek_buffered(behind) != behind {
                    return Err(error);
                }
                self.foreign = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn read_page(&mut self, mark: [u8; 4]) -> io::Result<bool> {
        self.page.clear();
        self.page.extend(mark);
        self.page.resize(HEADER, 0);
        self.stream.read_exact(&mut self.page[4..])?;
        let segments = usize::from(self.page[26]);
        self.page.resize(HEADER + segments, 0);
        self.stream.read_exact(&mut self.page[HEADER..])?;
        let lengths = self.page[HEADER..].iter().map(|len| usize::from(*len));
        let start = self.page.len();
        self.page.resize(start + lengths.sum::<usize>(), 0);
        self.stream.read_exact(&mut self.page[start..])?;
        let given = self.u32_at(22);
        Ok(given == checksum(&mut self.page))
    }

    fn u32_at(&self, at: usize) -> u32 {
        let bytes = self.page.get(at..).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |four| u32::from_le_bytes(*four))
    }

    /// Make the page ready to be read, and the headers before it if pages are missing.
    fn take_page(&mut self) {
        let (serial, number) = (self.u32_at(14), self.u32_at(18));
        let flags = self.page[5];
        let is_first = flags & FIRST != 0;
        if is_first {
            if !self.in_headers {
                (self.headers, self.in_headers) = (Some(Vec::new()), true);
                self.next.clear();
                self.notes.change_order(Vec::clear);
                self.notes.is_complete.store(false, Ordering::Relaxed);
            }
            self.meet(serial, number);
        }
        let granules = [self.u32_at(6), self.u32_at(10)];
        if self.in_headers && !is_first && ![[0; 2], [u32::MAX; 2]].contains(&granules) {
            self.in_headers = false;
        }
        let expected = self.next.get(&serial).copied();
        if let Some(next) = self.next.get_mut(&serial) {
            *next = number.wrapping_add(1);
            let is_last = flags & LAST != 0;
            self.notes.is_complete.fetch_or(is_last, Ordering::Relaxed);
        }
        if self.in_headers {
            let fits = self
                .headers
                .as_ref()
                .is_some_and(|headers| headers.len() + self.page.len() <= MOST_HEADERS);
            self.headers = self.headers.take().filter(|_| fits);
            if let Some(headers) = &mut self.headers {
                headers.extend_from_slice(&self.page);
            }
        } else if !is_first && expected.is_some_and(|expected| number > expected) {
            self.notes.gaps.fetch_add(1, Ordering::Relaxed);
            self.repeat_headers();
        }
        self.ready.extend_from_slice(&self.page);
    }

    /// Notice the first page of a stream.
    fn meet(&mut self, serial: u32, number: u32) {
        let segments = usize::from(self.page[26]);
        let packet = &self.page[HEADER + segments..];
        let begins = |with: &&[u8]| packet.starts_with(with);
        if SOUND.iter().any(begins) && self.next.len() < MOST_STREAMS {
            self.next.insert(serial, number);
            self.notes.change_order(|order| order.push(serial));
        }
        let has_picture = PICTURES.iter().any(begins);
        self.notes
            .has_picture
            .fetch_or(has_picture, Ordering::Relaxed);
    }

    fn repeat_headers(&mut self) {
        let Some(headers) = &self.headers else { return };
        self.repeats += headers.len();
        if self.repeats <= MOST_REPEATS {
            self.ready.extend_from_slice(headers);
            // The last page alone would be taken for a whole stream that starts at 0.
            self.page[5] &= !LAST;
            let checksum = checksum(&mut self.page);
            self.page[22..26].copy_from_slice(&checksum.to_le_bytes());
        }
    }
}

/// Checksum of a page, whose own field for it is cleared and restored.
fn checksum(page: &mut [u8]) -> u32 {
    let mut given = [0; 4];
    given.copy_from_slice(&page[22..26]);
    page[22..26].fill(0);
    let mut crc = Crc32::new(0);
    crc.process_buf_bytes(page);
    page[22..26].copy_from_slice(&given);
    crc.crc()
}

impl Read for Pages<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.read == self.ready.len() {
            self.ready.clear();
            self.read = 0;
            if self.next_page()? {
                self.take_page();
            }
        }
        let rest = &self.ready[self.read..];
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}

/// Symphonia's reader over checked pages.
pub(super) struct Reader<'s> {
    inner: OggReader<'s>,
    notes: Arc<Notes>,
    tracks: Vec<Track>,
    /// Number of gaps that were reported.
    told: u64,
    has_looked_behind: bool,
}

impl<'s> Reader<'s> {
    pub(super) fn new(mut stream: MediaSourceStream<'s>) -> Result<Self> {
        stream.ensure_seekback_buffer(LONGEST_PAGE);
        let notes = Arc::<Notes>::default();
        let pages = Pages {
            stream,
            notes: Arc::clone(&notes),
            ready: Vec::new(),
            read: 0,
            page: Vec::new(),
            headers: Some(Vec::new()),
            in_headers: true,
            repeats: 0,
            next: HashMap::new(),
            bad: 0,
            foreign: Some(0),
        };
        let checked =
            MediaSourceStream::new(Box::new(ReadOnlySource::new(pages)), Default::default());
        let mut reader = Self {
            inner: OggReader::try_new(checked, FormatOptions::default())?,
            notes,
            tracks: Vec::new(),
            told: 0,
            has_looked_behind: false,
        };
        reader.list_tracks();
        Ok(reader)
    }

    /// Look behind the last packet, and otherwise end as Symphonia's reader did.
    fn end(&mut self, end: Result<Option<Packet>>) -> Result<Option<Packet>> {
        let is_complete = self.notes.is_complete.load(Ordering::Relaxed);
        let is_followed = self.notes.behind.load(Ordering::Relaxed) > MOST_TAGS;
        let is_news = !mem::replace(&mut self.has_looked_behind, true);
        match (is_complete, is_followed && is_news) {
            (true, true) => unsupported_error(FOLLOWED),
            (false, true) => decode_error("ogg: its last pages are damaged"),
            (true, false) => Ok(None),
            (false, false) => end,
        }
    }

    /// Symphonia's tracks, and one for pictures, which start at 0.
    fn list_tracks(&mut self) {
        self.tracks = self.inner.tracks().to_vec();
        self.notes.change_order(|order| {
            let place = |track: &Track| order.iter().position(|serial| *serial == track.id);
            self.tracks.sort_by_key(place);
        });
        if self.notes.has_picture.load(Ordering::Relaxed) {
            let mut picture = Track::new(u32::MAX);
            picture.time_base = TimeBase::try_new(1, 1);
            picture.codec_params = Some(CodecParameters::Video(VideoCodecParameters::default()));
            self.tracks.push(picture);
        }
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
        &self.tracks
    }

    fn next_packet(&mut self) -> Result<Option<Packet>> {
        if self.told < self.notes.gaps.load(Ordering::Relaxed) {
            self.told += 1;
            return decode_error("ogg: pages are damaged or missing");
        }
        match self.inner.next_packet() {
            Ok(None) => self.end(Ok(None)),
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                self.end(Err(Error::IoError(error)))
            }
            Err(Error::ResetRequired) => {
                self.list_tracks();
                Err(Error::ResetRequired)
            }
            next => next,
        }
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        Box::new(self.inner).into_inner()
    }
}
