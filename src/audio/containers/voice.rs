//! Packets of one voice, one after another: GSM, G.722, and AMR's own files.

use symphonia::core::{
    errors::{Error, Result},
    io::{MediaSourceStream, ReadBytes},
    packet::Packet,
    units::{Duration, Timestamp},
};

use super::{Demux, Opened, params, take, track};
use crate::audio::codecs::Voice;

struct Packets {
    voice: Voice,
    pts: i64,
}

/// A stream of packets from here on.
pub(super) fn open(voice: Voice) -> Opened {
    let track = track(0, params(voice.id(), voice.rate(), 1), (1, voice.rate()));
    (vec![track], Box::new(Packets { voice, pts: 0 }))
}

/// A file of AMR, whose first line names it.
pub(super) fn open_amr(stream: &mut MediaSourceStream<'_>, voice: Voice) -> Result<Opened> {
    while stream.read_byte()? != b'\n' {}
    Ok(open(voice))
}

impl Demux for Packets {
    fn next(&mut self, stream: &mut MediaSourceStream<'_>) -> Result<Option<Packet>> {
        let (samples, fixed) = self.voice.packet();
        let first = take(stream, 1)?;
        let Some(byte) = first.first() else {
            return Ok(None);
        };
        let len = fixed.unwrap_or_else(|| self.voice.packet_of(*byte));
        let mut packet = first;
        packet.extend(take(stream, len - 1)?);
        let samples = match self.voice {
            // Two samples from each byte: the last packet may be short.
            Voice::G722 => 2 * packet.len() as u32,
            // The second frame of the last pair may be missing.
            Voice::GsmPairs if (33..65).contains(&packet.len()) => {
                packet.resize(65, 0);
                samples
            }
            _ if packet.len() < len => {
                return Err(Error::IoError(std::io::ErrorKind::UnexpectedEof.into()));
            }
            _ => samples,
        };
        let pts = Timestamp::new(self.pts);
        self.pts += i64::from(samples);
        Ok(Some(Packet::new(
            0,
            pts,
            Duration::new(samples.into()),
            packet,
        )))
    }
}
