//! `--raw`: the format of samples without a header, in the words of `arecord` or ffmpeg, and as a
//! media type.

use std::str::FromStr;

/// Names that `arecord -f` takes, with ffmpeg's names, which the service knows. ALSA's `S24_LE`
/// fills four bytes and has no equivalent.
const ENCODINGS: [(&str, &str); 12] = [
    ("S16_LE", "s16le"),
    ("S16_BE", "s16be"),
    ("S24_3LE", "s24le"),
    ("S24_3BE", "s24be"),
    ("S32_LE", "s32le"),
    ("S32_BE", "s32be"),
    ("FLOAT_LE", "f32le"),
    ("FLOAT_BE", "f32be"),
    ("FLOAT64_LE", "f64le"),
    ("FLOAT64_BE", "f64be"),
    ("MU_LAW", "mulaw"),
    ("A_LAW", "alaw"),
];

/// Format of the samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    encoding: &'static str,
    rate: u32,
    channels: u16,
}

impl FromStr for Raw {
    type Err = String;

    fn from_str(text: &str) -> Result<Raw, String> {
        let mut raw = Raw {
            encoding: "s16le",
            rate: 16_000,
            channels: 1,
        };
        for part in text.split(',') {
            let (key, value) = part
                .split_once('=')
                .ok_or("write it like format=S16_LE,rate=16000,channels=1")?;
            let number = |_| format!("{key} is a number, not \"{value}\"");
            match key {
                "format" => raw.encoding = encoding(value)?,
                "rate" => raw.rate = value.parse().map_err(number)?,
                "channels" => raw.channels = value.parse().map_err(number)?,
                _ => return Err(format!("\"{key}\" is none of format, rate and channels")),
            }
        }
        Ok(raw)
    }
}

fn encoding(name: &str) -> Result<&'static str, String> {
    let known = ENCODINGS
        .iter()
        .find(|(alsa, ffmpeg)| name == *alsa || name == *ffmpeg);
    known.map(|(_, ffmpeg)| *ffmpeg).ok_or_else(|| {
        let names = ENCODINGS.map(|(alsa, _)| alsa).join(", ");
        format!("the format \"{name}\" is none of {names}")
    })
}

impl Raw {
    /// The same as a media type for the service.
    pub fn media_type(&self) -> String {
        let Raw {
            encoding,
            rate,
            channels,
        } = self;
        format!("audio/pcm;encoding={encoding};rate={rate};channels={channels}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_arecord_and_ffmpeg_mean_the_same() {
        for (text, media_type) in [
            ("rate=8000", "audio/pcm;encoding=s16le;rate=8000;channels=1"),
            (
                "format=S24_3BE,channels=2",
                "audio/pcm;encoding=s24be;rate=16000;channels=2",
            ),
            (
                "channels=2,rate=44100,format=f32le",
                "audio/pcm;encoding=f32le;rate=44100;channels=2",
            ),
        ] {
            assert_eq!(text.parse::<Raw>().unwrap().media_type(), media_type);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("", "format=S16_LE,rate"),
            ("16000", "format=S16_LE,rate"),
            ("rate=fast", "rate is a number, not \"fast\""),
            ("channels=-1", "channels is a number"),
            ("bits=16", "\"bits\" is none of"),
            ("format=S24_LE", "\"S24_LE\" is none of S16_LE"),
        ] {
            let wrong = text.parse::<Raw>().unwrap_err();
            assert!(wrong.contains(named), "{wrong}");
        }
    }
}
