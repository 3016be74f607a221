//! Reads MP4, M4A and MOV, fragmented or not, with the times at which players present the sound.
//!
//! Symphonia's reader ignores edit lists and the times of fragments, and pairs the defaults of
//! fragments with tracks by their order. It still reads the descriptions of codecs.

pub(super) mod boxes;
mod edits;
mod fragment;
mod gapless;
mod movie;
mod tables;

use std::collections::{HashMap, VecDeque};

use symphonia::core::{
    codecs::CodecParameters,
    errors::{Result, SeekErrorKind, decode_error, reset_error, seek_error, unsupported_error},
    formats::{
        FormatInfo, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track,
        well_known::FORMAT_ID_ISOMP4,
    },
    io::{MediaSource as _, MediaSourceStream, ReadBytes as _, SeekBuffered as _},
    meta::{Metadata, MetadataLog},
    packet::Packet,
    units::{Duration, Timestamp},
};

use boxes::Header;
use fragment::{Bases, Defaults, Run};
use movie::{Movie, Trak, is_end};
use tables::Sample;

const INFO: FormatInfo = FormatInfo {
    format: FORMAT_ID_ISOMP4,
    short_name: "isomp4",
    long_name: "ISO Base Media File Format",
};

/// Most frames of uncompressed sound in one packet, where each is a sample of its own.
const FRAMES_IN_A_PACKET: u64 = 4096;

/// Number of the track of packets that nobody hears: what an edit list cuts away.
const NO_TRACK: u32 = u32::MAX;

/// Reads the packets of all tracks of sound.
pub(super) struct Reader<'s> {
    stream: MediaSourceStream<'s>,
    info: MediaInfo,
    metadata: MetadataLog,
    tracks: Vec<Track>,
    traks: Vec<Trak>,
    defaults: HashMap<u32, Defaults>,
    is_fragmented: bool,
    /// Runs of the last fragment that are not read to their end.
    runs: VecDeque<Run>,
    /// Position of the next box that was not looked at.
    scan: u64,
    /// Positions from which the movie counts. Several may be joined.
    bases: Bases,
    /// Position of the last box that starts a file.
    front: u64,
}

/// Meaning of a box between the samples.
#[derive(PartialEq, Eq)]
enum Found {
    Nothing,
    Fragment,
    /// The header of a movie, which may be one more.
    Movie,
    End,
}

impl<'s> Reader<'s> {
    pub(super) fn new(mut stream: MediaSourceStream<'s>) -> Result<Self> {
        // The probe has stopped at the name of the first box.
        stream.seek_buffered_rel(-4);
        let start = stream.pos();
        let mut reader = Self {
            stream,
            info: MediaInfo::default(),
            metadata: MetadataLog::default(),
            tracks: Vec::new(),
            traks: Vec::new(),
            defaults: HashMap::new(),
            is_fragmented: false,
            runs: VecDeque::new(),
            scan: start,
            bases: Bases::from(start),
            front: start,
        };
        loop {
            match reader.look()? {
                Found::Movie => break,
                Found::End => return unsupported_error("isomp4: missing moov atom"),
                Found::Nothing | Found::Fragment => {}
            }
        }
        if reader.is_fragmented
            && reader
                .traks
                .iter_mut()
                .all(|trak| trak.tables.offset().is_none())
        {
            // The times of the first fragment tell when the recording starts.
            while matches!(reader.look(), Ok(Found::Nothing)) {}
        }
        Ok(reader)
    }

    /// Look at the next box that is not inside another one.
    fn look(&mut self) -> Result<Found> {
        if self.scan == u64::MAX {
            return Ok(Found::End);
        }
        let header =
            boxes::go(&mut self.stream, self.scan).and_then(|()| boxes::header(&mut self.stream));
        let header = match header {
            Err(error) if is_end(&error) => {
                self.scan = u64::MAX;
                return Ok(Found::End);
            }
            header => header?,
        };
        if !header.is_plausible() {
            return self.resynchronize();
        }
        self.scan = header.end;
        match &header.kind {
            b"ftyp" => self.front = header.start,
            b"moov" => {
                let movie = Movie::read(&mut self.stream, &header)?;
                self.bases = Bases::from(self.front);
                self.begin(movie);
                return Ok(Found::Movie);
            }
            b"moof" if !self.traks.is_empty() => {
                self.fragment(&header)?;
                return Ok(Found::Fragment);
            }
            b"mdat" if self.traks.is_empty() && !self.stream.is_seekable() => {
                return unsupported_error("isomp4: missing moov atom");
            }
            _ => {}
        }
        Ok(Found::Nothing)
    }

    fn begin(&mut self, movie: Movie) {
        self.tracks = movie.traks.iter().map(|trak| trak.track.clone()).collect();
        (self.traks, self.defaults) = (movie.traks, movie.defaults);
        self.is_fragmented = movie.is_fragmented;
        self.runs.clear();
    }

