//! Reads Matroska and WebM with the times at which players present the sound.
//!
//! Symphonia's reader stops at the first damage, and ignores compression and the trimming of ends.
//! It still reads the descriptions of codecs.

mod block;
mod ebml;
mod entry;

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
};

use symphonia::core::{
    codecs::CodecParameters,
    errors::{
        Error, Result, SeekErrorKind, decode_error, reset_error, seek_error, unsupported_error,
    },
    formats::{
        FormatInfo, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track,
        well_known::FORMAT_ID_MKV,
    },
    io::{MediaSourceStream, ReadBytes as _, SeekBuffered as _},
    meta::{Metadata, MetadataLog},
    packet::Packet,
    units::{Duration, Timestamp},
};

use ebml::Element;
use entry::Entry;

const INFO: FormatInfo = FormatInfo {
    format: FORMAT_ID_MKV,
    short_name: "matroska",
    long_name: "Matroska / WebM",
};

/// Longest block of sound, in bytes: a second of 64 channels of 32 bits takes 12 MiB, but no writer
/// puts a second into a block.
const LONGEST_BLOCK: u64 = 4 << 20;

/// Most frames of a block.
const MOST_FRAMES: usize = 256;

/// Most tracks that are looked at.
const MOST_TRACKS: usize = 256;

/// A file is complete if its last block ends no more than this before the announced end, in
/// nanoseconds.
const ROUNDING: i64 = 100_000_000;

/// Longest time that a block is expected to last, in nanoseconds.
const LONGEST_STEP: i64 = 1_000_000_000;

/// Reads the packets of all tracks of sound.
pub(super) struct Reader<'s> {
    stream: MediaSourceStream<'s>,
    info: MediaInfo,
    metadata: MetadataLog,
    tracks: Vec<Track>,
    entries: Vec<Entry>,
    /// Nanoseconds of one unit of time, and length of the recording in nanoseconds, if it is given.
    scale: i64,
    length: Option<i64>,
    /// Time of the current cluster, in nanoseconds.
    cluster: i64,
    /// Time at which the blocks so far end, in nanoseconds: a block lasts about as long as the one
    /// before it in its track.
    reach: i64,
    /// Positions behind the current cluster and the current group of blocks, if they are known.
    cluster_end: u64,
    group_end: u64,
    frames: VecDeque<Packet>,
    /// Damage was found behind the last block.
    is_damaged: bool,
}

/// Meaning of an element.
enum Found {
    Nothing,
    Tracks,
    Block,
    End,
}

impl<'s> Reader<'s> {
    pub(super) fn new(mut stream: MediaSourceStream<'s>) -> Result<Self> {
        let head = ebml::element(&mut stream)?;
        let Some(head) = head.filter(|head| head.id == ebml::EBML) else {
            return decode_error("mkv: the header is damaged");
        };
        let contents = ebml::contents(&mut stream, &head)?;
        let kind = ebml::child(&contents, 0x4282).unwrap_or_default();
        let kind = kind.split(|byte| *byte == 0).next().unwrap_or_default();
        if ![&b"matroska"[..], b"webm"].contains(&kind) {
            return unsupported_error("mkv: not a matroska / webm file");
        }
        let mut reader = Self {
            stream,
            info: MediaInfo::default(),
            metadata: MetadataLog::default(),
            tracks: Vec::new(),
            entries: Vec::new(),
            scale: 1_000_000,
            length: None,
            cluster: 0,
            reach: 0,
            cluster_end: u64::MAX,
            group_end: 0,
            frames: VecDeque::new(),
            is_damaged: false,
        };
        loop {
            match reader.look()? {
                Found::End if reader.tracks.is_empty() => {
                    return decode_error("mkv: missing Tracks element");
                }
                // The time of the first block tells when the recording starts.
                Found::End | Found::Block => break,
                Found::Nothing | Found::Tracks => {}
            }
        }
        let first = reader.entries.iter().filter_map(|entry| entry.last).min();
        let start = Timestamp::new(first.unwrap_or(0).min(reader.cluster));
        reader
            .tracks
            .iter_mut()
            .for_each(|track| track.start_ts = start);
        Ok(reader)
    }

