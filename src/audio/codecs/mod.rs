//! Codecs that Symphonia lacks, or of which it decodes too few forms, as decoders for its registry.

mod amr;
mod g722;
mod gsm;
mod mp2;
mod opus;

pub(super) use opus::samples as opus_samples;

use symphonia::core::{
    audio::{
        AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, GenericAudioBufferRef, layouts,
    },
    codecs::{
        CodecInfo,
        audio::{
            AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult,
            well_known::CODEC_ID_ADPCM_G722,
        },
        registry::{CodecRegistry, RegisterableAudioDecoder, SupportedAudioCodec},
    },
    common::FourCc,
    errors::{Error, Result},
    packet::PacketRef,
};

/// A codec for one voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// GSM 06.10 (full rate) in frames of 33 bytes.
    Gsm,
    /// The same in pairs of frames, 65 bytes, as Microsoft packs them.
    GsmPairs,
    G722,
    AmrNb,
    AmrWb,
}

const GSM: AudioCodecId = AudioCodecId::new(FourCc::new(*b"gsm "));
const GSM_PAIRS: AudioCodecId = AudioCodecId::new(FourCc::new(*b"gsmp"));
const AMR_NB: AudioCodecId = AudioCodecId::new(FourCc::new(*b"samr"));
const AMR_WB: AudioCodecId = AudioCodecId::new(FourCc::new(*b"sawb"));

impl Voice {
    const ALL: [Self; 5] = [
        Self::Gsm,
        Self::GsmPairs,
        Self::G722,
        Self::AmrNb,
        Self::AmrWb,
    ];

    pub(super) fn id(self) -> AudioCodecId {
        match self {
            Self::Gsm => GSM,
            Self::GsmPairs => GSM_PAIRS,
            Self::G722 => CODEC_ID_ADPCM_G722,
            Self::AmrNb => AMR_NB,
            Self::AmrWb => AMR_WB,
        }
    }

    /// Common name, for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gsm | Self::GsmPairs => "GSM 6.10",
            Self::G722 => "G.722",
            Self::AmrNb => "AMR-NB",
            Self::AmrWb => "AMR-WB",
        }
    }

    /// Sample rate, in hertz. It belongs to the codec: headers that say otherwise are wrong.
    pub(super) fn rate(self) -> u32 {
        match self {
            Self::Gsm | Self::GsmPairs | Self::AmrNb => 8_000,
            Self::G722 | Self::AmrWb => 16_000,
        }
    }

    /// Samples of a packet, and its bytes; `None` if its first byte tells them. A packet of G.722
    /// has any length: this is 20 ms.
    pub(super) fn packet(self) -> (u32, Option<usize>) {
        match self {
            Self::Gsm => (160, Some(33)),
            Self::GsmPairs => (320, Some(65)),
            Self::G722 => (320, Some(160)),
            Self::AmrNb => (160, None),
            Self::AmrWb => (320, None),
        }
    }

    /// The rate where a container tells one: Windows records GSM at other rates, too.
    pub(super) fn rate_in(self, told: u32) -> u32 {
        match self {
            Self::Gsm | Self::GsmPairs if told > 0 => told,
            _ => self.rate(),
        }
    }

    /// True if a packet can start with this byte. GSM has a mark. AMR has bits that are 0, and
    /// numbers of modes that mean nothing; RFC 4867, 5.3. A hole of zeros would be packets of the
    /// lowest mode that are marked as damaged.
    pub(super) fn begins(self, first: u8) -> bool {
        let kind = first >> 3 & 15;
        match self {
            Self::Gsm => first >> 4 == 0xd,
            Self::AmrNb => first != 0 && first & 0x83 == 0 && (kind <= 8 || kind == 15),
            Self::AmrWb => first != 0 && first & 0x83 == 0 && (kind <= 9 || kind >= 14),
            Self::GsmPairs | Self::G722 => true,
        }
    }

    /// Bytes of the packet of AMR that starts with this byte, with it; 3GPP TS 26.101 and 26.201.
    pub(super) fn packet_of(self, first: u8) -> usize {
        const NB: [usize; 16] = [13, 14, 16, 18, 20, 21, 27, 32, 6, 1, 1, 1, 1, 1, 1, 1];
        const WB: [usize; 16] = [18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1];
        let kind = usize::from(first >> 3 & 15);
        if self == Self::AmrWb {
            WB[kind]
        } else {
            NB[kind]
        }
    }
}

