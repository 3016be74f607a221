//! Containers that Symphonia lacks, as demuxers with its interface.

mod avi;
mod elementary;
mod flv;
mod mpeg;
mod pes;
mod voc;
mod voice;

pub(super) use avi::{described, tagged};
pub(super) use elementary::params_of;
pub(super) use flv::{ADPCM_SWF, NELLYMOSER};
pub(super) use mpeg::{DISC_PCM, LATM, OPUS_TS, S302M};

use std::io::SeekFrom;

use symphonia::core::{
    audio::{Channels, layouts},
    codecs::{
        CodecParameters,
        audio::{AudioCodecId, AudioCodecParameters},
    },
    common::FourCc,
    errors::{Error, Result, SeekErrorKind},
    formats::{FormatId, FormatInfo, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track},
    io::{MediaSource, MediaSourceStream, ReadBytes, SeekBuffered as _},
    meta::{Metadata, MetadataLog},
    packet::Packet,
    units::TimeBase,
};

use super::{codecs::Voice, magic::Format};

/// Reads packets from a container, whose tracks were found when it was opened.
trait Demux: Send + Sync {
    /// The next packet of any track; `None` at the end.
    fn next(&mut self, stream: &mut MediaSourceStream<'_>) -> Result<Option<Packet>>;
}

/// A container with its tracks.
struct Container<'s> {
    stream: MediaSourceStream<'s>,
    info: FormatInfo,
    media: MediaInfo,
    tracks: Vec<Track>,
    metadata: MetadataLog,
    demux: Box<dyn Demux>,
}

/// Opens a container; `stream` is at its start.
///
/// # Errors
/// The container is damaged, or has no audio that can be decoded.
pub(super) fn open(
    format: Format,
    mut stream: MediaSourceStream<'_>,
) -> Result<Box<dyn FormatReader + '_>> {
    let from = &mut stream;
    let (name, (tracks, demux)) = match format {
        Format::Avi => ("avi", avi::open(from)?),
        Format::Flv => ("flv", flv::open(from)?),
        Format::Ts { skip, packet } => ("ts", mpeg::open_transport(from, skip, packet)?),
        Format::Ps => ("ps", mpeg::open_program(from)?),
        Format::Voc => ("voc", voc::open(from)?),
        Format::AmrNb => ("amr", voice::open_amr(from, Voice::AmrNb)?),
        Format::AmrWb => ("awb", voice::open_amr(from, Voice::AmrWb)?),
        Format::Gsm => ("gsm", voice::open(from, Voice::Gsm, Voice::Gsm.rate())),
        _ => return Err(Error::Unsupported("no such container")),
    };
    Ok(Box::new(Container::new(stream, name, tracks, demux)))
}

/// Letters of MPEG's containers, which collect the parts of frames.
const LATE: [&[u8; 4]; 2] = [b"ts  ", b"ps  "];

/// True if missing packets are told before the last ones in front of the gap are given.
pub(super) fn reports_gaps_early(id: FormatId) -> bool {
    LATE.iter()
        .any(|name| id == FormatId::new(FourCc::new(**name)))
}

/// Opens a stream of packets of one voice.
pub(super) fn open_voice(
    voice: Voice,
    rate: u32,
    mut stream: MediaSourceStream<'_>,
) -> Box<dyn FormatReader + '_> {
    let (tracks, demux) = voice::open(&mut stream, voice, rate);
    Box::new(Container::new(stream, "voice", tracks, demux))
}

/// Tracks, and the way to their packets.
type Opened = (Vec<Track>, Box<dyn Demux>);

impl<'s> Container<'s> {
    fn new(
        stream: MediaSourceStream<'s>,
        name: &'static str,
        tracks: Vec<Track>,
        demux: Box<dyn Demux>,
    ) -> Self {
        let mut letters = [b' '; 4];
        letters
            .iter_mut()
            .zip(name.bytes())
            .for_each(|(letter, byte)| *letter = byte);
        Self {
            stream,
            info: FormatInfo {
                format: FormatId::new(FourCc::new(letters)),
                short_name: name,
                long_name: name,
            },
            media: tracks
                .first()
                .map(MediaInfo::from_track)
                .unwrap_or_default(),
            tracks,
            metadata: MetadataLog::default(),
            demux,
        }
    }
}

