//! AVI, as cameras and older programs record it: chunks of RIFF, one after another.

use std::{
    collections::VecDeque,
    io::{Seek as _, SeekFrom},
};

use symphonia::core::{
    codecs::audio::{AudioCodecId, AudioCodecParameters, well_known as codec},
    common::FourCc,
    errors::{Error, Result},
    formats::Track,
    io::{MediaSource as _, MediaSourceStream, ReadBytes, SeekBuffered as _},
    packet::Packet,
    units::{Duration, Timestamp},
};

use super::{
    Demux, Opened, WINDOW,
    elementary::{Framer, params_of},
    flv::with_settings,
    params, search, skip, take, track,
};
use crate::audio::headers::Tag;

/// Ticks of a second for streams of frames.
const TICKS: u32 = 90_000;

/// Longest header of a stream that is read, in bytes, and the largest number of streams.
const HEADER: usize = 1 << 12;
const MOST_STREAMS: usize = 64;

/// Bytes that are read to see the first frames.
const OPENING: u64 = 4 << 20;

/// Longest chunk of sound, in bytes: some seconds of many channels.
const LONGEST: u64 = 8 << 20;

/// Longest index that is read, in bytes: four hours of film.
const LONGEST_INDEX: usize = 8 << 20;

/// How the chunks of a stream are made into packets.
enum Pack {
    /// Samples, or blocks of ADPCM: bytes of a frame or block, and samples in it.
    Blocks(usize, u64),
    /// Each chunk is one packet of AAC.
    Chunks,
    /// Frames of MPEG audio or ADTS.
    Frames(Framer),
    /// No sound, or none that can be decoded.
    Nothing,
}

struct Stream {
    params: Option<AudioCodecParameters>,
    pack: Pack,
    /// `dwScale / dwRate` is the length of a chunk if `sample` is 0.
    scale: u32,
    rate: u32,
    sample: u32,
    chunks: u64,
    /// Bytes so far, and samples.
    bytes: u64,
    position: u64,
    /// Chunks were lost before the next one.
    is_lossy: bool,
}

struct Avi {
    streams: Vec<Stream>,
    /// Position of the list of chunks, and its length.
    movie: (u64, u64),
    queue: VecDeque<Packet>,
    is_over: bool,
}

pub(super) fn open(stream: &mut MediaSourceStream<'_>) -> Result<Opened> {
    skip(stream, 12)?;
    stream.ensure_seekback_buffer(2 * WINDOW);
    let mut avi = Avi {
        streams: Vec::new(),
        movie: (0, 0),
        queue: VecDeque::new(),
        is_over: false,
    };
    let begin = stream.pos();
    let are_known = |avi: &Avi| {
        let mut frames = avi.streams.iter().filter_map(|stream| match &stream.pack {
            Pack::Frames(framer) => Some(framer),
            _ => None,
        });
        !avi.queue.is_empty() && frames.all(|framer| framer.like().is_some())
    };
    while !are_known(&avi) && stream.pos() - begin < OPENING {
        if !avi.read(stream)? {
            break;
        }
    }
    let tracks = avi
        .streams
        .iter()
        .enumerate()
        .filter_map(Stream::track)
        .collect();
    Ok((tracks, Box::new(avi)))
}

impl Stream {
    fn track((number, stream): (usize, &Self)) -> Option<Track> {
        let params = match &stream.pack {
            Pack::Frames(framer) => params_of(framer.like()?),
            _ => stream.params.clone()?,
        };
        let ticks = match stream.pack {
            Pack::Frames(_) => TICKS,
            _ => params.sample_rate.unwrap_or(TICKS),
        };
        Some(track(number as u32, params, (1, ticks)))
    }

    /// Describes a stream by its `strh`, if that says that it is sound, and its `strf`.
    fn of(strh: &[u8], strf: &[u8]) -> Self {
        let number = |at: usize| {
            let four = strh.get(at..).and_then(|rest| rest.first_chunk::<4>());
            four.map_or(0, |four| u32::from_le_bytes(*four))
        };
        let mut this = Self {
            params: None,
            pack: Pack::Nothing,
            scale: number(20),
            rate: number(24).max(1),
            sample: number(44),
            chunks: number(28).into(),
            bytes: 0,
            position: 0,
            is_lossy: false,
        };
        if strh.starts_with(b"auds") && strf.len() >= 16 {
            this.describe(strf);
        }
        this
    }

