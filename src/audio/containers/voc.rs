//! Creative's VOC: blocks of samples, and blocks that tell what they are.

use symphonia::core::{
    codecs::audio::{AudioCodecId, well_known as codec},
    errors::{Error, Result},
    io::{MediaSourceStream, ReadBytes},
    packet::Packet,
    units::{Duration, Timestamp},
};

use super::{Demux, Opened, is_end, params, skip, take, track};

/// Samples of all channels in one packet.
const PACKET: usize = 4096;

/// Bytes of the header.
const HEADER: usize = 26;

/// The kind of samples, which must be the same in all blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sound {
    codec: AudioCodecId,
    rate: u32,
    channels: u16,
    /// Bytes of all channels at one moment.
    frame: usize,
}

struct Blocks {
    sound: Sound,
    /// Bytes of samples left in the current block.
    left: u64,
    /// Rate and channels from a block that precedes the samples.
    extended: Option<(u32, u16)>,
    pts: i64,
}

/// Kind of the next block.
enum Block {
    Samples(Sound, u64),
    More(u64),
    Silence(u64),
    Other,
    End,
}

pub(super) fn open(stream: &mut MediaSourceStream<'_>) -> Result<Opened> {
    let head = take(stream, 26)?;
    let start = head
        .get(20..22)
        .map_or(26, |two| u16::from_le_bytes([two[0], two[1]]));
    skip(stream, u64::from(start).saturating_sub(26))?;
    let mut extended = None;
    // The first block of samples describes the track.
    let (sound, left) = loop {
        match block(stream, &mut extended)? {
            Block::Samples(sound, left) => break (sound, left),
            Block::End => return Err(Error::DecodeError("voc: no samples")),
            _ => {}
        }
    };
    let mut audio = params(sound.codec, sound.rate, sound.channels);
    audio.with_max_frames_per_packet(PACKET as u64);
    let track = track(0, audio, (1, sound.rate));
    let blocks = Blocks {
        sound,
        left,
        extended,
        pts: 0,
    };
    Ok((vec![track], Box::new(blocks)))
}

fn block(stream: &mut MediaSourceStream<'_>, extended: &mut Option<(u32, u16)>) -> Result<Block> {
    let kind = take(stream, 1)?;
    let len = match kind.first() {
        None => return Ok(Block::End),
        Some(0) => return next_file(stream),
        Some(_) => take(stream, 3)?,
    };
    let [a, b, c] = len[..] else {
        return Ok(Block::End);
    };
    let len = u64::from(u32::from_le_bytes([a, b, c, 0]));
    match kind[0] {
        1 if len >= 2 => {
            let (divisor, number) = (stream.read_byte()?, stream.read_byte()?);
            let rate = 1_000_000 / (256 - u32::from(divisor));
            let (rate, channels) = extended.take().unwrap_or((rate, 1));
            Ok(Block::Samples(
                sound(number.into(), rate, channels)?,
                len - 2,
            ))
        }
        2 => Ok(Block::More(len)),
        3 if len >= 3 => {
            let (count, divisor) = (u64::from(stream.read_u16()?) + 1, stream.read_byte()?);
            skip(stream, len - 3)?;
            let rate = 1_000_000 / (256 - u64::from(divisor));
            Ok(Block::Silence(count * 1_000_000 / rate))
        }
        8 if len >= 4 => {
            let (divisor, _, mode) = (stream.read_u16()?, stream.read_byte()?, stream.read_byte()?);
            skip(stream, len - 4)?;
            let channels = u16::from(mode == 1) + 1;
            let rate = 256_000_000 / (65_536 - u32::from(divisor)) / u32::from(channels);
            *extended = Some((rate, channels));
            Ok(Block::Other)
        }
        9 if len >= 12 => {
            let (rate, bits, channels) =
                (stream.read_u32()?, stream.read_byte()?, stream.read_byte()?);
            let number = stream.read_u16()?;
            skip(stream, 4)?;
            // 8-bit samples have number 0, others 4.
            let number = if number == 0 && bits == 16 { 4 } else { number };
            Ok(Block::Samples(
                sound(number, rate, channels.into())?,
                len - 12,
            ))
        }
        // Sox announces 8 bytes of samples too few, which then look like the head of some block.
        _ => Ok(match skip(stream, len) {
            Ok(()) => Block::Other,
            Err(error) if is_end(&error) => Block::End,
            Err(error) => return Err(error),
        }),
    }
}

/// Passes over the header of one more file behind the end of this one.
fn next_file(stream: &mut MediaSourceStream<'_>) -> Result<Block> {
    let head = take(stream, HEADER)?;
    if !head.starts_with(b"Creative Voice File\x1a") || head.len() < HEADER {
        return Ok(Block::End);
    }
    let start = u16::from_le_bytes([head[20], head[21]]);
    skip(stream, u64::from(start).saturating_sub(HEADER as u64))?;
    Ok(Block::Other)
}

fn sound(number: u16, rate: u32, channels: u16) -> Result<Sound> {
    let (codec, bytes) = match number {
        0 => (codec::CODEC_ID_PCM_U8, 1),
        4 => (codec::CODEC_ID_PCM_S16LE, 2),
        6 => (codec::CODEC_ID_PCM_ALAW, 1),
        7 => (codec::CODEC_ID_PCM_MULAW, 1),
        _ => return Err(Error::Unsupported("the codec is Creative ADPCM in VOC")),
    };
    if !(1..=64).contains(&channels) || rate == 0 {
        return Err(Error::DecodeError("voc: no channels or no rate"));
    }
    Ok(Sound {
        codec,
        rate,
        channels,
        frame: bytes * usize::from(channels),
    })
}

impl Demux for Blocks {
    fn next(&mut self, stream: &mut MediaSourceStream<'_>) -> Result<Option<Packet>> {
        while self.left < self.sound.frame as u64 {
            skip(stream, self.left)?;
            self.left = 0;
            match block(stream, &mut self.extended)? {
                Block::Samples(sound, left) if sound == self.sound => self.left = left,
                Block::Samples(..) => return Err(Error::DecodeError("voc: the samples change")),
                Block::More(left) => self.left = left,
                Block::Silence(micros) => {
                    let silence = micros * u64::from(self.sound.rate) / 1_000_000;
                    self.pts = self.pts.saturating_add(silence as i64);
                }
                Block::Other => {}
                Block::End => return Ok(None),
            }
        }
        let whole = self.left - self.left % self.sound.frame as u64;
        let len = whole.min((PACKET * self.sound.frame) as u64) as usize;
        let mut packet = take(stream, len)?;
        packet.truncate(packet.len() - packet.len() % self.sound.frame);
        if packet.is_empty() {
            return Err(Error::IoError(std::io::ErrorKind::UnexpectedEof.into()));
        }
        self.left -= packet.len() as u64;
        let frames = (packet.len() / self.sound.frame) as u64;
        let pts = Timestamp::new(self.pts);
        self.pts = self.pts.saturating_add(frames as i64);
        Ok(Some(Packet::new(0, pts, Duration::new(frames), packet)))
    }
}
