//! The header of a movie (`moov`): its tracks, as far as they matter for sound.

use std::{
    collections::HashMap,
    io::{self, Cursor},
};

use symphonia::{
    core::{
        audio::Channels,
        codecs::{
            CodecParameters,
            audio::{AudioCodecId, AudioCodecParameters, CODEC_ID_NULL_AUDIO, well_known as codec},
            subtitle::SubtitleCodecParameters,
            video::VideoCodecParameters,
        },
        common::FourCc,
        errors::{Result, decode_error},
        formats::{FormatReader as _, Track, TrackFlags},
        io::{MediaSourceStream, ReadBytes as _},
        units::{TimeBase, Timestamp},
    },
    default::formats::IsoMp4Reader,
};

use super::{
    super::{codecs::Voice, containers::tagged, headers::Tag},
    boxes::{self, Header, u16_at, u32_at},
    edits::Edits,
    fragment::{self, Defaults},
    gapless::Gapless,
    tables::Tables,
};

/// Longest tags of a movie that are read, in bytes: a picture is among them.
const LONGEST_TAGS: u64 = 4 << 20;

/// Most tracks of a movie. Cameras write up to ten.
const MOST_TRACKS: usize = 256;

/// One track of a movie.
pub(super) struct Trak {
    pub(super) track: Track,
    pub(super) edits: Edits,
    /// Samples that the movie's header describes; none if it is no sound.
    pub(super) tables: Tables,
    /// True if each sample is one frame of uncompressed sound, so that many fit into a packet.
    pub(super) is_pcm: bool,
    /// Media time behind the last fragment.
    pub(super) time: u64,
}

impl Trak {
    /// Present what iTunes says, unless an edit list says it.
    fn trim(&mut self, gapless: Gapless) {
        let rate = match &self.track.codec_params {
            Some(CodecParameters::Audio(params)) => params.sample_rate,
            _ => None,
        };
        let scale = self.track.time_base.map(|base| base.denom.get());
        // Its numbers are samples, and so are the units of such files.
        if self.edits.is_none() && rate.is_some() && rate == scale {
            self.edits = Edits::one(gapless.priming, gapless.length);
        }
    }
}

/// The header of a movie.
pub(super) struct Movie {
    pub(super) traks: Vec<Trak>,
    pub(super) defaults: HashMap<u32, Defaults>,
    pub(super) is_fragmented: bool,
}

/// The boxes of one track, as they are in the file.
#[derive(Default)]
struct Raw {
    boxes: HashMap<[u8; 4], Box<[u8]>>,
}

impl Raw {
    fn get(&self, kind: &[u8; 4]) -> &[u8] {
        self.boxes.get(kind).map_or(&[], |bytes| bytes)
    }

    fn take(&mut self, kind: &[u8; 4]) -> Box<[u8]> {
        self.boxes.remove(kind).unwrap_or_default()
    }

    /// True if the track is known to be something else than sound.
    fn is_no_sound(&self) -> bool {
        self.boxes.contains_key(b"hdlr") && self.handler() != b"soun"
    }

    fn handler(&self) -> &[u8] {
        self.get(b"hdlr").get(8..12).unwrap_or_default()
    }
}

