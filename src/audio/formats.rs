//! The known containers and codecs, and how far their own claims can be trusted.

use symphonia::{
    core::{
        codecs::{
            CodecParameters,
            audio::{AudioCodecParameters, AudioDecoder, well_known as codec},
            registry::CodecRegistry,
        },
        errors::Error,
        formats::{
            FormatId, FormatOptions, FormatReader, Track, probe::ProbeableFormat,
            well_known as format,
        },
        io::{MediaSourceStream, ReadBytes as _},
        packet::Packet,
    },
    default::{
        formats::{CafReader, WavReader},
        register_enabled_codecs,
    },
};

use super::{
    AudioError, bare,
    bounds::{check_channels, check_rate},
    containers, flac,
    headers::Demuxer,
    intake::Watch,
    magic::Format,
    matroska, mp4, names, ogg,
    source::Source,
};

/// Longest packet that a container may announce, in frames, because decoders allocate it in
/// advance. FLAC's and ALAC's longest have 65536 frames, and an ADPCM block in WAV has up to
/// 131072.
const LONGEST_PACKET: u64 = 1 << 18;

/// Opens the demuxer that `source` was found to need.
pub(super) fn demuxer(source: Source, watch: &Watch) -> Result<Box<dyn FormatReader>, AudioError> {
    let which = source.demuxer;
    let mut stream = MediaSourceStream::new(Box::new(source), Default::default());
    let opened = match which {
        Demuxer::Voice(voice, rate) => Ok(containers::open_voice(voice, rate, stream)),
        Demuxer::Of(format) => match format {
            Format::Frames(sort) => boxed(bare::Reader::new(stream, sort)),
            Format::Caf => open::<CafReader<'_>>(stream),
            Format::Flac => boxed(flac::Reader::new(stream)),
            Format::Matroska => boxed(matroska::Reader::new(stream)),
            Format::Ogg => boxed(ogg::Reader::new(stream)),
            Format::Wav => open::<WavReader<'_>>(stream),
            // Its reader begins within the first box.
            Format::Mp4 => match stream.ignore_bytes(4) {
                Ok(()) => boxed(mp4::Reader::new(stream)),
                Err(error) => Err(error.into()),
            },
            other => containers::open(other, stream),
        },
    };
    opened.map_err(|error| unopened(error, watch))
}

/// One of our own readers, as Symphonia's are.
fn boxed<'s, R: FormatReader + 's>(
    reader: symphonia::core::errors::Result<R>,
) -> symphonia::core::errors::Result<Box<dyn FormatReader + 's>> {
    Ok(Box::new(reader?))
}

/// Opens this reader of Symphonia's on a stream of its format.
fn open<'s, R: ProbeableFormat<'s>>(
    stream: MediaSourceStream<'s>,
) -> symphonia::core::errors::Result<Box<dyn FormatReader + 's>> {
    R::try_probe_new(stream, FormatOptions::default())
}

/// The error to report if no demuxer accepted the file.
fn unopened(error: Error, watch: &Watch) -> AudioError {
    if let Some(failure) = watch.failure() {
        return failure;
    }
    match error {
        _ if watch.refused() => AudioError::Corrupt("its header is absurdly long".into()),
        // Demuxers call a file unsupported if a required part is missing.
        Error::Unsupported(reason) if reason.contains("missing") => {
            AudioError::Corrupt(format!("it is incomplete: {reason}"))
        }
        // The container is known, so the advice to send this kind of file would not help.
        Error::Unsupported(reason)
            if ["bits per channel", "codec", "format id"]
                .map(|part| reason.contains(part))
                .contains(&true) =>
        {
            AudioError::UnsupportedCodec(reason.into())
        }
        Error::Unsupported(reason) => AudioError::Unsupported(reason.into()),
        Error::IoError(_) => AudioError::Corrupt("it ends within its header".into()),
        error => AudioError::Corrupt(error.to_string()),
    }
}

/// Number of frames in the track, if it is more than a guess. An MP3's number is a guess unless it
/// comes from a header of the encoder's.
pub(super) fn promise(format: &dyn FormatReader, track: &Track) -> Option<u64> {
    let id = format.format_info().format;
    let exact =
        is_raw(id) || id == format::FORMAT_ID_FLAC || (is_bare(id) && track.delay.is_some());
    // The table of CAF counts whole packets, and the last one may be shorter.
    let packet = match &track.codec_params {
        Some(CodecParameters::Audio(params)) if id == format::FORMAT_ID_CAF => {
            params.max_frames_per_packet.unwrap_or(0)
        }
        _ => 0,
    };
    let frames = track.num_frames.filter(|_| exact);
    frames.map(|frames| frames.saturating_sub(packet))
}