    /// Read a fragment. The first one of a track tells when the track starts.
    fn fragment(&mut self, header: &Header) -> Result<()> {
        let moof = boxes::contents(&mut self.stream, header)?;
        let mut runs = Vec::new();
        for part in fragment::read(&moof, &mut self.bases, header.start, &self.defaults) {
            let Some(trak) = self
                .traks
                .iter_mut()
                .find(|trak| trak.track.id == part.track)
            else {
                continue;
            };
            let is_first = trak.time == 0;
            trak.time = part.time.unwrap_or(trak.time);
            if is_first && trak.tables.offset().is_none() {
                let time = i64::try_from(trak.time).unwrap_or(i64::MAX);
                let start = Timestamp::new(trak.edits.in_first(time));
                let id = trak.track.id;
                let track = self.tracks.iter_mut().find(|track| track.id == id);
                track.into_iter().for_each(|track| track.start_ts = start);
            }
            for mut run in part.runs {
                trak.time = run.begin(trak.time);
                runs.push(run);
            }
        }
        runs.sort_by_key(|run| run.offset);
        self.runs.extend(runs);
        Ok(())
    }

    /// Go to the next fragment behind bytes that are no box.
    fn resynchronize(&mut self) -> Result<Found> {
        let mut last = [0; 4];
        while &last != b"moof" {
            let byte = match self.stream.read_byte() {
                Err(error) if is_end(&error) => {
                    self.scan = u64::MAX;
                    return Ok(Found::End);
                }
                byte => byte?,
            };
            last = [last[1], last[2], last[3], byte];
        }
        self.scan = self.stream.seek_buffered_rel(-8);
        decode_error("isomp4: bytes between the fragments are damaged")
    }

    /// The next sample of any track of sound, in the order of the file; with the track's index.
    fn next_sample(&mut self) -> Option<(usize, Sample)> {
        let first = (0..self.traks.len())
            .filter_map(|index| Some((self.traks[index].tables.offset()?, index)))
            .min();
        if let Some((_, index)) = first {
            let trak = &mut self.traks[index];
            let mut sample = trak.tables.next()?;
            sample.offset = sample.offset.saturating_add(self.bases.front);
            let mut frames = 1;
            while trak.is_pcm && frames < FRAMES_IN_A_PACKET && trak.tables.goes_on() {
                let Some(more) = trak.tables.next() else {
                    break;
                };
                sample.size = sample.size.saturating_add(more.size);
                sample.duration = sample.duration.saturating_add(more.duration);
                frames += 1;
            }
            return Some((index, sample));
        }
        while let Some(run) = self.runs.front_mut() {
            let index = self
                .traks
                .iter()
                .position(|trak| trak.track.id == run.track);
            let is_sound = index.is_some_and(|index| is_sound(&self.traks[index]));
            if let Some(index) = index.filter(|_| is_sound)
                && let Some(sample) = run.next()
            {
                return Some((index, sample));
            }
            self.runs.pop_front();
        }
        None
    }

    /// Read the sample's bytes, if it is presented.
    fn packet(&mut self, index: usize, sample: Sample) -> Result<Packet> {
        let trak = &mut self.traks[index];
        let time = i64::try_from(sample.time).unwrap_or(i64::MAX);
        let Some(presented) = trak.edits.present(time, sample.duration) else {
            return Ok(Packet::new(NO_TRACK, Timestamp::ZERO, Duration::ZERO, []));
        };
        let id = trak.track.id;
        self.pass_boxes_before(sample.offset);
        boxes::go(&mut self.stream, sample.offset)?;
        let data = self.stream.read_boxed_slice_exact(sample.size as usize)?;
        let at = Timestamp::new(presented.at);
        let mut packet = Packet::new(id, at, Duration::new(sample.duration), data);
        packet.trim_start = Duration::new(presented.trim_start);
        packet.trim_end = Duration::new(presented.trim_end);
        Ok(packet)
    }

    /// Look at the headers of boxes up to this position. A stream that cannot seek shows each only
    /// once.
    fn pass_boxes_before(&mut self, position: u64) {
        while self.scan <= position {
            let header = boxes::go(&mut self.stream, self.scan)
                .and_then(|()| boxes::header(&mut self.stream));
            match header {
                Ok(header) if header.is_plausible() && header.end > self.scan => {
                    self.scan = header.end;
                }
                _ => self.scan = u64::MAX,
            }
        }
    }
}

fn is_sound(trak: &Trak) -> bool {
    matches!(
        trak.track.codec_params,
        Some(CodecParameters::Audio(_)) | None
    )
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
            if let Some((index, sample)) = self.next_sample() {
                return self.packet(index, sample).map(Some);
            }
            match self.look()? {
                Found::Movie => return reset_error(),
                Found::End => return Ok(None),
                Found::Nothing | Found::Fragment => {}
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