impl Movie {
    /// Reads the movie's header. Pictures, tags and the tables of other tracks are passed over.
    pub(super) fn read(stream: &mut MediaSourceStream<'_>, moov: &Header) -> Result<Self> {
        let mut raw: Vec<Raw> = Vec::new();
        let (mut scale, mut mvex, mut gapless) = (1, None, None);
        while stream.pos().saturating_add(8) <= moov.end {
            let header = match boxes::header(stream) {
                Err(error) if moov.end == u64::MAX && is_end(&error) => break,
                header => header?,
            };
            if !header.is_plausible() {
                return decode_error("isomp4: a box of the movie's header has an impossible size");
            }
            let is_trak = raw
                .last()
                .is_some_and(|trak| !trak.boxes.contains_key(&header.kind));
            match &header.kind {
                b"trak" if raw.len() >= MOST_TRACKS => break,
                b"trak" => raw.push(Raw::default()),
                b"mdia" | b"minf" | b"stbl" | b"edts" => {}
                b"mvhd" => {
                    let mvhd = boxes::contents(stream, &header)?;
                    let at = if mvhd.first() == Some(&1) { 20 } else { 12 };
                    scale = u32_at(&mvhd, at).unwrap_or(1);
                }
                b"mvex" => mvex = Some(boxes::contents(stream, &header)?),
                b"udta" if header.len() <= LONGEST_TAGS && gapless.is_none() => {
                    gapless = Gapless::find(&boxes::contents(stream, &header)?);
                }
                b"tkhd" | b"mdhd" | b"hdlr" | b"elst" | b"elng" if is_trak => {
                    keep(stream, &header, &mut raw)?;
                }
                b"stsd" | b"stts" | b"stsc" | b"stsz" | b"stco" | b"co64"
                    if is_trak && !raw.last().is_some_and(Raw::is_no_sound) =>
                {
                    keep(stream, &header, &mut raw)?;
                }
                _ => boxes::go(stream, header.end)?,
            }
        }
        let is_fragmented = mvex.is_some();
        let traks = raw.into_iter();
        let traks = traks.filter_map(|raw| trak(raw, scale, is_fragmented));
        let mut traks: Vec<Trak> = traks.collect();
        if let (Some(gapless), [only]) = (gapless, &mut traks[..]) {
            only.trim(gapless);
        }
        Ok(Self {
            traks,
            defaults: mvex
                .map(|mvex| fragment::defaults(&mvex))
                .unwrap_or_default(),
            is_fragmented,
        })
    }
}

fn keep(stream: &mut MediaSourceStream<'_>, header: &Header, raw: &mut [Raw]) -> io::Result<()> {
    let bytes = boxes::contents(stream, header)?;
    if let Some(trak) = raw.last_mut() {
        trak.boxes.insert(header.kind, bytes);
    }
    Ok(())
}

pub(super) fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// Makes sense of a track's boxes; `None` without a number or a clock.
fn trak(mut raw: Raw, movie_scale: u32, is_fragmented: bool) -> Option<Trak> {
    let (tkhd, mdhd) = (raw.get(b"tkhd"), raw.get(b"mdhd"));
    let wide = *tkhd.first()? == 1;
    let mut track = Track::new(u32_at(tkhd, if wide { 20 } else { 12 })?);
    if tkhd.get(3)? & 1 == 1 {
        track.with_flags(TrackFlags::DEFAULT);
    }
    let wide = *mdhd.first()? == 1;
    let scale = u32_at(mdhd, if wide { 20 } else { 12 })?;
    track.with_time_base(TimeBase::try_from_recip(scale)?);
    let packed = u16_at(mdhd, if wide { 32 } else { 20 }).unwrap_or(0);
    if let Some(language) = tag(raw.get(b"elng")).or_else(|| unpacked(packed)) {
        track.with_language(&language);
    }
    let edits = raw.boxes.get(b"elst").map(|elst| &**elst);
    let edits = Edits::read(edits, movie_scale, scale, is_fragmented);
    track.with_start_ts(Timestamp::new(edits.start()));
    let mut tables = Tables::default();
    match raw.handler() {
        b"soun" => {
            let params = describe(raw.get(b"stsd"));
            let pcm = params.as_ref().and_then(frame_len);
            let wide = raw.boxes.contains_key(b"co64");
            tables.stts = raw.take(b"stts");
            tables.stsc = raw.take(b"stsc");
            tables.stsz = raw.take(b"stsz");
            tables.chunks = raw.take(if wide { b"co64" } else { b"stco" });
            tables.wide = wide;
            tables.size = pcm.filter(|frame| tables.counts_frames(*frame));
            if params
                .as_ref()
                .is_some_and(|params| params.codec == codec::CODEC_ID_ADPCM_IMA_QT)
            {
                let channels = params.as_ref().and_then(|params| params.channels.as_ref());
                let channels = channels.map_or(1, Channels::count) as u32;
                tables.count_blocks(BLOCK.0, BLOCK.1 * channels);
            }
            if let Some(rate) = params.as_ref().and_then(|params| params.sample_rate) {
                let length = u128::from(tables.duration())
                    .saturating_add(edits.start().unsigned_abs().into());
                let frames = length * u128::from(rate) / u128::from(scale);
                track.with_num_frames(u64::try_from(frames).unwrap_or(u64::MAX));
            }
            if is_fragmented {
                track.num_frames = None;
            }
            track.codec_params = params.map(CodecParameters::Audio);
        }
        b"vide" => {
            track.codec_params = Some(CodecParameters::Video(VideoCodecParameters::default()))
        }
        _ => {
            let other = SubtitleCodecParameters::default();
            track.codec_params = Some(CodecParameters::Subtitle(other));
        }
    }
    Some(Trak {
        track,
        edits,
        is_pcm: tables.size.is_some(),
        tables,
        time: 0,
    })
}