/// Makes the decoder for an audio track. If the track is placed by its time stamps, the decoder
/// drops no frames by itself.
pub(super) fn decoder_of(
    format: &dyn FormatReader,
    track: &Track,
) -> Result<Box<dyn AudioDecoder>, AudioError> {
    let Some(CodecParameters::Audio(params)) = &track.codec_params else {
        return Err(AudioError::UnsupportedCodec("an unknown codec".into()));
    };
    let by_clock = has_clock(format.format_info().format);
    if let Some(rate) = params.sample_rate {
        check_rate(rate)?;
    }
    if let Some(channels) = &params.channels {
        check_channels(channels.count())?;
    }
    if params
        .max_frames_per_packet
        .is_some_and(|frames| frames > LONGEST_PACKET)
    {
        return Err(AudioError::Corrupt(
            "it claims packets of absurd length".into(),
        ));
    }
    let mut params = params.clone();
    if by_clock && params.codec == codec::CODEC_ID_OPUS {
        // The timeline drops what comes before the start, and this would drop it once more.
        let pre_skip = params
            .extra_data
            .as_mut()
            .and_then(|head| head.get_mut(10..12));
        pre_skip.into_iter().for_each(|bytes| bytes.fill(0));
    }
    if [codec::CODEC_ID_PCM_ALAW, codec::CODEC_ID_PCM_MULAW].contains(&params.codec) {
        // The reader of CAF reports the 8 bits in the file, but the decoder requires the 16 bits of
        // its output.
        params.bits_per_sample = None;
        params.bits_per_coded_sample = None;
    }
    codecs()
        .make_audio_decoder(&params, &Default::default())
        .map_err(|error| match error {
            Error::Unsupported(reason) => {
                AudioError::UnsupportedCodec(names::codec(params.codec).unwrap_or(reason.into()))
            }
            error => AudioError::Corrupt(error.to_string()),
        })
}

fn codecs() -> CodecRegistry {
    let mut codecs = CodecRegistry::new();
    register_enabled_codecs(&mut codecs);
    super::codecs::register(&mut codecs);
    codecs
}

/// Shortest packet of zeros that is a hole in the file, in bytes. Vorbis codes silence in fewer.
const HOLE: usize = 16;

/// True if the decoder can be trusted with this packet. libopus invents 120 ms of sound for a
/// packet of 0 bytes, and the ADPCM decoder panics on a packet that is longer than announced.
/// Several decoders take a hole in the file for silence.
pub(super) fn is_decodable(packet: &Packet, params: &AudioCodecParameters) -> bool {
    let adpcm = matches!(
        params.codec,
        codec::CODEC_ID_ADPCM_MS | codec::CODEC_ID_ADPCM_IMA_WAV | codec::CODEC_ID_ADPCM_IMA_QT
    );
    let announced = params.max_frames_per_packet.unwrap_or(0);
    let too_long = adpcm && packet.block_dur().get() > announced;
    let is_coded = [
        codec::CODEC_ID_AAC,
        codec::CODEC_ID_ALAC,
        codec::CODEC_ID_FLAC,
        codec::CODEC_ID_MP3,
        codec::CODEC_ID_OPUS,
        codec::CODEC_ID_VORBIS,
    ]
    .contains(&params.codec);
    let is_zero = || packet.data.iter().all(|byte| *byte == 0);
    let is_hole = is_coded && packet.data.len() >= HOLE && is_zero();
    !packet.data.is_empty() && !too_long && !is_hole
}

/// True for containers that are little more than a header before the samples.
pub(super) fn is_raw(id: FormatId) -> bool {
    [format::FORMAT_ID_WAVE, format::FORMAT_ID_CAF].contains(&id)
}

/// True for streams that are frame after frame without a container.
pub(super) fn is_bare(id: FormatId) -> bool {
    [
        format::FORMAT_ID_MP1,
        format::FORMAT_ID_MP2,
        format::FORMAT_ID_MP3,
        format::FORMAT_ID_ADTS,
    ]
    .contains(&id)
}

/// True if packets have time stamps. Where they are only counted, a lost packet leaves no gap.
pub(super) fn has_clock(id: FormatId) -> bool {
    !is_raw(id)
}

/// True if a reader tells of missing packets before it gives the last ones in front of the gap.
pub(super) fn reports_gaps_early(id: FormatId) -> bool {
    id == format::FORMAT_ID_OGG || containers::reports_gaps_early(id)
}

/// True for codecs of which every packet decodes to sound. (Vorbis' first one does not.)
pub(super) fn never_is_empty(params: &AudioCodecParameters) -> bool {
    [codec::CODEC_ID_AAC, codec::CODEC_ID_ALAC].contains(&params.codec)
}

/// True if a file may be a piece out of a stream, whose first time stamp counts as its start.
pub(super) fn starts_anywhere(id: FormatId) -> bool {
    id == format::FORMAT_ID_FLAC
}

/// True for tracks that decide when a recording starts: not for subtitles.
pub(super) fn is_heard_or_seen(track: &Track) -> bool {
    !matches!(track.codec_params, Some(CodecParameters::Subtitle(_)))
}