    /// Look at the next element.
    fn look(&mut self) -> Result<Found> {
        match self.look_closely() {
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                self.end().map(|()| Found::End)
            }
            found => found,
        }
    }

    /// The end of the bytes is an error if the file announces more.
    fn end(&self) -> Result<()> {
        let is_short = |length: i64| self.reach.saturating_add(ROUNDING) < length;
        if !self.is_damaged && self.length.is_some_and(is_short) {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    fn look_closely(&mut self) -> Result<Found> {
        if self.stream.pos() >= self.cluster_end {
            self.cluster_end = u64::MAX;
        }
        let Some(element) = ebml::element(&mut self.stream)? else {
            return self.resynchronize();
        };
        let fits = self.fits(&element);
        if !fits {
            return self.resynchronize();
        }
        match element.id {
            ebml::INFO => {
                let info = ebml::contents(&mut self.stream, &element)?;
                self.take_info(&info);
            }
            ebml::TRACKS => {
                let tracks = ebml::contents(&mut self.stream, &element)?;
                self.take_tracks(&tracks);
                return Ok(Found::Tracks);
            }
            ebml::CLUSTER => self.cluster_end = element.end.unwrap_or(u64::MAX),
            ebml::TIMESTAMP => {
                let time = ebml::unsigned(&mut self.stream, &element)?;
                self.cluster = i64::try_from(time).unwrap_or(0).saturating_mul(self.scale);
            }
            ebml::BLOCK_GROUP => self.group_end = element.end.unwrap_or(0),
            ebml::SIMPLE_BLOCK | ebml::BLOCK => return self.block(&element),
            ebml::BLOCK_DURATION => {
                let units = ebml::unsigned(&mut self.stream, &element)?;
                let length = units.saturating_mul(self.scale.unsigned_abs());
                let share = length / (self.frames.len() as u64).max(1);
                self.frames
                    .iter_mut()
                    .for_each(|frame| frame.dur = Duration::new(share));
            }
            ebml::DISCARD_PADDING => {
                let padding = ebml::contents(&mut self.stream, &element)?;
                self.discard(&padding);
            }
            _ if element.is_entered() => {}
            _ => ebml::leave(&mut self.stream, &element)?,
        }
        Ok(Found::Nothing)
    }

    /// True if this element can be here. Only a few may be of unknown length.
    fn fits(&mut self, element: &Element) -> bool {
        let Some(end) = element.end else {
            return [ebml::SEGMENT, ebml::CLUSTER].contains(&element.id);
        };
        let is_top = element.id > 0xffff;
        let is_sound = [ebml::SIMPLE_BLOCK, ebml::BLOCK].contains(&element.id);
        element.is_known()
            && (is_top || end <= self.cluster_end)
            && (!is_sound || element.len >= 4)
            && (element.id != ebml::DISCARD_PADDING || element.len <= 8)
    }

    fn take_info(&mut self, info: &[u8]) {
        let scale = ebml::unsigned_child(info, 0x2a_d7b1).unwrap_or(1_000_000);
        self.scale = i64::try_from(scale).unwrap_or(1_000_000).max(1);
        let length = ebml::float_child(info, 0x4489).filter(|length| *length > 0.0);
        self.length = length.map(|length| (length * self.scale as f64) as i64);
    }

    fn take_tracks(&mut self, tracks: &[u8]) {
        let entries = ebml::children(tracks).filter(|(id, _)| *id == 0xae);
        let entries = entries.take(MOST_TRACKS);
        self.entries = entries
            .filter_map(|(_, entry)| Entry::read(entry))
            .collect();
        self.tracks = self
            .entries
            .iter()
            .map(|entry| entry.track.clone())
            .collect();
        self.frames.clear();
        for track in &mut self.tracks {
            if let (Some(CodecParameters::Audio(params)), Some(length)) =
                (&track.codec_params, self.length)
            {
                let frames = length as f64 * f64::from(params.sample_rate.unwrap_or(0)) / 1e9;
                track.num_frames = Some(frames as u64);
            }
        }
    }

    /// Read a block, if it is sound.
    fn block(&mut self, element: &Element) -> Result<Found> {
        let Some(Some(number)) = ebml::number(&mut self.stream)? else {
            return self.resynchronize();
        };
        let later = self.stream.read_be_i16()?;
        let flags = self.stream.read_byte()?;
        let left = element.end.unwrap_or(0).checked_sub(self.stream.pos());
        let entry = self
            .entries
            .iter()
            .position(|entry| u64::from(entry.track.id) == number);
        let (Some(left), Some(entry)) = (left, entry) else {
            return self.resynchronize();
        };
        let time = i64::from(later)
            .saturating_mul(self.scale)
            .saturating_add(self.cluster);
        let last = self.entries[entry].last.replace(time).unwrap_or(time);
        let step = time.saturating_sub(last).clamp(0, LONGEST_STEP);
        self.reach = self.reach.max(time.saturating_add(step));
        self.is_damaged = false;
        if !self.entries[entry].is_sound {
            ebml::leave(&mut self.stream, element)?;
            return Ok(Found::Block);
        }
        if left > LONGEST_BLOCK {
            return self.resynchronize();
        }
        let bytes = self.stream.read_boxed_slice_exact(left as usize)?;
        let entry = &self.entries[entry];
        let Some(frames) = block::frames(&bytes, flags) else {
            return decode_error("mkv: the frames of a block are damaged");
        };
        let mut at = time.saturating_sub_unsigned(entry.delay);
        for frame in frames {
            let Some(data) = entry.packing.restore(frame) else {
                return decode_error("mkv: a compressed block is damaged");
            };
            let duration = Duration::new(entry.duration);
            let packet = Packet::new(entry.track.id, Timestamp::new(at), duration, data);
            self.frames.push_back(packet);
            at = at.saturating_add_unsigned(entry.duration);
        }
        Ok(Found::Block)
    }

    /// Trim the end of the last frame by so many nanoseconds, or its start if they are negative.
    fn discard(&mut self, padding: &[u8]) {
        let negative = padding.first().is_some_and(|byte| byte & 0x80 != 0);
        let start: i64 = if negative { -1 } else { 0 };
        let padding = padding
            .iter()
            .fold(start, |number, byte| number << 8 | i64::from(*byte));
        let length = Duration::new(padding.unsigned_abs());
        if negative && let Some(first) = self.frames.front_mut() {
            first.trim_start = length;
        } else if let Some(last) = self.frames.back_mut() {
            last.trim_end = length;
        }
    }

    /// Go to the next cluster behind bytes that are no elements.
    fn resynchronize(&mut self) -> Result<Found> {
        (self.cluster_end, self.group_end, self.is_damaged) = (u64::MAX, 0, true);
        let cluster = ebml::CLUSTER.to_be_bytes();
        let mut last = [0; 4];
        while last != cluster {
            let byte = match self.stream.read_byte() {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                byte => byte?,
            };
            last = [last[1], last[2], last[3], byte];
        }
        if last == cluster {
            self.stream.seek_buffered_rel(-4);
        }
        decode_error("mkv: bytes between the blocks are damaged")
    }
}

impl FormatReader for Reader<'_> {
    fn format_info(&self) -> &FormatInfo {
        &INFO
    }

    fn media_info(&self) -> &MediaInfo {
        &self.info
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
        loop {
            // The length and the padding of a block in a group come behind it.
            let is_whole = self.stream.pos() >= self.group_end;
            if (is_whole || self.frames.len() > MOST_FRAMES)
                && let Some(packet) = self.frames.pop_front()
            {
                return Ok(Some(packet));
            }
            match self.look()? {
                Found::Tracks => return reset_error(),
                Found::End => {
                    self.group_end = 0;
                    return Ok(self.frames.pop_front());
                }
                Found::Nothing | Found::Block => {}
            }
        }
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        self.stream
    }
}