/// The language tag in an `elng` box.
fn tag(elng: &[u8]) -> Option<String> {
    let tag = elng.get(4..)?.split(|byte| *byte == 0).next()?;
    let is_tag = (2..=35).contains(&tag.len()) && tag.is_ascii();
    is_tag.then(|| String::from_utf8_lossy(tag).into_owned())
}

/// Languages that QuickTime numbers from 0, as far as they have common codes of two letters.
const NUMBERED: [&str; 34] = [
    "en", "fr", "de", "it", "nl", "sv", "es", "da", "pt", "no", "he", "ja", "ar", "fi", "el", "is",
    "mt", "tr", "hr", "zh", "ur", "hi", "th", "ko", "lt", "pl", "hu", "et", "lv", "se", "fo", "fa",
    "ru", "zh",
];

/// A language of three letters in 15 bits, or one of QuickTime's numbers.
fn unpacked(packed: u16) -> Option<String> {
    if let Some(code) = NUMBERED.get(usize::from(packed)) {
        return Some((*code).to_owned());
    }
    let letter = |shift: u16| char::from((packed >> shift & 0x1f) as u8 + 0x60);
    let letters = [letter(10), letter(5), letter(0)];
    let is_word = letters.iter().all(char::is_ascii_lowercase);
    is_word.then(|| letters.iter().collect())
}

/// Bytes of one frame, if the track is uncompressed.
fn frame_len(params: &AudioCodecParameters) -> Option<u32> {
    let is_pcm = params.max_frames_per_packet == Some(1);
    let bits = params.bits_per_coded_sample.filter(|_| is_pcm)?;
    let channels = params.channels.as_ref()?.count();
    Some(bits.div_ceil(8) * u32::try_from(channels).ok()?)
}

/// Lets Symphonia read the first sample description, in a movie made for it. A codec that it does
/// not know keeps its four letters, rate and channels.
fn describe(stsd: &[u8]) -> Option<AudioCodecParameters> {
    let len = u32_at(stsd, 8)? as usize;
    let entry = stsd.get(8..)?.get(..len)?;
    if let Some(params) = samples(entry).or_else(|| blocks(entry)) {
        return Some(params);
    }
    let params = known(entry).or_else(|| known(&without_wave(entry)?));
    params.map(with_rate).or_else(|| {
        let name = FourCc::try_new(*entry.get(4..)?.first_chunk()?)?;
        let mut params = AudioCodecParameters::new();
        params.for_codec(AudioCodecId::new(name));
        let channels = u16_at(entry, 24).filter(|channels| *channels > 0);
        params.with_channels(Channels::Discrete(channels.unwrap_or(1)));
        if let Some(codec) = named(&name.get()) {
            params.for_codec(codec);
        }
        if [codec::CODEC_ID_PCM_MULAW, codec::CODEC_ID_PCM_ALAW].contains(&params.codec) {
            // One byte is one sample.
            params
                .with_bits_per_coded_sample(8)
                .with_max_frames_per_packet(1);
        }
        if let Some(rate) = u16_at(entry, 32).filter(|rate| *rate > 0) {
            params.with_sample_rate(rate.into());
        }
        Some(params)
    })
}

/// Rates of AAC by their number (ISO/IEC 14496-3, table 1.18), as far as MP4's own field of 16 bits
/// does not hold them: it is 0 then.
const HIGH_RATES: [u32; 3] = [96_000, 88_200, 64_000];

