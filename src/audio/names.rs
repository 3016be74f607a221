//! Names of codecs that senders use but no decoder here knows, for messages.

use symphonia::core::codecs::audio::{AudioCodecId, well_known as codec};

use super::{
    containers::{ADPCM_SWF, DISC_PCM, LATM, NELLYMOSER, OPUS_TS, S302M, tagged},
    headers::Tag,
};

/// Common name of a codec that cannot be decoded; `None` if it has none.
pub(super) fn codec(id: AudioCodecId) -> Option<String> {
    let name = match id {
        codec::CODEC_ID_AAC => "AAC other than AAC-LC with one or two channels",
        codec::CODEC_ID_OPUS => "Opus with more than two channels",
        codec::CODEC_ID_AC3 => "AC-3",
        codec::CODEC_ID_EAC3 => "E-AC-3",
        codec::CODEC_ID_AC4 => "AC-4",
        codec::CODEC_ID_DCA => "DTS",
        codec::CODEC_ID_SPEEX => "Speex",
        codec::CODEC_ID_WAVPACK => "WavPack",
        codec::CODEC_ID_TTA => "TTA",
        codec::CODEC_ID_TRUEHD => "TrueHD",
        codec::CODEC_ID_MONKEYS_AUDIO => "Monkey's Audio",
        codec::CODEC_ID_MUSEPACK => "Musepack",
        codec::CODEC_ID_WMA => "Windows Media Audio",
        codec::CODEC_ID_ADPCM_G726 | codec::CODEC_ID_ADPCM_G726LE => "G.726",
        LATM => "AAC in LATM",
        DISC_PCM => "PCM of DVD or Blu-ray",
        OPUS_TS => "Opus in MPEG-TS",
        S302M => "SMPTE 302M",
        NELLYMOSER => "Nellymoser",
        ADPCM_SWF => "Flash ADPCM",
        id => {
            let tag = (0..=u16::MAX).map(Tag).find(|tag| tagged(*tag) == id);
            return tag.map(Tag::name);
        }
    };
    Some(name.to_owned())
}