impl FormatReader for Container<'_> {
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
        // Recordings are read from front to back.
        Err(Error::SeekError(SeekErrorKind::Unseekable))
    }

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn next_packet(&mut self) -> Result<Option<Packet>> {
        self.demux.next(&mut self.stream)
    }

    fn into_inner<'a>(self: Box<Self>) -> MediaSourceStream<'a>
    where
        Self: 'a,
    {
        self.stream
    }
}

/// A track of audio. `tick` is its unit of time, in seconds: numerator and denominator.
fn track(id: u32, params: AudioCodecParameters, tick: (u32, u32)) -> Track {
    let mut track = Track::new(id);
    track.with_codec_params(CodecParameters::Audio(params));
    if let Some(base) = TimeBase::try_new(tick.0, tick.1) {
        track.with_time_base(base);
    }
    track
}

fn params(codec: AudioCodecId, rate: u32, channels: u16) -> AudioCodecParameters {
    let mut params = AudioCodecParameters::new();
    params.for_codec(codec).with_sample_rate(rate);
    match channels {
        0 => {}
        1 => {
            params.with_channels(layouts::CHANNEL_LAYOUT_MONO);
        }
        2 => {
            params.with_channels(layouts::CHANNEL_LAYOUT_STEREO);
        }
        more => {
            params.with_channels(Channels::Discrete(more));
        }
    }
    params
}

/// Skips `count` bytes; an error of the end if there are fewer.
fn skip(stream: &mut MediaSourceStream<'_>, count: u64) -> Result<()> {
    // Far seeks are cheap in files. Close ones are within the buffer.
    const FAR: u64 = 1 << 16;
    if count > FAR && stream.is_seekable() {
        let to = stream.pos().saturating_add(count);
        if stream.byte_len().is_some_and(|len| to > len) {
            return Err(Error::IoError(std::io::ErrorKind::UnexpectedEof.into()));
        }
        std::io::Seek::seek(stream, SeekFrom::Start(to))?;
        return Ok(());
    }
    Ok(stream.ignore_bytes(count)?)
}

/// Reads up to `count` bytes; fewer at the end. `count` is at most some MiB, whatever a file says.
fn take(stream: &mut MediaSourceStream<'_>, count: usize) -> Result<Vec<u8>> {
    const PIECE: usize = 1 << 16;
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let known = bytes.len();
        bytes.resize(count.min(known + PIECE), 0);
        let read = match stream.read_buf(&mut bytes[known..]) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
            read => read?,
        };
        bytes.truncate(known + read);
        if read == 0 {
            break;
        }
    }
    Ok(bytes)
}

/// Bytes that are looked at together in search of the next part of a damaged container, and how far
/// two such looks overlap.
const WINDOW: usize = 64 << 10;
const OVERLAP: usize = 32 << 10;

/// Goes to the next place at which `fits` is true, whose argument is what begins there: at least
/// [`OVERLAP`] bytes if the file has them. Returns the number of bytes that were passed over;
/// `None` at the end. The stream needs a buffer of [`WINDOW`] bytes to go back.
fn search(stream: &mut MediaSourceStream<'_>, fits: impl Fn(&[u8]) -> bool) -> Result<Option<u64>> {
    let mut passed = 0;
    loop {
        let start = stream.pos();
        let window = take(stream, WINDOW)?;
        let is_last = window.len() < WINDOW;
        // A frame that begins near the end is looked at again, with more behind it.
        let places = if is_last {
            window.len()
        } else {
            WINDOW - OVERLAP
        };
        if let Some(at) = (0..places).find(|at| fits(&window[*at..])) {
            stream.seek_buffered(start + at as u64);
            return Ok(Some(passed + at as u64));
        }
        if is_last {
            return Ok(None);
        }
        let step = (WINDOW - OVERLAP) as u64;
        passed += step;
        stream.seek_buffered(start + step);
    }
}

/// True if the error only says that the file ends.
fn is_end(error: &Error) -> bool {
    matches!(error, Error::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof)
}