    fn describe(&mut self, strf: &[u8]) {
        let short = |at: usize| {
            let two = strf.get(at..).and_then(|rest| rest.first_chunk::<2>());
            two.map_or(0, |two| u16::from_le_bytes(*two))
        };
        let (channels, align, bits) = (short(2), usize::from(short(12)), short(14));
        let rate = u32::from(short(4)) | u32::from(short(6)) << 16;
        let mut tag = short(0);
        if tag == 0xfffe {
            tag = short(24);
        }
        let extra = strf
            .get(18..18 + usize::from(short(16)))
            .unwrap_or_default();
        let samples = |codec, bits: u16| {
            let frame = usize::from(bits / 8) * usize::from(channels);
            (params(codec, rate, channels), Pack::Blocks(frame, 1))
        };
        let named = |codec| (params(codec, rate, channels), Pack::Nothing);
        let (mut audio, pack) = match (tag, bits) {
            (1, 8) => samples(codec::CODEC_ID_PCM_U8, 8),
            (1, 16) => samples(codec::CODEC_ID_PCM_S16LE, 16),
            (1, 24) => samples(codec::CODEC_ID_PCM_S24LE, 24),
            (1, 32) => samples(codec::CODEC_ID_PCM_S32LE, 32),
            (3, 32) => samples(codec::CODEC_ID_PCM_F32LE, 32),
            (3, 64) => samples(codec::CODEC_ID_PCM_F64LE, 64),
            (6, _) => samples(codec::CODEC_ID_PCM_ALAW, 8),
            (7, _) => samples(codec::CODEC_ID_PCM_MULAW, 8),
            (2 | 0x11, _) => {
                let id = if tag == 2 {
                    codec::CODEC_ID_ADPCM_MS
                } else {
                    codec::CODEC_ID_ADPCM_IMA_WAV
                };
                let frames = u64::from(short(18));
                let mut params = params(id, rate, channels);
                params
                    .with_max_frames_per_packet(frames)
                    .with_frames_per_block(frames);
                (params, Pack::Blocks(align, frames))
            }
            (0x50 | 0x55 | 0x1600, _) => (
                params(codec::CODEC_ID_MP3, rate, channels),
                Pack::Frames(Framer::default()),
            ),
            (0xff | 0x706d, _) if extra.len() >= 2 => {
                (with_settings(codec::CODEC_ID_AAC, extra), Pack::Chunks)
            }
            (0xff, _) => (
                params(codec::CODEC_ID_AAC, rate, channels),
                Pack::Frames(Framer::default()),
            ),
            (0x2000, _) => named(codec::CODEC_ID_AC3),
            (0x2001, _) => named(codec::CODEC_ID_DCA),
            _ => named(tagged(Tag(tag))),
        };
        if let Pack::Blocks(0, _) | Pack::Blocks(_, 0) = pack {
            return;
        }
        if let Pack::Blocks(_, 1) = pack {
            audio.with_max_frames_per_packet(1 << 16);
        }
        (self.params, self.pack) = (Some(audio), pack);
    }

    /// Time of the next chunk, in ticks. A chunk of a variable rate has a length of its own.
    fn time(&self) -> Option<i64> {
        let units = match self.sample {
            0 => self.chunks,
            sample => self.bytes / u64::from(sample),
        };
        let time = u128::from(units) * u128::from(self.scale) * u128::from(TICKS);
        i64::try_from(time / u128::from(self.rate)).ok()
    }

    /// So many chunks were lost, with so many bytes.
    fn lose(&mut self, chunks: u64, bytes: u64) {
        self.chunks = self.chunks.saturating_add(chunks);
        self.bytes = self.bytes.saturating_add(bytes);
        self.is_lossy = true;
        if let Pack::Blocks(block, samples) = self.pack {
            let lost = bytes / block as u64;
            self.position = self.position.saturating_add(lost.saturating_mul(samples));
        }
    }

    /// Makes packets of a chunk.
    fn push(&mut self, number: u32, mut bytes: Vec<u8>, queue: &mut VecDeque<Packet>) {
        let time = self.time();
        let index = self.chunks;
        self.chunks += 1;
        self.bytes += bytes.len() as u64;
        let is_told = self.sample == 0 || self.is_lossy;
        self.is_lossy = false;
        match &mut self.pack {
            Pack::Nothing => {}
            Pack::Frames(framer) => {
                framer.push(&bytes, time.filter(|_| is_told));
                while let Some(packet) = framer.next(number, TICKS, false) {
                    queue.push_back(packet);
                }
            }
            Pack::Chunks => {
                let pts = Timestamp::new(index.saturating_mul(1024) as i64);
                if !bytes.is_empty() {
                    queue.push_back(Packet::new(number, pts, Duration::new(1024), bytes));
                }
            }
            Pack::Blocks(block, samples) => {
                bytes.truncate(bytes.len() - bytes.len() % *block);
                // ADPCM is decoded block by block.
                let unit = if *samples == 1 { *block << 12 } else { *block };
                for piece in bytes.chunks(unit) {
                    let count = (piece.len() / *block) as u64 * *samples;
                    let pts = Timestamp::new(self.position as i64);
                    self.position += count;
                    queue.push_back(Packet::new(number, pts, Duration::new(count), piece));
                }
            }
        }
    }
}

