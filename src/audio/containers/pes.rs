//! Shared parts of MPEG's transport and program streams: packets with times, and streams of
//! frames made from them.

use std::collections::VecDeque;

use symphonia::core::{
    codecs::audio::AudioCodecId, formats::Track, packet::Packet, units::Timestamp,
};

use super::{
    elementary::{Framer, params_of},
    params, track,
};

/// Ticks of MPEG's clock in a second.
pub(super) const TICKS: u32 = 90_000;

/// Bits of a time, which starts anew after 26.5 hours.
const TIME_BITS: u32 = 33;

/// Largest number of streams of a file.
const MOST_STREAMS: usize = 64;

/// Contents of a stream.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// MPEG audio or ADTS.
    Frames,
    /// Audio that cannot be decoded.
    Named(AudioCodecId),
    /// Pictures, whose times count all the same.
    Other,
}

struct Stream {
    /// PID or stream id.
    key: u16,
    kind: Kind,
    /// ISO 639 code of its language, if the file tells it.
    language: Option<String>,
    framer: Framer,
    first: Option<i64>,
    last: i64,
}

/// All streams of a file, and packets that wait.
#[derive(Default)]
pub(super) struct Streams {
    list: Vec<Stream>,
    queue: VecDeque<Packet>,
    /// Time of the file's first picture or sound.
    origin: i64,
}

/// The header of a packet.
pub(super) struct Header {
    pub(super) time: Option<i64>,
    /// Bytes up to the payload.
    pub(super) len: usize,
}

/// Reads the header of a packet that starts here with `00 00 01`; ISO/IEC 13818-1, 2.4.3.6, and
/// 11172-1, 2.4.3.3.
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let mut at = 6;
    if bytes.get(6)? >> 6 == 2 {
        let (flags, len) = (*bytes.get(7)?, usize::from(*bytes.get(8)?));
        let time = (flags & 0x80 != 0).then(|| time(bytes.get(9..)?)).flatten();
        return Some(Header { time, len: 9 + len });
    }
    // MPEG-1: bytes that fill, buffer size, times.
    while *bytes.get(at)? == 0xff && at < 6 + 16 {
        at += 1;
    }
    if bytes.get(at)? >> 6 == 1 {
        at += 2;
    }
    let (time, len) = match bytes.get(at)? >> 4 {
        2 => (time(&bytes[at..]), 5),
        3 => (time(&bytes[at..]), 10),
        _ => (None, 1),
    };
    Some(Header {
        time,
        len: at + len,
    })
}

fn time(bytes: &[u8]) -> Option<i64> {
    let [a, b, c, d, e] = bytes.first_chunk::<5>()?.map(i64::from);
    Some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}

impl Streams {
    /// Adds a stream, unless it is known.
    pub(super) fn add(&mut self, key: u16, kind: Kind, language: Option<String>) {
        if self.list.len() < MOST_STREAMS && !self.list.iter().any(|stream| stream.key == key) {
            self.list.push(Stream {
                key,
                kind,
                language,
                framer: Framer::default(),
                first: None,
                last: 0,
            });
        }
    }

    pub(super) fn has(&self, key: u16) -> bool {
        self.list.iter().any(|stream| stream.key == key)
    }

    /// Adds a part of a stream, which may begin with a time.
    pub(super) fn push(&mut self, key: u16, bytes: &[u8], time: Option<i64>) {
        let found = self.list.iter_mut().find(|stream| stream.key == key);
        let Some(stream) = found else {
            return;
        };
        let time = time.map(|time| stream.unwrapped(time));
        if let Kind::Frames = stream.kind {
            stream.framer.push(bytes, time);
            stream.drain(&mut self.queue, false);
        }
    }

    /// No more parts follow.
    pub(super) fn finish(&mut self) {
        for stream in &mut self.list {
            stream.drain(&mut self.queue, true);
        }
    }

    /// True if every stream has shown its time, and what it is.
    pub(super) fn are_known(&self) -> bool {
        let is_known = |stream: &Stream| {
            let has_frame = stream.framer.like().is_some();
            stream.first.is_some() && (has_frame || !matches!(stream.kind, Kind::Frames))
        };
        !self.list.is_empty() && self.list.iter().all(is_known)
    }

    /// The tracks of streams that were heard, and of those that cannot be decoded. From now on time
    /// counts from the earliest one known.
    pub(super) fn tracks(&mut self) -> Vec<Track> {
        let firsts = self.list.iter().filter_map(|stream| stream.first);
        self.origin = firsts.min().unwrap_or(0);
        let tracks = self.list.iter().filter_map(|stream| {
            let audio = match stream.kind {
                Kind::Frames => params_of(stream.framer.like()?),
                Kind::Named(codec) => params(codec, 48_000, 2),
                Kind::Other => return None,
            };
            let mut track = track(stream.key.into(), audio, (1, TICKS));
            if let Some(language) = &stream.language {
                track.with_language(language);
            }
            Some(track)
        });
        tracks.collect()
    }

    /// True if a packet is complete.
    pub(super) fn has_packet(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next packet that is complete.
    pub(super) fn pop(&mut self) -> Option<Packet> {
        let mut packet = self.queue.pop_front()?;
        packet.pts = Timestamp::new(packet.pts.get().saturating_sub(self.origin));
        packet.dts = packet.pts;
        Some(packet)
    }
}

impl Stream {
    /// This time without the jump back after 26.5 hours.
    fn unwrapped(&mut self, time: i64) -> i64 {
        let wrap = 1_i64 << TIME_BITS;
        let known = self.first.map_or(time, |_| self.last);
        let ahead = (time - known).rem_euclid(wrap);
        let step = if ahead < wrap / 2 {
            ahead
        } else {
            ahead - wrap
        };
        self.last = known + step;
        self.first.get_or_insert(self.last);
        self.last
    }

    fn drain(&mut self, queue: &mut VecDeque<Packet>, is_last: bool) {
        while let Some(packet) = self.framer.next(self.key.into(), TICKS, is_last) {
            queue.push_back(packet);
        }
    }
}
