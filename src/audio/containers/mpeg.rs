//! MPEG's containers: transport streams (`.ts`, `.m2ts`) and program streams (`.mpg`, `.vob`).

use std::{collections::BTreeMap, io::ErrorKind};

use symphonia::core::{
    codecs::audio::{AudioCodecId, well_known as codec},
    common::FourCc,
    errors::{Error, Result},
    io::{MediaSourceStream, ReadBytes, SeekBuffered as _},
    packet::Packet,
};

use super::{
    Demux, Opened, WINDOW, is_end,
    pes::{Kind, Streams, header},
    search, skip, take,
};

/// AAC with its own headers instead of ADTS, and samples in the form of Blu-ray and DVD: named, but
/// not read.
pub(crate) const LATM: AudioCodecId = AudioCodecId::new(FourCc::new(*b"latm"));
pub(crate) const DISC_PCM: AudioCodecId = AudioCodecId::new(FourCc::new(*b"dpcm"));
pub(crate) const OPUS_TS: AudioCodecId = AudioCodecId::new(FourCc::new(*b"opts"));
pub(crate) const S302M: AudioCodecId = AudioCodecId::new(FourCc::new(*b"s302"));

/// Bytes that are read to find all streams and their first times.
const OPENING: u64 = 4 << 20;

/// Longest section of a table, in bytes.
const SECTION: usize = 1024;

/// Largest number of programs in a file.
const MOST_PROGRAMS: usize = 64;

/// The first byte of a packet, and how many packets in a row tell where packets begin.
const SYNC: u8 = 0x47;
const IN_A_ROW: usize = 4;

struct Transport {
    packet: usize,
    /// Bytes of a packet in front of 0x47.
    streams: Streams,
    /// PIDs of the tables of programs, and what came of each so far.
    tables: Vec<(u16, Vec<u8>)>,
    /// The last counter of each stream.
    counters: BTreeMap<u16, u8>,
    /// Packets are missing or damaged, and nobody was told so yet.
    is_lossy: bool,
    end: Option<End>,
}

/// How a stream ended.
#[derive(Clone, Copy)]
enum End {
    Whole,
    /// Within a packet.
    Cut,
}

impl End {
    /// The demuxer's word about it.
    fn told(self) -> Result<Option<Packet>> {
        match self {
            Self::Whole => Ok(None),
            Self::Cut => Err(Error::IoError(ErrorKind::UnexpectedEof.into())),
        }
    }
}

pub(super) fn open_transport(
    stream: &mut MediaSourceStream<'_>,
    front: usize,
    packet: usize,
) -> Result<Opened> {
    stream.ensure_seekback_buffer(2 * WINDOW);
    skip(stream, front as u64)?;
    let mut transport = Transport {
        packet,
        streams: Streams::default(),
        tables: vec![(0, Vec::new())],
        counters: BTreeMap::new(),
        is_lossy: false,
        end: None,
    };
    let start = stream.pos();
    while !transport.streams.are_known() && stream.pos() - start < OPENING {
        if !transport.read(stream)? {
            break;
        }
    }
    let tracks = transport.streams.tracks();
    Ok((tracks, Box::new(transport)))
}

impl Transport {
    /// Reads one packet; false at the end.
    fn read(&mut self, stream: &mut MediaSourceStream<'_>) -> Result<bool> {
        let mut packet = take(stream, self.packet)?;
        if packet.first().is_some_and(|byte| *byte != SYNC) {
            // Bytes were lost or inserted: look for the next packets. One such byte is no start.
            self.is_lossy = true;
            stream.seek_buffered(stream.pos() - packet.len() as u64 + 1);
            let len = self.packet;
            let starts = |bytes: &[u8]| {
                let ahead = (0..IN_A_ROW).map(|n| bytes.get(n * len));
                ahead.flatten().all(|byte| *byte == SYNC)
            };
            packet = match search(stream, starts)? {
                Some(_) => take(stream, len)?,
                None => Vec::new(),
            };
        }
        if packet.len() < 188 {
            self.streams.finish();
            self.end = Some(if packet.is_empty() {
                End::Whole
            } else {
                End::Cut
            });
            return Ok(false);
        }
        self.packet_of(&packet[..188]);
        Ok(true)
    }

