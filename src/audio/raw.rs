//! Raw samples without a header: the media type describes them, and a header is made from it.

use mime::Mime;

use super::AudioError;
use super::bounds::{check_channels, check_rate};
use super::codecs::Voice;
use super::headers::{Coding, Header};
use super::samples::{Kind, Layout};

/// Format of raw samples.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    coding: Coding,
    /// Samples per second, in hertz.
    rate: u32,
    channels: u16,
    /// Bytes of one sample of each channel; 1 if the coding has none.
    frame: u64,
}

/// The coding with this name, as ffmpeg and others call it (`s16le`, `f32be`, `mulaw`), and the
/// bytes of a sample.
fn coding(name: &str) -> Option<(Coding, u16)> {
    match name {
        "mulaw" => return Some((Coding::MuLaw, 1)),
        "alaw" => return Some((Coding::ALaw, 1)),
        "u8" => return Some((Coding::Samples(Layout::plain(Kind::Unsigned, 1)), 1)),
        "s8" => return Some((Coding::Samples(Layout::plain(Kind::Signed, 1)), 1)),
        _ => {}
    }
    let (number, end) = name.split_at_checked(name.len().checked_sub(2)?)?;
    let is_big_endian = match end {
        "le" => false,
        "be" => true,
        _ => return None,
    };
    let (kind, bytes) = match number {
        "s16" => (Kind::Signed, 2),
        "s24" => (Kind::Signed, 3),
        "s32" => (Kind::Signed, 4),
        "f32" => (Kind::Float, 4),
        "f64" => (Kind::Float, 8),
        _ => return None,
    };
    Some((
        Coding::Samples(Layout::plain(kind, bytes).ordered(is_big_endian)),
        bytes,
    ))
}

impl Raw {
    /// The format of raw samples that a media type describes; `None` for any other media type.
    ///
    /// | media type | samples | source |
    /// |---|---|---|
    /// | `audio/L16` `audio/L24` | 16, 24 bits, big-endian | RFC 2586, 3551, 3190 |
    /// | `audio/PCMU` `audio/PCMA` | µ-law, A-law; `rate` is 8000 by default | RFC 3551, 4856 |
    /// | `audio/basic` | µ-law, 8000 Hz | RFC 2046 |
    /// | `audio/G722` | G.722; `rate` is a clock and ignored | RFC 3551 |
    /// | `audio/GSM` | GSM 06.10 in frames of 33 bytes, 8000 Hz | RFC 3551 |
    /// | `audio/pcm` | as `encoding` says | no standard; used by OpenAI's and Google's APIs |
    ///
    /// `encoding` is one of `s16le` (the default), `s24le`, `s32le`, `f32le`, `f64le`, each also
    /// with `be`, and `u8`, `s8`, `mulaw` and `alaw`. `rate` is in hertz and required unless the
    /// table gives a default; `channels` is 1 by default.
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
        let voice = match mime.subtype().as_str() {
            "g722" | "x-g722" => Some(Voice::G722),
            "gsm" | "x-gsm" => Some(Voice::Gsm),
            _ => None,
        };
        if let Some(voice) = voice {
            return Ok(Some(Self {
                coding: Coding::Voice(voice),
                rate: voice.rate(),
                channels: 1,
                frame: 1,
            }));
        }
        let (encoding, usual_rate) = match mime.subtype().as_str() {
            "l16" => ("s16be", None),
            "l24" => ("s24be", None),
            "pcmu" | "basic" => ("mulaw", Some(8_000)),
            "pcma" => ("alaw", Some(8_000)),
            "pcm" => (parameter("encoding").unwrap_or("s16le"), None),
            _ => return Ok(None),
        };
        let wrong = |what: &str| AudioError::Raw(what.to_owned());
        let (coding, bytes) = coding(&encoding.to_ascii_lowercase())
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
            coding,
            rate,
            channels,
            frame: u64::from(bytes) * u64::from(channels),
        }))
    }

    /// The largest number of bytes up to `bytes` that are whole frames.
    pub(super) fn whole(&self, bytes: u64) -> u64 {
        bytes - bytes % self.frame
    }

    /// The description that a header would give.
    pub(super) fn header(self) -> Header {
        Header::of(self.coding, self.rate, self.channels)
    }
}

/// The error for a file that has no header, and is called as such files are.
pub(super) fn without_header(extension: Option<&str>) -> Option<AudioError> {
    let extension = extension?.to_ascii_lowercase();
    let fits = match extension.as_str() {
        "raw" | "s16" | "sw" => return Some(AudioError::Raw("it has no header".into())),
        "ul" | "ulaw" | "mulaw" | "mu" | "pcmu" | "g711u" => "audio/PCMU",
        "al" | "alaw" | "pcma" | "g711a" => "audio/PCMA",
        "sln" | "sln8" | "slin" => "audio/pcm;rate=8000",
        "sln12" => "audio/pcm;rate=12000",
        "sln16" | "slin16" => "audio/pcm;rate=16000",
        "sln24" => "audio/pcm;rate=24000",
        "sln32" => "audio/pcm;rate=32000",
        "sln44" => "audio/pcm;rate=44100",
        "sln48" => "audio/pcm;rate=48000",
        "g722" => "audio/G722",
        "gsm" => "audio/GSM",
        "pcm" => {
            let reason = "it has no header; if it is from Asterisk, send it as `audio/PCMU`";
            return Some(AudioError::Raw(reason.into()));
        }
        _ => return None,
    };
    Some(AudioError::Headerless(fits))
}
