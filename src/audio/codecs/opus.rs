//! Opus of any number of channels. libopus decodes one or two; more are several such streams, whose
//! packets lie one behind the other (RFC 7845, section 5.1.1).

use symphonia::core::{
    audio::{
        AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, Channels, GenericAudioBufferRef,
        layouts,
    },
    codecs::{
        CodecInfo,
        audio::{
            AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult,
            well_known::CODEC_ID_OPUS,
        },
        registry::{RegisterableAudioDecoder, SupportedAudioCodec},
    },
    errors::{Result, decode_error, unsupported_error},
    packet::{Packet, PacketRef},
};
use symphonia_adapter_libopus::OpusDecoder;

/// Samples of each channel of the longest packet: 120 ms at 48 kHz.
const LONGEST: usize = 5_760;

/// Bytes of the header before the description of the streams.
const HEAD: usize = 19;

/// Place of a channel that is silent.
const SILENT: u8 = 255;

/// Samples of each channel at 48 kHz, as the packet's first bytes tell; RFC 6716, section 3.1.
pub(crate) fn samples(packet: &[u8]) -> Option<u64> {
    let first = *packet.first()?;
    let kind = usize::from(first >> 3);
    let frame = match kind {
        0..12 => [480, 960, 1_920, 2_880][kind & 3],
        12..16 => [480, 960][kind & 1],
        _ => [120, 240, 480, 960][kind & 3],
    };
    let count = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1)? & 0x3f,
    };
    Some(frame * u64::from(count))
}

/// Decodes several streams at once.
pub(super) struct Surround {
    params: AudioCodecParameters,
    streams: Vec<Box<dyn AudioDecoder>>,
    /// For each channel its stream, and the channel in it; `None` for silence.
    places: Vec<Option<(usize, usize)>>,
    /// Samples at the start that are no sound.
    skip: usize,
    buffer: AudioBuffer<f32>,
    planes: Vec<Vec<f32>>,
}

impl Surround {
    fn new(params: &AudioCodecParameters, options: &AudioDecoderOptions) -> Result<Self> {
        let head = params.extra_data.as_deref().unwrap_or_default();
        let channels = params.channels.as_ref().map_or(0, Channels::count);
        let Some(([count, coupled], places)) = head.get(HEAD - 1..).and_then(|rest| {
            let (_, rest) = rest.split_first()?;
            let (counts, places) = rest.split_first_chunk::<2>()?;
            Some((counts.map(usize::from), places.get(..channels)?))
        }) else {
            return unsupported_error("opus: the streams of the channels are not described");
        };
        let is_place = |place: &u8| *place == SILENT || usize::from(*place) < count + coupled;
        if count == 0 || coupled > count || !places.iter().all(is_place) {
            return decode_error("opus: the description of the channels is damaged");
        }
        let place = |place: &u8| {
            let number = usize::from(*place);
            (*place != SILENT).then_some(if number < 2 * coupled {
                (number / 2, number % 2)
            } else {
                (number - coupled, 0)
            })
        };
        let stream = |number: usize| {
            let layout = if number < coupled {
                layouts::CHANNEL_LAYOUT_STEREO
            } else {
                layouts::CHANNEL_LAYOUT_MONO
            };
            let mut one = AudioCodecParameters::new();
            one.for_codec(CODEC_ID_OPUS)
                .with_sample_rate(48_000)
                .with_channels(layout);
            OpusDecoder::try_registry_new(&one, options)
        };
        let skip = head.get(10..12).unwrap_or_default();
        let width = u16::try_from(channels).unwrap_or(u16::MAX);
        let spec = AudioSpec::new(48_000, Channels::Discrete(width));
        Ok(Self {
            params: params.clone(),
            streams: (0..count).map(stream).collect::<Result<_>>()?,
            places: places.iter().map(place).collect(),
            skip: skip
                .iter()
                .rev()
                .fold(0, |skip, byte| skip << 8 | usize::from(*byte)),
            buffer: AudioBuffer::new(spec, LONGEST),
            planes: Vec::new(),
        })
    }