/// Uncompressed and companded samples, or the name of a codec, as WAV's and AVI's `strf` has it;
/// `None` if it is too short.
pub(crate) fn described(strf: &[u8]) -> Option<AudioCodecParameters> {
    let stream = Stream::of(b"auds", strf);
    let params = stream.params?;
    Some(match stream.pack {
        Pack::Blocks(_, 1) => params,
        _ => {
            let tag = u16::from_le_bytes(*strf.first_chunk()?);
            let mut named = params;
            named.for_codec(tagged(Tag(tag)));
            named
        }
    })
}

/// A codec that only its number in AVI names. Letters stand for the digits.
pub(crate) fn tagged(tag: Tag) -> AudioCodecId {
    let digit = |shift: u16| b'a' + (tag.0 >> shift & 15) as u8;
    AudioCodecId::new(FourCc::new([digit(12), digit(8), digit(4), digit(0)]))
}

impl Avi {
    /// Reads one chunk, or the head of a list; false at the end.
    fn read(&mut self, stream: &mut MediaSourceStream<'_>) -> Result<bool> {
        let head = take(stream, 8)?;
        let Some(([a, b, c, d], len)) = head.split_first_chunk::<4>() else {
            return Ok(self.finish());
        };
        let Some(len) = len
            .first_chunk()
            .map(|len| u64::from(u32::from_le_bytes(*len)))
        else {
            return Ok(self.finish());
        };
        let padded = len + (len & 1);
        let left = stream
            .byte_len()
            .map(|all| all.saturating_sub(stream.pos()));
        let is_beyond = left.is_some_and(|left| len > left) && len > LONGEST;
        if self.movie.0 > 0 && (is_beyond || !self.is_chunk(&head)) {
            return self.resynchronize(stream);
        }
        match [*a, *b, *c, *d] {
            // Their contents come next.
            [b'R', b'I', b'F', b'F'] => skip(stream, 4)?,
            [b'L', b'I', b'S', b'T'] => {
                let kind = take(stream, 4)?;
                match kind.as_slice() {
                    b"movi" => self.movie = (stream.pos() - 4, len),
                    b"hdrl" | b"rec " => {}
                    b"strl" => self.stream(stream, len.saturating_sub(4))?,
                    _ => skip(stream, padded.saturating_sub(4))?,
                }
            }
            [tens, ones, b'w', b'b'] if len <= LONGEST => {
                let digits = [tens, ones].map(|digit| char::from(digit).to_digit(10));
                let bytes = take(stream, len as usize)?;
                let is_whole = bytes.len() as u64 == len;
                if let [Some(tens), Some(ones)] = digits
                    && let Some(track) = self.streams.get_mut((tens * 10 + ones) as usize)
                {
                    track.push(tens * 10 + ones, bytes, &mut self.queue);
                }
                if !is_whole {
                    self.finish();
                    return Err(Error::IoError(std::io::ErrorKind::UnexpectedEof.into()));
                }
                take(stream, (len & 1) as usize)?;
            }
            _ => skip(stream, padded)?,
        }
        Ok(true)
    }

    /// True if this can be the head of a chunk between the headers and the end.
    fn is_chunk(&self, head: &[u8]) -> bool {
        let Some([tens, ones, kind @ ..]) = head.first_chunk::<4>() else {
            return false;
        };
        let digits = [tens, ones].map(|digit| char::from(*digit).to_digit(10));
        match (digits, kind) {
            ([Some(tens), Some(ones)], b"wb" | b"dc" | b"db" | b"pc" | b"tx" | b"ix" | b"sb") => {
                ((tens * 10 + ones) as usize) < self.streams.len()
            }
            ([Some(_), Some(_)], _) => false,
            _ => {
                let is_text = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b' ';
                head[..4].iter().all(is_text)
            }
        }
    }

    /// True if a chunk of sound or picture begins here, and another chunk or the end follows.
    fn begins_chunks(&self, bytes: &[u8]) -> bool {
        let is_stream = bytes.first().is_some_and(u8::is_ascii_digit) && self.is_chunk(bytes);
        if !is_stream {
            return false;
        }
        let len = bytes.get(4..8).and_then(|rest| rest.first_chunk());
        let len = len.map_or(0, |len| u32::from_le_bytes(*len) as usize);
        let behind = len.saturating_add(8 + (len & 1));
        bytes
            .get(behind..)
            .is_some_and(|next| next.is_empty() || self.is_chunk(next))
    }

