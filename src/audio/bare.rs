//! Reads MPEG audio and ADTS without a container: frame after frame, and what lies between them.
//!
//! Such frames have no times, only lengths. Bytes that are neither frames nor tags nor padding are
//! damage, and their number tells about how many frames are lost. So what follows keeps its time.
//! Symphonia's readers pass over such bytes without a word.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
};

use symphonia::core::{
    codecs::CodecParameters,
    errors::{Error, Result, SeekErrorKind, decode_error, seek_error, unsupported_error},
    formats::{
        FormatId, FormatInfo, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track,
        well_known as format,
    },
    io::{MediaSource as _, MediaSourceStream, ReadBytes as _},
    meta::{Metadata, MetadataLog},
    packet::Packet,
    units::{Duration, TimeBase, Timestamp},
};

use super::{
    containers::params_of,
    frames::{self, Frame, HEADER, Sort},
    magic,
    tags::{FOLLOWED, ape_len, id3_len},
    xing::Info,
};

/// Ticks of a second: a multiple of every sample rate that MPEG audio and AAC know.
const TICKS: u32 = 28_224_000;

/// Bytes in which the next frames are searched: the longest of ADTS has 8191, and three must
/// follow each other.
const AHEAD: usize = 64 << 10;

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// Bytes that are kept of those searched, because frames may begin in them.
const KEPT: usize = 32 << 10;

/// Frames of one stream that must follow each other behind damage.
const FEW: usize = 3;

/// Frames before and behind damage whose mean length tells how many are lost.
const AROUND: usize = 48;

/// Longest text in a tag of Lyrics3, in bytes.
const LONGEST_LYRICS: usize = 16 << 10;

/// Reads the frames of one stream, or of several that were joined.
pub(super) struct Reader<'s> {
    stream: MediaSourceStream<'s>,
    info: FormatInfo,
    media: MediaInfo,
    metadata: MetadataLog,
    tracks: Vec<Track>,
    /// Bytes that were read, and how many of them were taken.
    bytes: Vec<u8>,
    at: usize,
    /// The bytes end where the stream does.
    is_all: bool,
    /// A frame of the stream.
    like: Frame,
    /// Lengths of the last frames, in bytes.
    lengths: VecDeque<usize>,
    /// Time of the next sample, in ticks.
    next: u64,
    /// Samples at the start of what follows that are no sound.
    delay: u32,
    /// Frames that the encoder announced and that did not come yet, and the samples at the end of
    /// the last one that are no sound.
    left: Option<u64>,
    padding: u32,
    is_over: bool,
}

/// The next thing in the bytes.
enum Found {
    Frame(Frame),
    /// Bytes that are no frames and no damage were skipped.
    Filling,
    /// Bytes of frames are lost.
    Damage,
    /// Nothing follows.
    End,
    /// Nothing follows, and the last bytes are no whole frame.
    Cut,
    /// A recording of another kind follows.
    Other,
}

impl<'s> Reader<'s> {
    /// `stream` is at the first frame.
    pub(super) fn new(stream: MediaSourceStream<'s>, sort: Sort) -> Result<Self> {
        let mut bytes = vec![0; HEADER];
        let mut stream = stream;
        stream.read_buf_exact(&mut bytes)?;
        let Some(like) = Frame::at(&bytes) else {
            return decode_error("mpa: no frame begins here");
        };
        let (format, name) = match sort {
            Sort::Mpeg(1) => (format::FORMAT_ID_MP1, "mp1"),
            Sort::Mpeg(2) => (format::FORMAT_ID_MP2, "mp2"),
            Sort::Mpeg(_) => (format::FORMAT_ID_MP3, "mp3"),
            Sort::Adts => (format::FORMAT_ID_ADTS, "aac"),
        };
        let mut reader = Self {
            stream,
            info: info(format, name),
            media: MediaInfo::default(),
            metadata: MetadataLog::default(),
            tracks: Vec::new(),
            bytes,
            at: 0,
            is_all: false,
            like,
            lengths: VecDeque::new(),
            next: 0,
            delay: 0,
            left: None,
            padding: 0,
            is_over: false,
        };
        let mut track = Track::new(0);
        track.with_codec_params(CodecParameters::Audio(params_of(&like)));
        if let Some(base) = TimeBase::try_new(1, TICKS) {
            track.with_time_base(base);
        }
        reader.fill(AHEAD)?;
        if let Some(info) = reader.info_frame() {
            reader.begin(info);
            reader.at += like.len;
            let all = info.frames.unwrap_or(0);
            if all > 0 {
                let trims = u64::from(reader.delay) + u64::from(reader.padding);
                let samples = u64::from(all) * u64::from(like.samples);
                track.num_frames = Some(samples.saturating_sub(trims));
                track.delay = Some(0);
            }
        } else {
            track.num_frames = reader.estimate();
        }
        reader.tracks.push(track);
        Ok(reader)
    }

