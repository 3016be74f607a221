//! The known containers and codecs, and how far their own claims can be trusted.

use symphonia::{
    core::{
        codecs::{
            CodecParameters,
            audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, well_known as codec},
            registry::CodecRegistry,
        },
        errors::Error,
        formats::{FormatId, FormatReader, Track, probe::Probe, well_known as format},
        io::MediaSourceStream,
        packet::Packet,
    },
    default::{formats, register_enabled_codecs},
};

use super::{
    AudioError,
    bounds::{check_channels, check_rate},
    flac,
    intake::Watch,
    matroska, mp4, ogg,
    source::Source,
};

/// Longest packet that a container may announce, in frames, because decoders allocate it in
/// advance. FLAC's and ALAC's longest have 65536 frames, and an ADPCM block in WAV has up to
/// 131072.
const LONGEST_PACKET: u64 = 1 << 18;

/// The sender's description of the file. The format is found in the bytes themselves, except for
/// raw samples; otherwise the description only serves messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint<'a> {
    /// Extension of the file name, without the dot.
    pub extension: Option<&'a str>,
    /// Media type of the upload.
    pub mime: Option<&'a str>,
}

/// Finds the demuxer for `source`.
pub(super) fn demuxer(
    source: Source,
    watch: &Watch,
    hint: Hint<'_>,
) -> Result<Box<dyn FormatReader>, AudioError> {
    let stream = MediaSourceStream::new(Box::new(source), Default::default());
    probe()
        .probe(
            &Default::default(),
            stream,
            Default::default(),
            Default::default(),
        )
        .map_err(|error| unopened(error, watch, hint))
}

/// Every known container. Readers of tags are left out on purpose: see [`Source::open`].
fn probe() -> Probe {
    let mut probe = Probe::default();
    probe.register_format::<formats::AdtsReader<'_>>();
    probe.register_format::<formats::CafReader<'_>>();
    probe.register_format::<flac::Reader<'_>>();
    probe.register_format::<mp4::Reader<'_>>();
    probe.register_format::<formats::MpaReader<'_>>();
    probe.register_format::<formats::AiffReader<'_>>();
    probe.register_format::<formats::WavReader<'_>>();
    probe.register_format::<ogg::Reader<'_>>();
    probe.register_format::<matroska::Reader<'_>>();
    probe
}

/// The error to report if no demuxer accepted the file.
fn unopened(error: Error, watch: &Watch, hint: Hint<'_>) -> AudioError {
    if let Some(failure) = watch.failure() {
        return failure;
    }
    match error {
        _ if watch.refused() => AudioError::Corrupt("its header is absurdly long".into()),
        Error::Unsupported(reason)
            if reason.contains("no suitable format") && is_called_raw(hint) =>
        {
            AudioError::Raw("it has no header".into())
        }
        Error::Unsupported(reason) if reason.contains("no suitable format") => {
            AudioError::Unsupported(described(hint))
        }
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

/// True if the file name says that the samples have no header. The media type was checked before.
fn is_called_raw(hint: Hint<'_>) -> bool {
    let names = ["raw", "pcm", "s16", "sw"];
    hint.extension.is_some_and(|extension| {
        names
            .iter()
            .any(|name| extension.eq_ignore_ascii_case(name))
    })
}

/// The sender's description of the file, made short and harmless for a message.
fn described(hint: Hint<'_>) -> String {
    let harmless = |text: &str| -> String {
        let keep = |c: &char| c.is_ascii_alphanumeric() || "/.+-".contains(*c);
        text.chars().filter(keep).take(32).collect()
    };
    match (hint.extension, hint.mime) {
        (Some(extension), _) => format!("it came as .{}", harmless(extension)),
        (None, Some(mime)) => {
            let essence = mime.split(';').next().unwrap_or(mime);
            format!("it came as {}", harmless(essence))
        }
        (None, None) => "its first megabyte shows no known header".into(),
    }
}

/// Number of frames in the track, if it is more than a guess. An MP3's number is a guess unless it
/// comes with the encoder's delay, from the same header.
pub(super) fn promise(format: &dyn FormatReader, track: &Track) -> Option<u64> {
    let id = format.format_info().format;
    let exact =
        is_raw(id) || id == format::FORMAT_ID_FLAC || (is_mpeg(id) && track.delay.is_some());
    track.num_frames.filter(|_| exact)
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
                AudioError::UnsupportedCodec(codec_name(params.codec).unwrap_or(reason).into())
            }
            error => AudioError::Corrupt(error.to_string()),
        })
}

fn codecs() -> CodecRegistry {
    let mut codecs = CodecRegistry::new();
    register_enabled_codecs(&mut codecs);
    codecs.register_audio_decoder::<symphonia_adapter_libopus::OpusDecoder>();
    codecs
}

/// True if the decoder can be trusted with this packet. libopus invents 120 ms of sound for a
/// packet of 0 bytes, and the ADPCM decoder panics on a packet that is longer than announced.
pub(super) fn is_decodable(packet: &Packet, params: &AudioCodecParameters) -> bool {
    let adpcm = matches!(
        params.codec,
        codec::CODEC_ID_ADPCM_MS | codec::CODEC_ID_ADPCM_IMA_WAV | codec::CODEC_ID_ADPCM_IMA_QT
    );
    let announced = params.max_frames_per_packet.unwrap_or(0);
    let too_long = adpcm && packet.block_dur().get() > announced;
    !packet.data.is_empty() && !too_long
}

/// True for containers that are little more than a header before the samples.
pub(super) fn is_raw(id: FormatId) -> bool {
    [
        format::FORMAT_ID_WAVE,
        format::FORMAT_ID_AIFF,
        format::FORMAT_ID_CAF,
    ]
    .contains(&id)
}

/// True for MPEG's own streams, which are frame after frame without a container.
pub(super) fn is_mpeg(id: FormatId) -> bool {
    [
        format::FORMAT_ID_MP1,
        format::FORMAT_ID_MP2,
        format::FORMAT_ID_MP3,
    ]
    .contains(&id)
}

/// True if packets have time stamps. Where they are only counted, a lost packet leaves no gap.
pub(super) fn has_clock(id: FormatId) -> bool {
    !is_raw(id) && !is_mpeg(id) && id != format::FORMAT_ID_ADTS
}

/// True if a file may be a piece out of a stream, whose first time stamp counts as its start.
pub(super) fn starts_anywhere(id: FormatId) -> bool {
    id == format::FORMAT_ID_FLAC
}

/// True for tracks that decide when a recording starts: not for subtitles.
pub(super) fn is_heard_or_seen(track: &Track) -> bool {
    !matches!(track.codec_params, Some(CodecParameters::Subtitle(_)))
}

/// Common name of a codec that senders use but this decoder does not know.
fn codec_name(id: AudioCodecId) -> Option<&'static str> {
    Some(match id {
        codec::CODEC_ID_AAC => "AAC other than AAC-LC with one or two channels",
        codec::CODEC_ID_OPUS => "Opus with more than two channels",
        codec::CODEC_ID_AC3 => "AC-3",
        codec::CODEC_ID_EAC3 => "E-AC-3",
        codec::CODEC_ID_DCA => "DTS",
        codec::CODEC_ID_SPEEX => "Speex",
        codec::CODEC_ID_WAVPACK => "WavPack",
        codec::CODEC_ID_TTA => "TTA",
        codec::CODEC_ID_TRUEHD => "TrueHD",
        codec::CODEC_ID_ADPCM_G722 => "G.722",
        codec::CODEC_ID_ADPCM_G726 | codec::CODEC_ID_ADPCM_G726LE => "G.726",
        _ => return None,
    })
}
