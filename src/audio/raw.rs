//! Raw samples without a header: the media type describes them, and a header is made from it.

use mime::Mime;

use super::AudioError;
use super::bounds::{check_channels, check_rate};
use super::wav::{self, Samples};

/// Format of raw samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raw {
    encoding: Encoding,
    /// Samples per second, in hertz.
    rate: u32,
    channels: u16,
}

/// Encoding of one sample, in the terms of a CAF header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Encoding {
    format: &'static [u8; 4],
    is_float: bool,
    is_little_endian: bool,
    bits: u16,
}

impl Encoding {
    /// The encoding with this name, as ffmpeg and others call it: `s16le`, `f32be`, `mulaw`.
    fn of(name: &str) -> Option<Self> {
        let (format, name) = match name {
            "mulaw" => (b"ulaw", "s8be"),
            "alaw" => (b"alaw", "s8be"),
            name => (b"lpcm", name),
        };
        let (number, end) = name.split_at_checked(name.len().checked_sub(2)?)?;
        let is_little_endian = match end {
            "le" => true,
            "be" => false,
            _ => return None,
        };
        let (is_float, bits) = match number {
            "s8" if format != b"lpcm" => (false, 8),
            "s16" => (false, 16),
            "s24" => (false, 24),
            "s32" => (false, 32),
            "f32" => (true, 32),
            "f64" => (true, 64),
            _ => return None,
        };
        Some(Self {
            format,
            is_float,
            is_little_endian,
            bits,
        })
    }
}

impl Raw {
    /// The format of raw samples that a media type describes; `None` for any other media type.
    ///
    /// | media type | samples | source |
    /// |---|---|---|
    /// | `audio/L16` `audio/L24` | 16, 24 bits, big-endian | RFC 2586, 3551, 3190 |
    /// | `audio/PCMU` `audio/PCMA` | µ-law, A-law; `rate` is 8000 by default | RFC 3551, 4856 |
    /// | `audio/basic` | µ-law, 8000 Hz | RFC 2046 |
    /// | `audio/pcm` | as `encoding` says | no standard; used by OpenAI's and Google's APIs |
    ///
    /// `encoding` is one of `s16le` (the default), `s24le`, `s32le`, `f32le`, `f64le`, each also
    /// with `be`, `mulaw` and `alaw`. `rate` is in hertz and required unless the table gives a
    /// default; `channels` is 1 by default.
    ///
    /// # Errors
    /// A parameter is missing or impossible.
    pub(super) fn of(media_type: &str) -> Result<Option<Self>, AudioError> {
        let Ok(mime) = media_type.parse::<Mime>() else {
            return Ok(None);
        };
        if mime.type_() != mime::AUDIO {
            return Ok(None);
        }
        let parameter = |name| mime.get_param(name).map(|value| value.as_str());
        let (encoding, usual_rate) = match mime.subtype().as_str() {
            "l16" => ("s16be", None),
            "l24" => ("s24be", None),
            "pcmu" | "basic" => ("mulaw", Some(8_000)),
            "pcma" => ("alaw", Some(8_000)),
            "pcm" => (parameter("encoding").unwrap_or("s16le"), None),
            _ => return Ok(None),
        };
        let wrong = |what: &str| AudioError::Raw(what.to_owned());
        let encoding = Encoding::of(&encoding.to_ascii_lowercase())
            .ok_or_else(|| wrong("its `encoding` is not known"))?;
        let rate = match (parameter("rate"), usual_rate) {
            (Some(rate), _) => rate.parse().map_err(|_| wrong("its `rate` is no number"))?,
            (None, Some(rate)) => rate,
            (None, None) => return Err(wrong("its `rate` is missing")),
        };
        let channels = match parameter("channels") {
            Some(channels) => channels
                .parse()
                .map_err(|_| wrong("its `channels` is no number"))?,
            None => 1,
        };
        check_rate(rate)?;
        check_channels(channels.into())?;
        Ok(Some(Self {
            encoding,
            rate,
            channels,
        }))
    }

    /// The largest number of bytes up to `bytes` that are whole frames.
    pub(super) fn whole(self, bytes: u64) -> u64 {
        bytes - bytes % u64::from(self.frame())
    }

    /// Bytes of one frame: one sample of each channel.
    fn frame(self) -> u32 {
        u32::from(self.encoding.bits / 8) * u32::from(self.channels)
    }

    /// A Core Audio Format header for this many bytes of whole frames. CAF supports both byte
    /// orders.
    pub(super) fn header(self, bytes: u64) -> Vec<u8> {
        let Encoding {
            format,
            is_float,
            is_little_endian,
            bits,
        } = self.encoding;
        let flags = u32::from(is_float) | u32::from(is_little_endian) << 1;
        let mut header = b"caff\0\x01\0\0desc".to_vec();
        header.extend(32_u64.to_be_bytes());
        header.extend(f64::from(self.rate).to_be_bytes());
        header.extend(format);
        for number in [flags, self.frame(), 1, self.channels.into(), bits.into()] {
            header.extend(number.to_be_bytes());
        }
        // The samples are preceded by an edit count of 4 bytes, which is not needed.
        header.extend(b"data");
        header.extend((bytes + 4).to_be_bytes());
        header.extend([0; 4]);
        header
    }

    /// A WAV header for samples of unknown number from a pipe. CAF, which supports both byte
    /// orders, cannot be read without its length.
    ///
    /// # Errors
    /// The samples are big-endian, which WAV does not support.
    pub(super) fn stream_header(self) -> Result<Vec<u8>, AudioError> {
        let Encoding {
            format,
            is_float,
            is_little_endian,
            bits,
        } = self.encoding;
        let samples = match (format, is_float) {
            (b"ulaw", _) => Samples::MuLaw,
            (b"alaw", _) => Samples::ALaw,
            _ if !is_little_endian => {
                let what = "through a pipe, samples must have their low byte first";
                return Err(AudioError::Raw(what.into()));
            }
            (_, true) => Samples::Float,
            (_, false) => Samples::Whole,
        };
        Ok(wav::stream_header(samples, self.rate, self.channels, bits))
    }
}

/// True if a file that is called raw does have a header: some senders call a WAV file `audio/L16`.
pub(super) fn has_a_header(head: &[u8]) -> bool {
    let starts: [&[u8]; 6] = [b"RIFF", b"RF64", b"FORM", b"caff", b"fLaC", b"OggS"];
    starts.iter().any(|start| head.starts_with(start))
}
