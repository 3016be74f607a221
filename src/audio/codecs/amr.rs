//! AMR-NB and AMR-WB in frames of RFC 4867's storage format: a byte that tells mode and quality,
//! then the bits.

use codec_core::{
    codecs::amr::AmrCodec,
    types::{CodecConfig, CodedFrame, FrameKind, VariableRateCodec},
};

use super::{Decode, Voice};

/// Decodes frames of either variant.
pub(super) struct Decoder {
    voice: Voice,
    /// `None` if the crate refuses its own settings.
    codec: Option<AmrCodec>,
    /// The last mode of speech, for frames that name none.
    mode: u8,
}

impl Decoder {
    pub(super) fn new(voice: Voice) -> Self {
        let config = match voice {
            Voice::AmrWb => CodecConfig::amr_wb(),
            _ => CodecConfig::amr_nb(),
        };
        Self {
            voice,
            codec: AmrCodec::new(&config).ok(),
            mode: 0,
        }
    }
}

impl Decode for Decoder {
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> bool {
        let Some((first, bits)) = packet.split_first() else {
            return false;
        };
        // Numbers of frame types above the modes: comfort noise, a lost frame (WB only), nothing.
        let noise = if self.voice == Voice::AmrWb { 9 } else { 8 };
        let number = first >> 3 & 15;
        let kind = match number {
            number if number < noise => FrameKind::Speech,
            number if number == noise => FrameKind::ComfortNoise,
            14 => FrameKind::Lost,
            _ => FrameKind::NoData,
        };
        if kind == FrameKind::Speech {
            self.mode = number;
        }
        if packet.len() != self.voice.packet_of(*first) {
            return false;
        }
        let frame = CodedFrame {
            kind,
            mode: self.mode,
            quality_ok: first & 4 != 0,
            data: bits.to_vec(),
        };
        let decoded = self.codec.as_mut().map(|codec| codec.decode_frame(&frame));
        match decoded {
            Some(Ok(decoded)) => samples.extend(decoded),
            // Nothing was heard before: silence.
            Some(Err(_)) if kind != FrameKind::Speech => {
                samples.resize(samples.len() + self.voice.packet().0 as usize, 0);
            }
            _ => return false,
        }
        true
    }
}