    /// Goes to the next chunk behind damage. The index at the end, or else the number of the bytes
    /// between, tells how much of each stream is lost.
    fn resynchronize(&mut self, stream: &mut MediaSourceStream<'_>) -> Result<bool> {
        let from = stream.pos() - 8;
        stream.seek_buffered(from + 1);
        if search(stream, |bytes| self.begins_chunks(bytes))?.is_none() {
            self.finish();
            return Err(Error::IoError(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let to = stream.pos();
        if !self.count_by_index(stream, to)? {
            let read = from.saturating_sub(self.movie.0).max(1) as f64;
            let share = (to - from) as f64 / read;
            for stream in &mut self.streams {
                let lost = |number: u64| (number as f64 * share).round() as u64;
                stream.lose(lost(stream.chunks), lost(stream.bytes));
            }
        }
        Err(Error::DecodeError("avi: chunks are damaged"))
    }

    /// Reads from the index what comes before the chunk at `place`; false if there is none. Then
    /// the stream goes on at `place`.
    fn count_by_index(&mut self, stream: &mut MediaSourceStream<'_>, place: u64) -> Result<bool> {
        let (movie, len) = self.movie;
        let index = movie.saturating_add(len + (len & 1));
        if !stream.is_seekable() || stream.byte_len().is_none_or(|all| index + 8 > all) {
            return Ok(false);
        }
        stream.seek(SeekFrom::Start(index))?;
        let head = take(stream, 8)?;
        let size = head.get(4..8).and_then(|size| size.first_chunk());
        let size = size.map_or(0, |size| u32::from_le_bytes(*size) as usize);
        let entries = if head.starts_with(b"idx1") {
            take(stream, size.min(LONGEST_INDEX))?
        } else {
            Vec::new()
        };
        stream.seek(SeekFrom::Start(place))?;
        let mut counts = vec![(0_u64, 0_u64); self.streams.len()];
        for entry in entries.chunks_exact(16) {
            let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|n| entry[at + n]));
            let at = u64::from(number(8));
            if at == place || at.saturating_add(movie) == place {
                for (stream, (chunks, bytes)) in self.streams.iter_mut().zip(counts) {
                    let (had, had_bytes) = (stream.chunks, stream.bytes);
                    stream.lose(chunks.saturating_sub(had), bytes.saturating_sub(had_bytes));
                }
                return Ok(true);
            }
            let digits = [entry[0], entry[1]].map(|digit| char::from(digit).to_digit(10));
            if let [Some(tens), Some(ones)] = digits
                && let Some(count) = counts.get_mut((tens * 10 + ones) as usize)
            {
                *count = (count.0 + 1, count.1 + u64::from(number(12)));
            }
        }
        Ok(false)
    }

    /// Reads the headers of a stream, which take `len` bytes.
    fn stream(&mut self, stream: &mut MediaSourceStream<'_>, mut len: u64) -> Result<()> {
        let (mut strh, mut strf) = (Vec::new(), Vec::new());
        while len >= 8 {
            let head = take(stream, 8)?;
            let Some((name, size)) = head.split_first_chunk::<4>() else {
                break;
            };
            let size = size
                .first_chunk()
                .map_or(0, |size| u64::from(u32::from_le_bytes(*size)));
            let size = (size + (size & 1)).min(len - 8);
            let body = take(stream, size.min(HEADER as u64) as usize)?;
            skip(stream, size - body.len() as u64)?;
            match name {
                b"strh" => strh = body,
                b"strf" => strf = body,
                _ => {}
            }
            len -= 8 + size;
        }
        if self.streams.len() < MOST_STREAMS {
            self.streams.push(Stream::of(&strh, &strf));
        }
        skip(stream, len)
    }

    /// Takes the last frames; false.
    fn finish(&mut self) -> bool {
        self.is_over = true;
        for (number, stream) in self.streams.iter_mut().enumerate() {
            if let Pack::Frames(framer) = &mut stream.pack {
                while let Some(packet) = framer.next(number as u32, TICKS, true) {
                    self.queue.push_back(packet);
                }
            }
        }
        false
    }
}

impl Demux for Avi {
    fn next(&mut self, stream: &mut MediaSourceStream<'_>) -> Result<Option<Packet>> {
        loop {
            if let Some(packet) = self.queue.pop_front() {
                return Ok(Some(packet));
            }
            if self.is_over || !self.read(stream)? {
                return Ok(self.queue.pop_front());
            }
        }
    }
}
