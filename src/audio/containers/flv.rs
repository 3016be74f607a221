//! FLV, as streaming programs record it: tags of sound, of pictures and of text, with times.

use std::collections::VecDeque;

use symphonia::core::{
    codecs::audio::{AudioCodecId, AudioCodecParameters, well_known as codec},
    common::FourCc,
    errors::{Error, Result},
    io::{MediaSource as _, MediaSourceStream, ReadBytes, SeekBuffered as _},
    packet::Packet,
    units::{Duration, Timestamp},
};

use super::{
    Demux, Opened, WINDOW,
    elementary::{Framer, params_of},
    params, search, skip, take, track,
};

/// Nellymoser and Flash's ADPCM: named, but not read.
pub(crate) const NELLYMOSER: AudioCodecId = AudioCodecId::new(FourCc::new(*b"nely"));
pub(crate) const ADPCM_SWF: AudioCodecId = AudioCodecId::new(FourCc::new(*b"aswf"));

/// Times are in milliseconds.
const TICKS: u32 = 1000;

/// Bytes of pictures that are passed over in search of the first sound.
const OPENING: u64 = 16 << 20;

/// Bytes of the head of a tag, and those at the front of a picture that tell when it is shown.
const TAG: usize = 11;
const PICTURE: usize = 8;

/// Packets of sound that are read in search of the first picture: a second or two.
const FEW: usize = 64;

struct Flv {
    /// Time at which the first picture is shown, and at which the first sound is heard.
    picture: Option<i64>,
    sound: Option<i64>,
    /// Time from which packets count: the earlier one of these.
    origin: i64,
    params: Option<AudioCodecParameters>,
    framer: Framer,
    queue: VecDeque<Packet>,
    /// Behind each tag comes its length, as it should. Some programs leave it 0.
    is_sized: bool,
    /// The error that ended the search for the first picture.
    failed: Option<Error>,
}

/// How the bytes of a tag of sound are coded.
enum Sound<'a> {
    /// Settings of the decoder.
    Settings(AudioCodecId, &'a [u8]),
    /// One packet, and its samples if they are known.
    Packet(AudioCodecParameters, &'a [u8]),
    /// Frames of MPEG audio.
    Frames(&'a [u8]),
    Nothing,
}

pub(super) fn open(stream: &mut MediaSourceStream<'_>) -> Result<Opened> {
    let head = take(stream, 9)?;
    let start = head.get(5..9).map_or(9, |four| {
        u32::from_be_bytes([four[0], four[1], four[2], four[3]])
    });
    // The length of the tag before the first one follows.
    skip(stream, u64::from(start).saturating_sub(9) + 4)?;
    let mut flv = Flv {
        picture: None,
        sound: None,
        origin: 0,
        params: None,
        framer: Framer::default(),
        queue: VecDeque::new(),
        is_sized: true,
        failed: None,
    };
    stream.ensure_seekback_buffer(2 * WINDOW);
    flv.is_sized = flv.looks_sized(stream)?;
    let begin = stream.pos();
    let is_silent = |flv: &Flv| flv.params.is_none() || flv.sound.is_none();
    while is_silent(&flv) && stream.pos() - begin < OPENING {
        if !flv.read(stream)? {
            break;
        }
    }
    // The first picture may be told behind the first sound. An error here is told again later.
    let has_pictures = head.get(4).is_some_and(|flags| flags & 1 != 0);
    while has_pictures && flv.picture.is_none() && flv.queue.len() < FEW {
        match flv.read(stream) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                flv.failed = Some(error);
                break;
            }
        }
    }
    let firsts = flv.picture.into_iter().chain(flv.sound);
    flv.origin = firsts.min().unwrap_or(0);
    let tracks = flv
        .params
        .clone()
        .map(|params| track(0, params, (1, TICKS)));
    Ok((tracks.into_iter().collect(), Box::new(flv)))
}

