//! AVI, as cameras and older programs record it: chunks of RIFF, one after another.

use std::collections::VecDeque;

use symphonia::core::{
    codecs::audio::{AudioCodecId, AudioCodecParameters, well_known as codec},
    common::FourCc,
    errors::{Error, Result},
    formats::Track,
    io::{MediaSourceStream, ReadBytes},
    packet::Packet,
    units::{Duration, Timestamp},
};

use super::{
    Demux, Opened,
    elementary::{Framer, params_of},
    flv::with_settings,
    params, skip, take, track,
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
    /// Samples so far.
    position: u64,
}

struct Avi {
    streams: Vec<Stream>,
    queue: VecDeque<Packet>,
    is_over: bool,
}

pub(super) fn open(stream: &mut MediaSourceStream<'_>) -> Result<Opened> {
    skip(stream, 12)?;
    let mut avi = Avi {
        streams: Vec::new(),
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
            position: 0,
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

    /// Makes packets of a chunk.
    fn push(&mut self, number: u32, mut bytes: Vec<u8>, queue: &mut VecDeque<Packet>) {
        let index = self.chunks;
        self.chunks += 1;
        match &mut self.pack {
            Pack::Nothing => {}
            Pack::Frames(framer) => {
                // A chunk of a variable rate has a length of its own.
                let time = u128::from(index) * u128::from(self.scale) * u128::from(TICKS);
                let time = i64::try_from(time / u128::from(self.rate)).ok();
                framer.push(&bytes, time.filter(|_| self.sample == 0));
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
        match [*a, *b, *c, *d] {
            // Their contents come next.
            [b'R', b'I', b'F', b'F'] => skip(stream, 4)?,
            [b'L', b'I', b'S', b'T'] => {
                let kind = take(stream, 4)?;
                match kind.as_slice() {
                    b"hdrl" | b"movi" | b"rec " => {}
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