/// Decodes the packets of one voice.
trait Decode: Send + Sync {
    /// Adds the samples of a packet to `samples`; false if it cannot be decoded.
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> bool;
}

/// Adds the decoders of all [`Voice`]s, and those that do more than Symphonia's.
pub(super) fn register(codecs: &mut CodecRegistry) {
    codecs.register_audio_decoder::<VoiceDecoder>();
    codecs.register_audio_decoder::<mp2::Layer2>();
    codecs.register_audio_decoder::<opus::Surround>();
}

struct VoiceDecoder {
    voice: Voice,
    decode: Box<dyn Decode>,
    params: AudioCodecParameters,
    samples: Vec<i16>,
    buffer: AudioBuffer<i16>,
}

impl VoiceDecoder {
    fn new(voice: Voice, params: &AudioCodecParameters) -> Self {
        let rate = voice.rate_in(params.sample_rate.unwrap_or(0));
        let spec = AudioSpec::new(rate, layouts::CHANNEL_LAYOUT_MONO);
        Self {
            voice,
            decode: decoder(voice),
            params: params.clone(),
            samples: Vec::new(),
            buffer: AudioBuffer::new(spec, voice.packet().0 as usize),
        }
    }
}

fn decoder(voice: Voice) -> Box<dyn Decode> {
    match voice {
        Voice::Gsm => Box::new(gsm::Decoder::default()),
        Voice::GsmPairs => Box::new(gsm::Pairs::default()),
        Voice::G722 => Box::new(g722::Decoder::default()),
        Voice::AmrNb | Voice::AmrWb => Box::new(amr::Decoder::new(voice)),
    }
}

impl AudioDecoder for VoiceDecoder {
    fn reset(&mut self) {
        self.decode = decoder(self.voice);
    }

    fn codec_info(&self) -> &CodecInfo {
        let codecs = Self::supported_codecs();
        let this = codecs.iter().find(|codec| codec.id == self.voice.id());
        &this.unwrap_or(&codecs[0]).info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.params
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.samples.clear();
        self.buffer.clear();
        if !self.decode.decode(packet.data, &mut self.samples) {
            return Err(Error::DecodeError("a frame of speech is damaged"));
        }
        self.buffer.grow_capacity(self.samples.len());
        self.buffer.render_uninit(Some(self.samples.len()));
        self.buffer.copy_from_slice_interleaved(&self.samples);
        let (start, end) = (packet.trim_start.get(), packet.trim_end.get());
        self.buffer.trim(start as usize, end as usize);
        Ok(self.buffer.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.buffer.as_generic_audio_buffer_ref()
    }
}

impl RegisterableAudioDecoder for VoiceDecoder {
    fn try_registry_new(
        params: &AudioCodecParameters,
        _: &AudioDecoderOptions,
    ) -> Result<Box<dyn AudioDecoder>> {
        let voice = Voice::ALL
            .into_iter()
            .find(|voice| voice.id() == params.codec);
        let voice = voice.ok_or(Error::Unsupported("no codec of telephones"))?;
        Ok(Box::new(Self::new(voice, params)))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        const fn codec(id: AudioCodecId, name: &'static str) -> SupportedAudioCodec {
            SupportedAudioCodec {
                id,
                info: CodecInfo {
                    short_name: name,
                    long_name: name,
                    profiles: &[],
                },
            }
        }
        const CODECS: [SupportedAudioCodec; 5] = [
            codec(GSM, "gsm"),
            codec(GSM_PAIRS, "gsm_ms"),
            codec(CODEC_ID_ADPCM_G722, "g722"),
            codec(AMR_NB, "amr-nb"),
            codec(AMR_WB, "amr-wb"),
        ];
        &CODECS
    }
}