impl Flv {
    /// Reads one tag; false at the end.
    fn read(&mut self, stream: &mut MediaSourceStream<'_>) -> Result<bool> {
        let head = take(stream, TAG)?;
        if head.is_empty() {
            while let Some(packet) = self.framer.next(0, TICKS, true) {
                self.queue.push_back(packet);
            }
            return Ok(false);
        }
        if head.len() < TAG {
            return Err(Error::IoError(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let start = stream.pos() - TAG as u64;
        if !is_tag(&head) {
            return self.resynchronize(stream, start + 1);
        }
        let len = tag_len(&head);
        let time = number(&head, 4) | u32::from(head[7]) << 24;
        let kind = head[0] & 0x1f;
        if kind != 8 {
            let left = stream
                .byte_len()
                .map(|all| all.saturating_sub(stream.pos()));
            let is_beyond = left.is_some_and(|left| (len as u64) > left);
            if self.is_sized && is_beyond {
                return self.resynchronize(stream, start + 1);
            }
            let front = take(stream, len.min(PICTURE))?;
            skip(stream, (len - front.len()) as u64)?;
            if !self.is_end_of(stream, len)? {
                return self.resynchronize(stream, start + 1);
            }
            if kind == 9 && self.picture.is_none() {
                self.picture = delay(&front).map(|delay| i64::from(time) + delay);
            }
            return Ok(true);
        }
        let body = take(stream, len)?;
        if body.len() < len {
            let back = stream.seek_buffered(start + 1);
            let is_false = self.is_sized && back == start + 1;
            if is_false && search(stream, begins_tags)?.is_some() {
                return Err(Error::DecodeError("flv: a tag is damaged"));
            }
            return Err(Error::IoError(std::io::ErrorKind::UnexpectedEof.into()));
        }
        if !self.is_end_of(stream, len)? {
            return self.resynchronize(stream, start + 1);
        }
        self.sound(&body, time.into());
        Ok(true)
    }

    /// The next packet that is complete.
    fn pop(&mut self) -> Option<Packet> {
        let mut packet = self.queue.pop_front()?;
        packet.pts = Timestamp::new(packet.pts.get().saturating_sub(self.origin));
        packet.dts = packet.pts;
        Some(packet)
    }

    /// True if the length of the first tag stands behind it.
    fn looks_sized(&self, stream: &mut MediaSourceStream<'_>) -> Result<bool> {
        let start = stream.pos();
        let front = take(stream, WINDOW)?;
        stream.seek_buffered(start);
        let behind = front.get(..TAG).map_or(0, |head| TAG + tag_len(head));
        let told = front.get(behind..).and_then(|rest| rest.first_chunk());
        Ok(told.is_none_or(|told| u32::from_be_bytes(*told) as usize == behind))
    }

    /// Reads the length behind a tag of `len` bytes; false if it is another. A recorder that was
    /// killed may not have written it.
    fn is_end_of(&self, stream: &mut MediaSourceStream<'_>, len: usize) -> Result<bool> {
        let told = take(stream, 4)?;
        Ok(!self.is_sized || told.len() < 4 || number(&told, 1) as usize == TAG + len)
    }

    /// Goes to the next tag behind damage that began before `from`.
    fn resynchronize(&mut self, stream: &mut MediaSourceStream<'_>, from: u64) -> Result<bool> {
        stream.seek_buffered(from);
        if search(stream, begins_tags)?.is_none() {
            return Err(Error::IoError(std::io::ErrorKind::UnexpectedEof.into()));
        }
        Err(Error::DecodeError("flv: tags are damaged"))
    }

    fn sound(&mut self, body: &[u8], time: i64) {
        let sound = sound(body);
        if let Sound::Packet(..) | Sound::Frames(_) = sound {
            self.sound.get_or_insert(time);
        }
        match sound {
            Sound::Settings(codec, settings) => {
                if self.params.is_none() {
                    self.params = Some(with_settings(codec, settings));
                }
            }
            Sound::Packet(params, bytes) => {
                let pts = Timestamp::new(time);
                let frame = params.max_frames_per_packet.unwrap_or(0);
                let params = self.params.get_or_insert(params);
                let rate = params.sample_rate.unwrap_or(TICKS).max(1);
                let length = frame * u64::from(TICKS) / u64::from(rate);
                self.queue
                    .push_back(Packet::new(0, pts, Duration::new(length), bytes));
            }
            Sound::Frames(bytes) => {
                self.framer.push(bytes, Some(time));
                while let Some(packet) = self.framer.next(0, TICKS, false) {
                    self.queue.push_back(packet);
                }
                if self.params.is_none() {
                    self.params = self.framer.like().map(params_of);
                }
            }
            Sound::Nothing => {}
        }
    }
}

/// How much later than at its tag's time a picture is shown, in milliseconds; `None` if the tag
/// holds no picture but settings. Pictures that refer to later ones are stored out of order.
fn delay(front: &[u8]) -> Option<i64> {
    let signed = |at: usize| i64::from((number(front, at) << 8).cast_signed() >> 8);
    let first = *front.first()?;
    if first & 0x80 != 0 {
        // Enhanced RTMP: a name of four letters follows, and mostly no delay.
        return match (first & 15, front.get(1..5)?) {
            (1, b"avc1" | b"hvc1" | b"vvc1") => Some(signed(5)),
            (1 | 3, _) => Some(0),
            _ => None,
        };
    }
    match (first & 15, *front.get(1)?) {
        (7 | 12, 1) => Some(signed(2)),
        (7 | 12, _) => None,
        _ => Some(0),
    }
}

/// The number of 24 bits at this place of four bytes or more.
fn number(bytes: &[u8], at: usize) -> u32 {
    let byte = |at: usize| u32::from(bytes.get(at).copied().unwrap_or(0));
    byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2)
}

fn tag_len(head: &[u8]) -> usize {
    number(head, 1) as usize
}

/// True if this can be the head of a tag: sound, picture or text, of stream 0.
fn is_tag(head: &[u8]) -> bool {
    let kind = head.first().copied().unwrap_or(0);
    [8, 9, 18].contains(&(kind & 0x1f)) && kind & 0xc0 == 0 && head.get(8..TAG) == Some(&[0; 3])
}

/// True if a tag begins here, its length is behind it, and another tag or the end follows.
fn begins_tags(bytes: &[u8]) -> bool {
    if !is_tag(bytes) {
        return false;
    }
    let behind = TAG + tag_len(bytes);
    let told = bytes.get(behind..).and_then(|rest| rest.first_chunk());
    let is_end = told.is_some_and(|told| u32::from_be_bytes(*told) as usize == behind);
    let next = bytes.get(behind + 4..).unwrap_or_default();
    is_end && (next.is_empty() || is_tag(next))
}

/// Samples of a packet of AAC, and of one of Opus of 20 ms.
const AAC: u64 = 1024;

fn sound(body: &[u8]) -> Sound<'_> {
    let [first, rest @ ..] = body else {
        return Sound::Nothing;
    };
    let rate = [5_512, 11_025, 22_050, 44_100][usize::from(first >> 2 & 3)];
    let (is_wide, channels) = (first & 2 != 0, u16::from(first & 1) + 1);
    let bytes = if is_wide { 2 } else { 1 };
    let samples = |codec, rate, bytes: usize| {
        let frames = rest.len() / (bytes * usize::from(channels));
        let mut params = params(codec, rate, channels);
        params.with_max_frames_per_packet(frames as u64);
        let whole = frames * bytes * usize::from(channels);
        Sound::Packet(params, &rest[..whole])
    };
    let named = |codec| Sound::Packet(params(codec, rate, channels), rest);
    match (first >> 4, rest) {
        (0 | 3, _) if is_wide => samples(codec::CODEC_ID_PCM_S16LE, rate, bytes),
        (0 | 3, _) => samples(codec::CODEC_ID_PCM_U8, rate, bytes),
        (1, _) => named(ADPCM_SWF),
        (2 | 14, _) => Sound::Frames(rest),
        (4..=6, _) => named(NELLYMOSER),
        (7, _) => samples(codec::CODEC_ID_PCM_ALAW, 8_000, 1),
        (8, _) => samples(codec::CODEC_ID_PCM_MULAW, 8_000, 1),
        (10, [0, settings @ ..]) => Sound::Settings(codec::CODEC_ID_AAC, settings),
        (10, [1, packet @ ..]) => coded(codec::CODEC_ID_AAC, packet),
        (11, _) => named(codec::CODEC_ID_SPEEX),
        (9, _) => enhanced(first & 15, rest),
        _ => Sound::Nothing,
    }
}

/// Enhanced RTMP: the codec has a name of four letters.
fn enhanced(kind: u8, rest: &[u8]) -> Sound<'_> {
    let Some((name, rest)) = rest.split_first_chunk::<4>() else {
        return Sound::Nothing;
    };
    let codec = match name {
        b"mp4a" => codec::CODEC_ID_AAC,
        b"Opus" => codec::CODEC_ID_OPUS,
        b"fLaC" => codec::CODEC_ID_FLAC,
        b"ac-3" => codec::CODEC_ID_AC3,
        b"ec-3" => codec::CODEC_ID_EAC3,
        b".mp3" if kind == 1 => return Sound::Frames(rest),
        _ => return Sound::Nothing,
    };
    match kind {
        0 => Sound::Settings(codec, rest),
        1 => coded(codec, rest),
        _ => Sound::Nothing,
    }
}