    /// Samples in the whole stream, if its frames are as long as the first ones.
    fn estimate(&self) -> Option<u64> {
        let left = self.stream.byte_len()?.checked_sub(self.stream.pos())?;
        let all = left + (self.bytes.len() - self.at) as u64;
        let lengths = self.lengths_from(self.at);
        let frames = all as f64 / mean(lengths.into_iter())?;
        Some((frames * f64::from(self.like.samples)) as u64)
    }

    /// Reads until so many bytes are ready, or until the end.
    fn fill(&mut self, count: usize) -> io::Result<()> {
        if self.is_all || self.bytes.len() - self.at >= count {
            return Ok(());
        }
        self.bytes.drain(..self.at);
        self.at = 0;
        let mut known = self.bytes.len();
        // More at once, so that the bytes are not moved for each frame.
        self.bytes.resize(count + PIECE, 0);
        while known < count && !self.is_all {
            match self.stream.read_buf(&mut self.bytes[known..]) {
                Ok(0) => self.is_all = true,
                Ok(read) => known += read,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => self.is_all = true,
                Err(error) => {
                    self.bytes.truncate(known);
                    return Err(error);
                }
            }
        }
        self.bytes.truncate(known);
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// The frame of the same stream that begins at this place.
    fn frame_at(&self, at: usize) -> Option<Frame> {
        let frame = Frame::at(self.bytes.get(at..)?)?;
        (frame.sort == self.like.sort).then_some(frame)
    }

    /// The description in the next frame, if it holds one.
    fn info_frame(&self) -> Option<Info> {
        let frame = self.frame_at(self.at)?;
        Info::of(&frame, self.rest().get(..frame.len)?)
    }

    /// Start a file, which may be one of several that were joined.
    fn begin(&mut self, info: Info) {
        self.left = info.frames.filter(|frames| *frames > 0).map(u64::from);
        (self.delay, self.padding) = info.trims.unwrap_or((0, 0));
    }

    fn find(&mut self) -> Result<Found> {
        self.fill(AHEAD)?;
        if self.rest().is_empty() {
            return Ok(Found::End);
        }
        let Some(frame) = self.frame_at(self.at) else {
            return self.no_frame();
        };
        let behind = self.at + frame.len;
        let Some(rest) = self.bytes.get(behind..) else {
            // The stream is at its end: a frame is shorter than the bytes that were read.
            return Ok(match self.run_from(self.at + 1) {
                Some(place) => self.lose(place - self.at, place),
                None => Found::Cut,
            });
        };
        let is_next = rest.is_empty() || rest[0] == 0 || tag(rest).is_some();
        let is_next = is_next
            || self
                .frame_at(behind)
                .is_some_and(|next| next.is_like(&frame));
        if is_next || rest.len() < HEADER {
            return Ok(Found::Frame(frame));
        }
        // Either this frame is damaged, or what follows.
        let from = self.at + 1;
        match self.run_from(from) {
            Some(place) if place < behind => Ok(self.lose(place - self.at, place)),
            _ if frame.is_like(&self.like) => Ok(Found::Frame(frame)),
            _ => self.damaged(),
        }
    }

    /// The place of the next frames of this sort that follow each other, if they are near.
    fn run_from(&self, from: usize) -> Option<usize> {
        let bytes = self.bytes.get(from..)?;
        let found = frames::first_run(bytes, self.is_all, |_| FEW);
        let (place, frame) = found?;
        (frame.sort == self.like.sort).then_some(from + place)
    }

    /// Pass over tags and padding; or over damage.
    fn no_frame(&mut self) -> Result<Found> {
        if let Some(len) = tag(self.rest()) {
            return self.skip_tag(len);
        }
        // MP4 begins with zeros.
        if self.is_other() {
            return self.damaged();
        }
        let zeros = self.rest().iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            let is_rest = self.is_all && self.rest().len() < HEADER && self.rest()[0] != 0xff;
            return if is_rest {
                Ok(Found::End)
            } else {
                self.damaged()
            };
        }
        let behind = self.at + zeros;
        let rest = &self.bytes[behind..];
        if rest.is_empty() && !self.is_all {
            return self.long_zeros();
        }
        let is_info = self
            .frame_at(behind)
            .is_some_and(|frame| frame.len <= rest.len() && Info::of(&frame, rest).is_some());
        // Zeros fill up what was complete. In the middle they are a hole.
        if rest.is_empty() || is_info || tag(rest).is_some() || zeros < self.like.len / 2 {
            self.at = behind;
            return Ok(Found::Filling);
        }
        self.damaged()
    }

