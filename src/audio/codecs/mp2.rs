//! MPEG audio, layer 2, of every bit rate: Symphonia refuses those that the standard leaves out for
//! one channel, which ffmpeg writes unasked.

use nanomp3_core::{Channels, Decoder, MAX_SAMPLES_PER_FRAME};
use symphonia::core::{
    audio::{
        AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, GenericAudioBufferRef, layouts,
    },
    codecs::{
        CodecInfo,
        audio::{
            AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult,
            well_known::CODEC_ID_MP2,
        },
        registry::{RegisterableAudioDecoder, SupportedAudioCodec},
    },
    errors::{Result, decode_error},
    packet::PacketRef,
};

pub(super) struct Layer2 {
    params: AudioCodecParameters,
    decoder: Box<Decoder>,
    samples: Vec<f32>,
    buffer: AudioBuffer<f32>,
}

impl AudioDecoder for Layer2 {
    fn reset(&mut self) {
        *self.decoder = Decoder::new();
    }

    fn codec_info(&self) -> &CodecInfo {
        &Self::supported_codecs()[0].info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.params
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.buffer.clear();
        let (used, decoded) = self.decoder.decode(packet.data, &mut self.samples);
        let Ok(info) = decoded else {
            return decode_error("mp2: a frame is damaged");
        };
        if used != packet.data.len() || info.layer != 2 {
            return decode_error("mp2: a packet is no frame of layer 2");
        }
        let layout = match info.channels {
            Channels::Mono => layouts::CHANNEL_LAYOUT_MONO,
            Channels::Stereo => layouts::CHANNEL_LAYOUT_STEREO,
        };
        let count = info.samples_produced * usize::from(info.channels.num());
        self.buffer = AudioBuffer::new(
            AudioSpec::new(info.sample_rate, layout),
            info.samples_produced,
        );
        self.buffer.render_uninit(Some(info.samples_produced));
        self.buffer
            .copy_from_slice_interleaved(&&self.samples[..count]);
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

impl RegisterableAudioDecoder for Layer2 {
    fn try_registry_new(
        params: &AudioCodecParameters,
        _: &AudioDecoderOptions,
    ) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(Self {
            params: params.clone(),
            decoder: Box::default(),
            samples: vec![0.0; MAX_SAMPLES_PER_FRAME],
            buffer: AudioBuffer::default(),
        }))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        const CODECS: [SupportedAudioCodec; 1] = [SupportedAudioCodec {
            id: CODEC_ID_MP2,
            info: CodecInfo {
                short_name: "mp2",
                long_name: "MPEG Audio Layer 2",
                profiles: &[],
            },
        }];
        &CODECS
    }
}