/// Takes a rate that MP4's field cannot hold from the codec's own description.
fn with_rate(mut params: AudioCodecParameters) -> AudioCodecParameters {
    if params.sample_rate == Some(0)
        && params.codec == codec::CODEC_ID_AAC
        && let Some([first, second, ..]) = params.extra_data.as_deref()
    {
        let number = usize::from((first & 7) << 1 | second >> 7);
        params.sample_rate = HIGH_RATES.get(number).copied();
    }
    params
}

/// Codecs that Symphonia's reader does not know, or by another name only.
fn named(name: &[u8; 4]) -> Option<AudioCodecId> {
    Some(match name {
        b"ulaw" => codec::CODEC_ID_PCM_MULAW,
        b"alaw" => codec::CODEC_ID_PCM_ALAW,
        b".mp2" | b"ms\0\x50" => codec::CODEC_ID_MP2,
        b"agsm" => Voice::Gsm.id(),
        b"ms\0\x31" => Voice::GsmPairs.id(),
        // The number by which WAV names it.
        [b'm', b's', high, low] => tagged(Tag(u16::from_be_bytes([*high, *low]))),
        _ => return None,
    })
}

/// Contents of the `wave` box, in which QuickTime keeps what belongs to the codec.
fn wave(entry: &[u8]) -> Option<&[u8]> {
    let more = match u16_at(entry, 16)? {
        1 => 16,
        2 => 36,
        _ => 0,
    };
    let mut children = boxes::children(entry.get(36 + more..)?);
    children
        .find(|(kind, _)| kind == b"wave")
        .map(|(_, wave)| wave)
}

/// The description with the codec's own box where MP4 has it.
fn without_wave(entry: &[u8]) -> Option<Vec<u8>> {
    let kind = entry.get(4..8)?.first_chunk()?;
    let own = boxes::children(wave(entry)?)
        .find(|(name, _)| name == kind)?
        .1;
    let mut fields = entry.get(8..36)?.to_vec();
    fields[8..10].fill(0);
    Some(wrap(kind, &[&fields, &wrap(kind, &[own])]))
}

/// Samples that only their name and their width describe. Symphonia takes several for low byte
/// first or for 16 bits, but writers of QuickTime use any width and either order. Versions from 2
/// on describe samples by other fields.
fn samples(entry: &[u8]) -> Option<AudioCodecParameters> {
    let (version, channels) = (u16_at(entry, 16)?, u16_at(entry, 24)?);
    if version > 1 || channels == 0 {
        return None;
    }
    let mut bits = u16_at(entry, 26)?;
    if version == 1 {
        let frame = u32_at(entry, 44)? / u32::from(channels);
        bits = u16::try_from(frame * 8).ok().filter(|bits| *bits > 0)?;
    }
    let enda = wave(entry).and_then(|wave| boxes::children(wave).find(|(name, _)| name == b"enda"));
    let is_little = enda.is_some_and(|(_, enda)| u16_at(enda, 0) == Some(1));
    let (codec, bits) = match entry.get(4..8)?.first_chunk()? {
        b"sowt" => (whole(bits, true)?, bits),
        b"twos" => (whole(bits, false)?, bits),
        b"raw " => (codec::CODEC_ID_PCM_U8, 8),
        b"in24" => (whole(24, is_little)?, 24),
        b"in32" => (whole(32, is_little)?, 32),
        b"fl32" => (float(32, is_little)?, 32),
        b"fl64" => (float(64, is_little)?, 64),
        name @ (b"ipcm" | b"fpcm") => {
            // ISO/IEC 23003-5: the lowest bit says low byte first.
            let mut children = boxes::children(entry.get(36..)?);
            let (_, described) = children.find(|(kind, _)| kind == b"pcmC")?;
            let [flags, bits] = *described.get(4..)?.first_chunk::<2>()?;
            let (bits, is_little) = (u16::from(bits), flags & 1 == 1);
            if name == b"ipcm" {
                (whole(bits, is_little)?, bits)
            } else {
                (float(bits, is_little)?, bits)
            }
        }
        _ => return None,
    };
    let mut params = AudioCodecParameters::new();
    params
        .for_codec(codec)
        .with_channels(Channels::Discrete(channels))
        .with_bits_per_sample(bits.into())
        .with_bits_per_coded_sample(bits.into())
        .with_max_frames_per_packet(1)
        .with_sample_rate(u16_at(entry, 32)?.into());
    Some(params)
}