    /// Pass over zeros that are more than the bytes that were read.
    fn long_zeros(&mut self) -> Result<Found> {
        let mut passed = 0;
        while !self.is_all && self.rest().iter().all(|byte| *byte == 0) {
            passed += self.rest().len();
            self.at = self.bytes.len();
            self.fill(AHEAD)?;
        }
        if self.rest().iter().all(|byte| *byte == 0) || tag(self.rest()).is_some() {
            return Ok(Found::Filling);
        }
        self.search(passed)
    }

    fn skip_tag(&mut self, len: u64) -> Result<Found> {
        let known = self.rest().len() as u64;
        if len <= known {
            self.at += len as usize;
            return Ok(Found::Filling);
        }
        let more = len - known;
        let left = self
            .stream
            .byte_len()
            .map(|all| all.saturating_sub(self.stream.pos()));
        if left.is_some_and(|left| left < more) {
            // It claims more than there is.
            return self.damaged();
        }
        self.at = self.bytes.len();
        match self.stream.ignore_bytes(more) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => self.is_all = true,
            ignored => ignored?,
        }
        Ok(Found::Filling)
    }

    /// True if a recording of another kind begins here.
    fn is_other(&self) -> bool {
        let front = &self.rest()[..self.rest().len().min(magic::CERTAIN)];
        magic::is_certain(front)
    }

    fn damaged(&mut self) -> Result<Found> {
        let is_other = self.is_other();
        match self.search(0)? {
            Found::Cut if is_other => Ok(Found::Other),
            found => Ok(found),
        }
    }

    /// Go to the next frames, behind damage of which so many bytes were passed already.
    fn search(&mut self, mut passed: usize) -> Result<Found> {
        loop {
            if let Some(place) = self.run_from(self.at) {
                return Ok(self.lose(passed + place - self.at, place));
            }
            if self.is_all {
                self.at = self.bytes.len();
                return Ok(Found::Cut);
            }
            let searched = self.rest().len().saturating_sub(KEPT);
            passed += searched;
            self.at += searched;
            self.fill(AHEAD)?;
        }
    }

    /// Go to `place`, behind so many bytes that are lost. Their time is estimated.
    fn lose(&mut self, bytes: usize, place: usize) -> Found {
        self.at = place;
        let around = self.lengths.iter().copied().chain(self.lengths_from(place));
        let mean = mean(around).unwrap_or(self.like.len as f64);
        let frames = (bytes as f64 / mean).round().max(1.0) as u64;
        self.left = self.left.map(|left| left.saturating_sub(frames));
        let ticks = frames.saturating_mul(self.ticks(self.like.samples, &self.like));
        self.next = self.next.saturating_add(ticks);
        Found::Damage
    }

    /// Lengths of the frames that follow each other from here.
    fn lengths_from(&self, mut at: usize) -> Vec<usize> {
        let mut lengths = Vec::new();
        while let Some(frame) = self.frame_at(at).filter(|_| lengths.len() < AROUND) {
            lengths.push(frame.len);
            at += frame.len;
        }
        lengths
    }

    fn ticks(&self, samples: u32, frame: &Frame) -> u64 {
        u64::from(samples) * u64::from(TICKS / frame.rate)
    }

    /// Take the next frame.
    fn packet(&mut self, frame: Frame) -> Packet {
        let bytes = &self.bytes[self.at + frame.header..self.at + frame.len];
        let mut packet = Packet::new(0, Timestamp::ZERO, Duration::ZERO, bytes);
        self.at += frame.len;
        self.like = frame;
        self.lengths.push_back(frame.len);
        if self.lengths.len() > AROUND {
            self.lengths.pop_front();
        }
        let start = self.delay.min(frame.samples);
        self.delay -= start;
        self.left = self.left.map(|left| left.saturating_sub(1));
        let mut end = 0;
        if self.left == Some(0) {
            end = self.padding.min(frame.samples - start);
            (self.left, self.padding) = (None, 0);
        }
        let length = self.ticks(frame.samples - start - end, &frame);
        let begin = self.next.saturating_sub(self.ticks(start, &frame));
        // Before the start of the recording times are negative.
        let before = self.ticks(start, &frame).saturating_sub(self.next);
        let at = i64::try_from(begin).unwrap_or(i64::MAX);
        packet.pts = Timestamp::new(at.saturating_sub_unsigned(before));
        packet.dts = packet.pts;
        packet.dur = Duration::new(length);
        packet.trim_start = Duration::new(self.ticks(start, &frame));
        packet.trim_end = Duration::new(self.ticks(end, &frame));
        self.next = self.next.saturating_add(length);
        packet
    }
}