    fn packet_of(&mut self, packet: &[u8]) {
        let (pid, starts) = (
            u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]),
            packet[1] & 0x40 != 0,
        );
        let (is_damaged, is_secret) = (packet[1] & 0x80 != 0, packet[3] & 0xc0 != 0);
        self.is_lossy |= is_damaged;
        if packet[3] & 0x10 == 0 || is_damaged || is_secret {
            return;
        }
        self.count(pid, packet);
        let adaptation = if packet[3] & 0x20 == 0 {
            0
        } else {
            1 + usize::from(packet[4])
        };
        let Some(payload) = packet.get(4 + adaptation..) else {
            return;
        };
        if self.tables.iter().any(|table| table.0 == pid) {
            self.section(pid, payload, starts);
        } else if self.streams.has(pid) {
            if !starts {
                self.streams.push(pid, payload, None);
            } else if payload.starts_with(b"\0\0\x01")
                && let Some(header) = header(payload)
                && let Some(payload) = payload.get(header.len..)
            {
                self.streams.push(pid, payload, header.time);
            }
        }
    }

    /// Notices packets of a stream that are missing, by the counter in each; ISO/IEC 13818-1,
    /// 2.4.3.3. A packet may come twice, and the adaptation field may announce a new beginning.
    fn count(&mut self, pid: u16, packet: &[u8]) {
        let is_new = packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x80 != 0;
        let counter = packet[3] & 0x0f;
        if self.streams.has(pid)
            && let Some(last) = self.counters.insert(pid, counter)
        {
            let follows = counter == last || counter == (last + 1) & 0x0f;
            self.is_lossy |= !is_new && !follows;
        }
    }

    /// Collects a section of a table, and reads it once it is complete.
    fn section(&mut self, pid: u16, payload: &[u8], starts: bool) {
        let found = self.tables.iter_mut().find(|table| table.0 == pid);
        let Some((_, section)) = found else {
            return;
        };
        if starts {
            let skip = 1 + payload.first().copied().map_or(0, usize::from);
            *section = payload.get(skip..).unwrap_or_default().to_vec();
        } else if !section.is_empty() && section.len() < SECTION {
            section.extend_from_slice(payload);
        }
        let Some(head) = section.first_chunk::<3>() else {
            return;
        };
        let len = 3 + (usize::from(head[1] & 0x0f) << 8 | usize::from(head[2]));
        // Four bytes of checksum end it.
        let Some(body) = section.get(8..len.saturating_sub(4)) else {
            return;
        };
        let (kind, body) = (head[0], body.to_vec());
        match kind {
            0 if pid == 0 => {
                for program in body.chunks_exact(4) {
                    let number = u16::from_be_bytes([program[0], program[1]]);
                    let pid = u16::from_be_bytes([program[2] & 0x1f, program[3]]);
                    let is_new = self.tables.iter().all(|table| table.0 != pid);
                    if number != 0 && is_new && self.tables.len() <= MOST_PROGRAMS {
                        self.tables.push((pid, Vec::new()));
                    }
                }
            }
            2 => self.program(&body),
            _ => {}
        }
    }

    /// Adds the streams of a program.
    fn program(&mut self, body: &[u8]) {
        let length = |at: usize| {
            let two = body.get(at..at + 2);
            two.map_or(0, |two| {
                usize::from(two[0] & 0x0f) << 8 | usize::from(two[1])
            })
        };
        let mut at = 4 + length(2);
        while let Some(entry) = body.get(at..at + 5) {
            let pid = u16::from_be_bytes([entry[1] & 0x1f, entry[2]]);
            let len = length(at + 3);
            let descriptors = body.get(at + 5..at + 5 + len).unwrap_or_default();
            let language = language(descriptors);
            self.streams
                .add(pid, kind_of(entry[0], descriptors), language);
            at += 5 + len;
        }
    }
}

