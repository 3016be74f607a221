//! G.722 at 64 kbit/s: two samples at 16 kHz from each byte.

use audio_codec::g722::G722Decoder;

use super::Decode;

#[derive(Default)]
pub(super) struct Decoder(G722Decoder);

impl Decode for Decoder {
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> bool {
        let start = samples.len();
        samples.resize(start + 2 * packet.len(), 0);
        let written = self.0.decode_frame_into(packet, &mut samples[start..]);
        samples.truncate(start + written.as_ref().copied().unwrap_or(0));
        written.is_ok()
    }
}