/// Length of the tag that starts here, in bytes. Tags stand before, between and behind frames.
fn tag(bytes: &[u8]) -> Option<u64> {
    if bytes.starts_with(b"TAG+") {
        return Some(227);
    }
    if bytes.starts_with(b"TAG") {
        return Some(128);
    }
    if bytes.starts_with(b"LYRICSBEGIN") {
        let text = &bytes[..bytes.len().min(LONGEST_LYRICS)];
        let ends = |nine: &[u8]| nine == b"LYRICS200" || nine == b"LYRICSEND";
        return text.windows(9).position(ends).map(|at| at as u64 + 9);
    }
    id3_len(bytes).or_else(|| ape_len(bytes))
}

fn mean(lengths: impl Iterator<Item = usize>) -> Option<f64> {
    let (count, sum) = lengths.fold((0, 0), |(count, sum), len| (count + 1, sum + len));
    (count > 0).then(|| sum as f64 / f64::from(count))
}

fn info(format: FormatId, name: &'static str) -> FormatInfo {
    FormatInfo {
        format,
        short_name: name,
        long_name: name,
    }
}

impl FormatReader for Reader<'_> {
    fn format_info(&self) -> &FormatInfo {
        &self.info
    }

    fn media_info(&self) -> &MediaInfo {
        &self.media
    }

    fn metadata(&mut self) -> Metadata<'_> {
        self.metadata.metadata()
    }

    fn seek(&mut self, _: SeekMode, _: SeekTo) -> Result<SeekedTo> {
        seek_error(SeekErrorKind::Unseekable)
    }

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn next_packet(&mut self) -> Result<Option<Packet>> {
        while !self.is_over {
            let found = self.find()?;
            match found {
                Found::Frame(frame) => {
                    if let Some(info) = self.info_frame() {
                        // One more file follows.
                        self.begin(info);
                        self.at += frame.len;
                        continue;
                    }
                    return Ok(Some(self.packet(frame)));
                }
                Found::Filling => {}
                Found::Damage => return decode_error("bytes between the frames are damaged"),
                Found::End => self.is_over = true,
                Found::Cut => {
                    self.is_over = true;
                    return Err(Error::IoError(ErrorKind::UnexpectedEof.into()));
                }
                Found::Other => {
                    self.is_over = true;
                    return unsupported_error(FOLLOWED);
                }
            }
        }
        Ok(None)
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        self.stream
    }
}