/// Contents of a stream of this type; ISO/IEC 13818-1, table 2-34, ATSC A/52, Blu-ray.
fn kind_of(number: u8, descriptors: &[u8]) -> Kind {
    Kind::Named(match number {
        0x03 | 0x04 | 0x0f => return Kind::Frames,
        0x11 | 0x1c => LATM,
        0x80 | 0x8a if descriptors.is_empty() || number == 0x8a => {
            if number == 0x80 {
                DISC_PCM
            } else {
                codec::CODEC_ID_DCA
            }
        }
        0x81 => codec::CODEC_ID_AC3,
        0x82 | 0x85 | 0x86 => codec::CODEC_ID_DCA,
        0x83 => codec::CODEC_ID_TRUEHD,
        0x84 | 0x87 | 0xa1 => codec::CODEC_ID_EAC3,
        0x80 if registration(descriptors) == Some(b"HDMV") => DISC_PCM,
        0x06 => match registration(descriptors) {
            Some(b"Opus") => OPUS_TS,
            Some(b"AC-3") => codec::CODEC_ID_AC3,
            Some(b"EAC3") => codec::CODEC_ID_EAC3,
            Some(b"BSSD") => S302M,
            Some(b"DTS1" | b"DTS2" | b"DTS3") => codec::CODEC_ID_DCA,
            _ if descriptor(descriptors, 0x6a).is_some() => codec::CODEC_ID_AC3,
            _ if descriptor(descriptors, 0x7a).is_some() => codec::CODEC_ID_EAC3,
            _ if descriptor(descriptors, 0x7b).is_some() => codec::CODEC_ID_DCA,
            // Teletext and subtitles of DVB.
            _ if [0x56, 0x59]
                .iter()
                .any(|tag| descriptor(descriptors, *tag).is_some()) =>
            {
                return Kind::Other;
            }
            // Blu-ray's form has no number for AAC.
            _ => return Kind::Frames,
        },
        _ => return Kind::Other,
    })
}

/// The language of a stream; ISO/IEC 13818-1, 2.6.18.
fn language(descriptors: &[u8]) -> Option<String> {
    let letters: &[u8; 3] = descriptor(descriptors, 0x0a)?.first_chunk()?;
    let is_code = letters.iter().all(u8::is_ascii_alphabetic);
    is_code.then(|| letters.iter().map(|letter| char::from(*letter)).collect())
}

/// The body of the first descriptor with this tag.
fn descriptor(mut descriptors: &[u8], tag: u8) -> Option<&[u8]> {
    while let [this, len, rest @ ..] = descriptors {
        let body = rest.get(..usize::from(*len))?;
        if *this == tag {
            return Some(body);
        }
        descriptors = &rest[usize::from(*len)..];
    }
    None
}

fn registration(descriptors: &[u8]) -> Option<&[u8; 4]> {
    descriptor(descriptors, 5)?.first_chunk()
}

impl Demux for Transport {
    fn next(&mut self, stream: &mut MediaSourceStream<'_>) -> Result<Option<Packet>> {
        loop {
            let is_stop = self.streams.has_packet() || self.end.is_some();
            // Once for all packets that are missing together.
            if is_stop && std::mem::take(&mut self.is_lossy) {
                return Err(Error::DecodeError("ts: packets are missing or damaged"));
            }
            if let Some(packet) = self.streams.pop() {
                return Ok(Some(packet));
            }
            if let Some(end) = self.end {
                return end.told();
            }
            self.read(stream)?;
        }
    }
}

/// First stream ids of MPEG audio and of video, and the one of all others.
const AUDIO: std::ops::RangeInclusive<u8> = 0xc0..=0xdf;
const VIDEO: std::ops::RangeInclusive<u8> = 0xe0..=0xef;
const PRIVATE: u8 = 0xbd;