fn coded(codec: AudioCodecId, packet: &[u8]) -> Sound<'_> {
    let mut params = params(codec, 44_100, 2);
    params.with_max_frames_per_packet(if codec == codec::CODEC_ID_AAC {
        AAC
    } else {
        960
    });
    Sound::Packet(params, packet)
}

/// The settings of a codec.
pub(super) fn with_settings(codec: AudioCodecId, settings: &[u8]) -> AudioCodecParameters {
    let (rate, channels) = match codec {
        codec::CODEC_ID_OPUS => (48_000, settings.get(9).copied().map_or(2, u16::from)),
        codec::CODEC_ID_AAC => aac(settings).unwrap_or((44_100, 2)),
        _ => (44_100, 2),
    };
    let mut params = params(codec, rate, channels);
    params.with_extra_data(settings.into());
    if codec == codec::CODEC_ID_AAC {
        params.with_max_frames_per_packet(AAC);
    }
    params
}

/// Rate and channels of AAC's core from its AudioSpecificConfig; ISO/IEC 14496-3, 1.6.2.1.
fn aac(settings: &[u8]) -> Option<(u32, u16)> {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    let [first, second, ..] = settings else {
        return None;
    };
    let rate = *RATES.get(usize::from(first & 7) << 1 | usize::from(second >> 7))?;
    Some((rate, u16::from(second >> 3 & 15)))
}

impl Demux for Flv {
    fn next(&mut self, stream: &mut MediaSourceStream<'_>) -> Result<Option<Packet>> {
        loop {
            if let Some(packet) = self.pop() {
                return Ok(Some(packet));
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if !self.read(stream)? {
                return Ok(self.pop());
            }
        }
    }
}