/// Samples in a block of QuickTime's ADPCM, and its bytes for each channel.
const BLOCK: (u32, u32) = (64, 34);

/// QuickTime's ADPCM.
fn blocks(entry: &[u8]) -> Option<AudioCodecParameters> {
    let (channels, rate) = (u16_at(entry, 24)?, u16_at(entry, 32)?);
    let mut params = AudioCodecParameters::new();
    params
        .for_codec(codec::CODEC_ID_ADPCM_IMA_QT)
        .with_channels(Channels::Discrete(channels))
        .with_max_frames_per_packet(BLOCK.0.into())
        .with_frames_per_block(BLOCK.0.into())
        .with_sample_rate(rate.into());
    (entry.get(4..8)? == b"ima4" && channels > 0).then_some(params)
}

fn whole(bits: u16, is_little: bool) -> Option<AudioCodecId> {
    Some(match (bits, is_little) {
        (8, _) => codec::CODEC_ID_PCM_S8,
        (16, true) => codec::CODEC_ID_PCM_S16LE,
        (16, false) => codec::CODEC_ID_PCM_S16BE,
        (24, true) => codec::CODEC_ID_PCM_S24LE,
        (24, false) => codec::CODEC_ID_PCM_S24BE,
        (32, true) => codec::CODEC_ID_PCM_S32LE,
        (32, false) => codec::CODEC_ID_PCM_S32BE,
        _ => return None,
    })
}

fn float(bits: u16, is_little: bool) -> Option<AudioCodecId> {
    Some(match (bits, is_little) {
        (32, true) => codec::CODEC_ID_PCM_F32LE,
        (32, false) => codec::CODEC_ID_PCM_F32BE,
        (64, true) => codec::CODEC_ID_PCM_F64LE,
        (64, false) => codec::CODEC_ID_PCM_F64BE,
        _ => return None,
    })
}

fn known(entry: &[u8]) -> Option<AudioCodecParameters> {
    let nothing = [0; 8];
    let stsd = wrap(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], entry]);
    let stbl = wrap(
        b"stbl",
        &[
            &stsd,
            &wrap(b"stts", &[&nothing]),
            &wrap(b"stsc", &[&nothing]),
            &wrap(b"stsz", &[&nothing, &nothing[..4]]),
            &wrap(b"stco", &[&nothing]),
        ],
    );
    let mut hdlr = [0; 25];
    hdlr[8..12].copy_from_slice(b"soun");
    let mut mdhd = [0; 24];
    mdhd[15] = 1;
    let mdia = [
        wrap(b"mdhd", &[&mdhd]),
        wrap(b"hdlr", &[&hdlr]),
        wrap(b"minf", &[&stbl]),
    ];
    let mut tkhd = [0; 84];
    tkhd[15] = 1;
    let mut mvhd = [0; 100];
    mvhd[15] = 1;
    let trak = [wrap(b"tkhd", &[&tkhd]), wrap(b"mdia", &[&mdia.concat()])];
    let moov = [wrap(b"mvhd", &[&mvhd]), wrap(b"trak", &[&trak.concat()])];
    let file = [
        wrap(b"ftyp", &[b"isom", &nothing]),
        wrap(b"moov", &[&moov.concat()]),
    ]
    .concat();
    let mut stream = MediaSourceStream::new(Box::new(Cursor::new(file)), Default::default());
    // Symphonia's reader goes back to the start by itself, from where a probe would leave it.
    stream.ignore_bytes(4).ok()?;
    let movie = IsoMp4Reader::try_new(stream, Default::default()).ok()?;
    match movie.tracks().first()?.codec_params.as_ref()? {
        CodecParameters::Audio(params) if params.codec != CODEC_ID_NULL_AUDIO => {
            Some(params.clone())
        }
        _ => None,
    }
}

fn wrap(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let len = u32::try_from(body.len() + 8).unwrap_or(u32::MAX);
    [&len.to_be_bytes(), &kind[..], &body].concat()
}
