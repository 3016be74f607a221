//! Finds out how samples of floating point in MOV, MKV or AVI are meant, before they are decoded.

use symphonia::core::{
    codecs::{
        CodecParameters,
        audio::{AudioCodecId, well_known as codec},
    },
    formats::Track,
};

use super::{formats::demuxer, samples::Loudness, source::Source};

/// Turns the bytes of one sample into a number.
type Number = fn(&[u8]) -> f64;

/// Width of the codec's samples in bytes; `None` if they are no plain floats.
fn plain(codec: AudioCodecId) -> Option<(usize, Number)> {
    fn four(bytes: &[u8]) -> [u8; 4] {
        bytes.first_chunk().copied().unwrap_or_default()
    }
    fn eight(bytes: &[u8]) -> [u8; 8] {
        bytes.first_chunk().copied().unwrap_or_default()
    }
    Some(match codec {
        codec::CODEC_ID_PCM_F32LE => (4, |bytes| f32::from_le_bytes(four(bytes)).into()),
        codec::CODEC_ID_PCM_F32BE => (4, |bytes| f32::from_be_bytes(four(bytes)).into()),
        codec::CODEC_ID_PCM_F64LE => (8, |bytes| f64::from_le_bytes(eight(bytes))),
        codec::CODEC_ID_PCM_F64BE => (8, |bytes| f64::from_be_bytes(eight(bytes))),
        _ => return None,
    })
}

/// The number by which the samples of this track are multiplied. `again` is the file once more,
/// which is read to its end if the track has floats. It is 1 if the file cannot be read.
pub(super) fn scale(track: &Track, again: Option<Source>) -> f64 {
    let codec = match &track.codec_params {
        Some(CodecParameters::Audio(params)) => params.codec,
        _ => return 1.0,
    };
    let (Some((width, number)), Some(again)) = (plain(codec), again) else {
        return 1.0;
    };
    let watch = again.watch();
    let mut loudness = Loudness::default();
    let Ok(mut format) = demuxer(again, &watch) else {
        return 1.0;
    };
    while let Ok(Some(packet)) = format.next_packet() {
        watch.progress();
        if packet.track_id == track.id {
            let samples = packet.data.chunks_exact(width);
            samples.for_each(|sample| loudness.see(number(sample)));
        }
    }
    loudness.scale()
}