struct Program {
    streams: Streams,
    /// Bytes between packets were no filling, and nobody was told so yet.
    is_lossy: bool,
    /// The last packet was complete, so that only filling may follow it.
    is_apart: bool,
    end: Option<End>,
}

pub(super) fn open_program(stream: &mut MediaSourceStream<'_>) -> Result<Opened> {
    let mut program = Program {
        streams: Streams::default(),
        is_lossy: false,
        is_apart: false,
        end: None,
    };
    let start = stream.pos();
    // Nothing announces the streams, so there may be one more.
    while stream.pos() - start < OPENING / 4 || !program.streams.are_known() {
        if stream.pos() - start > OPENING || !program.read(stream)? {
            break;
        }
    }
    let tracks = program.streams.tracks();
    Ok((tracks, Box::new(program)))
}

impl Program {
    /// Reads one packet; false at the end.
    fn read(&mut self, stream: &mut MediaSourceStream<'_>) -> Result<bool> {
        match self.packet(stream) {
            Ok(()) => Ok(true),
            Err(error) if is_end(&error) => {
                self.streams.finish();
                self.end.get_or_insert(End::Whole);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn packet(&mut self, stream: &mut MediaSourceStream<'_>) -> Result<()> {
        // Zeros may fill the space between packets.
        let mut last = u32::MAX;
        while last & 0x00ff_ffff != 1 {
            let byte = stream.read_byte()?;
            // After a start code of video its data follow.
            self.is_lossy |= byte > 1 && self.is_apart;
            last = last << 8 | u32::from(byte);
        }
        self.is_apart = true;
        let id = stream.read_byte()?;
        match id {
            0xba => {
                let first = stream.read_byte()?;
                if first >> 6 == 1 {
                    skip(stream, 8)?;
                    let fill = stream.read_byte()? & 7;
                    skip(stream, fill.into())?;
                } else {
                    skip(stream, 7)?;
                }
            }
            // The end, or a start code of video.
            ..=0xb9 => self.is_apart = false,
            _ => {
                let len = usize::from(stream.read_be_u16()?);
                if !(AUDIO.contains(&id) || VIDEO.contains(&id) || id == PRIVATE) {
                    return skip(stream, len as u64);
                }
                let mut packet = vec![0, 0, 1, id, 0, 0];
                packet.extend(take(stream, len)?);
                self.payload(id, &packet);
                if packet.len() < 6 + len {
                    self.end = Some(End::Cut);
                }
            }
        }
        Ok(())
    }

    fn payload(&mut self, id: u8, packet: &[u8]) {
        let Some(header) = header(packet) else {
            return;
        };
        let payload = packet.get(header.len..).unwrap_or_default();
        let (key, kind) = match (id, payload.first()) {
            (PRIVATE, Some(sub @ 0x80..=0x87)) => (sub, Kind::Named(codec::CODEC_ID_AC3)),
            (PRIVATE, Some(sub @ 0x88..=0x8f)) => (sub, Kind::Named(codec::CODEC_ID_DCA)),
            (PRIVATE, Some(sub @ 0xa0..=0xaf)) => (sub, Kind::Named(DISC_PCM)),
            (PRIVATE, _) => return,
            _ if AUDIO.contains(&id) => (&id, Kind::Frames),
            _ => (&id, Kind::Other),
        };
        self.streams.add((*key).into(), kind, None);
        self.streams.push((*key).into(), payload, header.time);
    }
}

impl Demux for Program {
    fn next(&mut self, stream: &mut MediaSourceStream<'_>) -> Result<Option<Packet>> {
        loop {
            let is_stop = self.streams.has_packet() || self.end.is_some();
            if is_stop && std::mem::take(&mut self.is_lossy) {
                return Err(Error::DecodeError(
                    "mpeg: bytes between packets are damaged",
                ));
            }
            if let Some(packet) = self.streams.pop() {
                return Ok(Some(packet));
            }
            if let Some(end) = self.end {
                return end.told();
            }
            self.read(stream)?;
        }
    }
}
