//! Packets of one voice, one after another: GSM, G.722, and AMR's own files.

use std::io::ErrorKind;

use symphonia::core::{
    errors::{Error, Result},
    io::{MediaSourceStream, ReadBytes, SeekBuffered as _},
    packet::Packet,
    units::{Duration, Timestamp},
};

use super::{Demux, Opened, WINDOW, params, search, skip, take, track};
use crate::audio::codecs::Voice;

/// Packets that must follow each other behind damage.
const FEW: usize = 4;

/// First lines of files of AMR, of which several may be joined.
const LINES: [&[u8]; 2] = [b"#!AMR\n", b"#!AMR-WB\n"];

struct Packets {
    voice: Voice,
    pts: i64,
    /// Bytes of the packets so far, and their number.
    bytes: u64,
    count: u64,
}

/// A stream of packets from here on, at this rate.
pub(super) fn open(stream: &mut MediaSourceStream<'_>, voice: Voice, rate: u32) -> Opened {
    stream.ensure_seekback_buffer(2 * WINDOW);
    let track = track(0, params(voice.id(), rate, 1), (1, rate));
    let packets = Packets {
        voice,
        pts: 0,
        bytes: 0,
        count: 0,
    };
    (vec![track], Box::new(packets))
}

/// A file of AMR, whose first line names it.
pub(super) fn open_amr(stream: &mut MediaSourceStream<'_>, voice: Voice) -> Result<Opened> {
    while stream.read_byte()? != b'\n' {}
    Ok(open(stream, voice, voice.rate()))
}

impl Packets {
    /// True if several packets begin here, or one that is the last.
    fn begin(&self, mut bytes: &[u8]) -> bool {
        for _ in 0..FEW {
            let Some(first) = bytes.first() else {
                return true;
            };
            if !self.voice.begins(*first) {
                return false;
            }
            let len = self.len_of(*first);
            let Some(next) = bytes.get(len..) else {
                return false;
            };
            bytes = next;
        }
        true
    }

    fn len_of(&self, first: u8) -> usize {
        let fixed = self.voice.packet().1;
        fixed.unwrap_or_else(|| self.voice.packet_of(first))
    }

    /// Goes to the next packets behind damage, which take the time that their bytes tell.
    fn resynchronize(
        &mut self,
        stream: &mut MediaSourceStream<'_>,
        from: u64,
    ) -> Result<Option<Packet>> {
        stream.seek_buffered(from);
        let passed = search(stream, |bytes| self.begin(bytes))?;
        let Some(passed) = passed else {
            return Err(Error::IoError(ErrorKind::UnexpectedEof.into()));
        };
        let mean = self.bytes.max(1) as f64 / self.count.max(1) as f64;
        let lost = (passed as f64 / mean).round().max(1.0) as i64;
        let samples = lost.saturating_mul(self.voice.packet().0.into());
        self.pts = self.pts.saturating_add(samples);
        Err(Error::DecodeError("packets of speech are damaged"))
    }

    /// The next bytes, as many as asked for or all. They remain to be read.
    fn peek(stream: &mut MediaSourceStream<'_>, count: usize) -> Result<Vec<u8>> {
        let start = stream.pos();
        let bytes = take(stream, count)?;
        stream.seek_buffered(start);
        Ok(bytes)
    }
}

impl Demux for Packets {
    fn next(&mut self, stream: &mut MediaSourceStream<'_>) -> Result<Option<Packet>> {
        let samples = self.voice.packet().0;
        let mut front = Self::peek(stream, LINES[1].len())?;
        while let Some(line) = LINES.iter().find(|line| front.starts_with(line)) {
            skip(stream, line.len() as u64)?;
            front = Self::peek(stream, LINES[1].len())?;
        }
        let (start, Some(first)) = (stream.pos(), front.first()) else {
            return Ok(None);
        };
        if !self.voice.begins(*first) {
            return self.resynchronize(stream, start);
        }
        let len = self.len_of(*first);
        let mut packet = take(stream, len)?;
        let next = Self::peek(stream, 1)?;
        let follows = |next: &u8| self.voice.begins(*next) || *next == LINES[0][0];
        if !next.first().is_none_or(follows) {
            // Either this packet is damaged, or the next one.
            return self.resynchronize(stream, start + 1);
        }
        let samples = match self.voice {
            // Two samples from each byte: the last packet may be short.
            Voice::G722 => 2 * packet.len() as u32,
            // The second frame of the last pair may be missing.
            Voice::GsmPairs if (33..65).contains(&packet.len()) => {
                packet.resize(65, 0);
                samples
            }
            // Programs count the byte that fills a chunk of RIFF up.
            Voice::GsmPairs if packet == [0] => return Ok(None),
            _ if packet.len() < len => {
                return Err(Error::IoError(ErrorKind::UnexpectedEof.into()));
            }
            _ => samples,
        };
        self.bytes += packet.len() as u64;
        self.count += 1;
        let pts = Timestamp::new(self.pts);
        self.pts += i64::from(samples);
        Ok(Some(Packet::new(
            0,
            pts,
            Duration::new(samples.into()),
            packet,
        )))
    }
}