    /// Decodes the part of each stream.
    fn decode_parts(&mut self, mut packet: &[u8]) -> Result<usize> {
        let last = self.streams.len() - 1;
        let mut frames = None;
        for number in 0..self.streams.len() {
            let part = if number == last {
                packet.to_vec()
            } else if let Some((part, rest)) = split(packet) {
                packet = rest;
                part
            } else {
                return decode_error("opus: a packet of several streams is damaged");
            };
            if part.is_empty() {
                return decode_error("opus: a packet lacks a stream");
            }
            let part = Packet::new(0, Default::default(), Default::default(), part);
            self.streams[number].decode(&part)?;
            let count = self.streams[number].last_decoded().frames();
            if *frames.get_or_insert(count) != count {
                return decode_error("opus: the streams of a packet differ in length");
            }
        }
        Ok(frames.unwrap_or(0))
    }
}

/// Takes the part of one stream from the front of a packet, without the length that it has there
/// but not when it is alone; RFC 6716, appendix B. Returns it, and the rest.
fn split(packet: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (first, mut rest) = packet.split_first()?;
    let mut head = vec![*first];
    let mut frames = 0;
    match first & 3 {
        0 => frames += length(&mut rest)?.0,
        1 => frames += 2 * length(&mut rest)?.0,
        2 => {
            let (one, bytes) = length(&mut rest)?;
            head.extend(bytes);
            frames += one + length(&mut rest)?.0;
        }
        _ => {
            let (counts, behind) = rest.split_first()?;
            rest = behind;
            head.push(*counts);
            let count = usize::from(counts & 0x3f);
            let mut has_more = counts & 0x40 != 0;
            while has_more {
                let (padding, behind) = rest.split_first()?;
                rest = behind;
                head.push(*padding);
                has_more = *padding == 255;
                frames += usize::from(*padding) - usize::from(has_more);
            }
            if counts & 0x80 == 0 {
                frames += count * length(&mut rest)?.0;
            } else {
                for _ in 1..count {
                    let (one, bytes) = length(&mut rest)?;
                    head.extend(bytes);
                    frames += one;
                }
                frames += length(&mut rest)?.0;
            }
        }
    }
    let (frames, rest) = rest.split_at_checked(frames)?;
    head.extend(frames);
    Some((head, rest))
}

/// Takes the length of a frame, and returns it with its bytes.
fn length<'a>(rest: &mut &'a [u8]) -> Option<(usize, &'a [u8])> {
    let first = usize::from(*rest.first()?);
    let (bytes, behind) = rest.split_at_checked(if first < 252 { 1 } else { 2 })?;
    *rest = behind;
    let more = bytes.get(1).map_or(0, |byte| 4 * usize::from(*byte));
    Some((first + more, bytes))
}

impl AudioDecoder for Surround {
    fn reset(&mut self) {
        self.streams.iter_mut().for_each(|stream| stream.reset());
    }

    fn codec_info(&self) -> &CodecInfo {
        &Self::supported_codecs()[0].info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.params
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.buffer.clear();
        let frames = self.decode_parts(packet.data)?.min(LONGEST);
        self.buffer.render_uninit(Some(frames));
        for (number, stream) in self.streams.iter().enumerate() {
            stream.last_decoded().copy_to_vecs_planar(&mut self.planes);
            for (channel, place) in self.places.iter().enumerate() {
                let Some(plane) = self.buffer.plane_mut(channel) else {
                    continue;
                };
                match place {
                    None => plane.fill(0.0),
                    Some((from, side)) if *from == number => {
                        if let Some(samples) = self.planes.get(*side) {
                            plane.copy_from_slice(&samples[..frames]);
                        }
                    }
                    Some(_) => {}
                }
            }
        }
        let start = packet.trim_start.get() as usize + std::mem::take(&mut self.skip);
        self.buffer.trim(start, packet.trim_end.get() as usize);
        Ok(self.buffer.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.buffer.as_generic_audio_buffer_ref()
    }
}

impl RegisterableAudioDecoder for Surround {
    fn try_registry_new(
        params: &AudioCodecParameters,
        options: &AudioDecoderOptions,
    ) -> Result<Box<dyn AudioDecoder>> {
        if params.channels.as_ref().map_or(0, Channels::count) <= 2 {
            return OpusDecoder::try_registry_new(params, options);
        }
        Ok(Box::new(Self::new(params, options)?))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        const CODECS: [SupportedAudioCodec; 1] = [SupportedAudioCodec {
            id: CODEC_ID_OPUS,
            info: CodecInfo {
                short_name: "opus",
                long_name: "Opus",
                profiles: &[],
            },
        }];
        &CODECS
    }
}
