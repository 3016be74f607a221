//! Events of clients: checks the type of each value and keeps only the values that we use.

use serde::Deserialize;

use super::{error::Problem, frame::Frame};
use crate::audio::{CHANNELS, RATES};

/// An event that a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Asks for a description of the service.
    Describe,
    /// Asks for a sign of life. The answer repeats the text.
    Ping(Option<String>),
    /// Says how to transcribe the next recording.
    Transcribe(Wish),
    /// Begins a recording in this format.
    AudioStart(Format),
    /// Carries samples as its payload. Should repeat their format.
    AudioChunk(Option<Format>),
    /// Ends the recording: no more samples come.
    AudioStop,
    /// Any other event. The protocol expects us to ignore it.
    Unknown,
}

/// The requested model and language. Contexts and lists of names, which could help an engine to
/// guess, are ignored because no engine here can use them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// Name or alias of the model; `None` means the default one.
    pub(super) model: Option<String>,
    /// ISO 639-1 code, optionally with a region.
    pub(super) language: Option<String>,
    /// An extension: pieces of text come before they are final.
    pub(super) partials: bool,
}

/// Format of samples: signed integers in little-endian order, channels interleaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// Samples per second and channel, in hertz.
    rate: u32,
    /// Size of a sample in bytes.
    width: u16,
    channels: u16,
}

impl Format {
    /// Check that we can decode these samples.
    ///
    /// # Errors
    /// The format is not supported.
    pub(super) fn check(self) -> Result<Self, Problem> {
        let Self {
            rate,
            width,
            channels,
        } = self;
        // With one byte, some clients mean signed and others unsigned numbers: a wrong guess would
        // be noise.
        if !(2..=4).contains(&width) {
            let why = match width {
                1 => ", as nobody says whether they have a sign",
                _ => "",
            };
            let text = format!("samples of width {width} are not supported{why}; use 2, 3 or 4");
            return Err(Problem::parameter(text));
        }
        if !RATES.contains(&rate) || !CHANNELS.contains(&channels.into()) {
            let text = format!(
                "{channels} channels at {rate} Hz are not supported; use {} to {} at {} to {} Hz",
                CHANNELS.start(),
                CHANNELS.end(),
                RATES.start(),
                RATES.end()
            );
            return Err(Problem::parameter(text));
        }
        Ok(self)
    }

    /// Media type that describes the samples to the decoder.
    pub(super) fn media_type(self) -> String {
        let Self {
            rate,
            width,
            channels,
        } = self;
        let bits = 8 * width;
        format!("audio/pcm;rate={rate};channels={channels};encoding=s{bits}le")
    }

    /// Bytes per second of audio.
    pub(super) fn bytes_per_second(self) -> u64 {
        u64::from(self.rate) * u64::from(self.width) * u64::from(self.channels)
    }
}

/// The values of all events that we use.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Data {
    name: Option<String>,
    language: Option<String>,
    partials: Option<bool>,
    text: Option<String>,
    rate: Option<u32>,
    width: Option<u16>,
    channels: Option<u16>,
}

impl Data {
    fn over(self, under: Self) -> Self {
        Self {
            name: self.name.or(under.name),
            language: self.language.or(under.language),
            partials: self.partials.or(under.partials),
            text: self.text.or(under.text),
            rate: self.rate.or(under.rate),
            width: self.width.or(under.width),
            channels: self.channels.or(under.channels),
        }
    }

    fn format(&self) -> Option<Format> {
        Some(Format {
            rate: self.rate?,
            width: self.width?,
            channels: self.channels?,
        })
    }
}

impl Event {
    /// Interpret the data of `frame`.
    ///
    /// # Errors
    /// A value is missing or has the wrong type.
    pub(super) fn of(frame: &Frame) -> Result<Self, Problem> {
        let data = || {
            let kind = &frame.kind;
            let wrong =
                |error| Problem::parameter(format!("the data of `{kind}` is wrong: {error}"));
            frame.data(Data::over).map_err(wrong)
        };
        let given = |value: Option<String>| value.filter(|value| !value.is_empty());
        Ok(match frame.kind.as_str() {
            "describe" => Self::Describe,
            "ping" => Self::Ping(data()?.text),
            "transcribe" => {
                let data = data()?;
                Self::Transcribe(Wish {
                    model: given(data.name),
                    language: given(data.language),
                    partials: data.partials.unwrap_or(false),
                })
            }
            "audio-start" => Self::AudioStart(data()?.format().ok_or_else(|| {
                Problem::parameter("`audio-start` must have `rate`, `width` and `channels`")
            })?),
            "audio-chunk" => Self::AudioChunk(data()?.format()),
            "audio-stop" => Self::AudioStop,
            _ => Self::Unknown,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::api::wyoming::frame::Frames;
    use crate::request::Code;

    fn event(bytes: &str) -> Result<Event, Problem> {
        let mut frames = Frames::default();
        frames.push(format!("{bytes}\n").as_bytes());
        Event::of(&frames.next().unwrap().unwrap())
    }

    #[test]
    fn values_are_taken_and_others_passed_over() {
        let wish = Wish {
            model: Some("m".into()),
            language: Some("en".into()),
            partials: false,
        };
        let transcribe = "{\"type\":\"transcribe\",\"data\":{\"name\":\"m\",\"language\":\"en\",\
                          \"context\":{\"a\":[1]},\"transcript_names\":[\"x\"],\"text\":null}}";
        assert_eq!(event(transcribe).unwrap(), Event::Transcribe(wish));
        let none = "{\"type\":\"transcribe\",\"data\":{\"name\":null,\"language\":\"\"}}";
        let none = event(none).unwrap();
        assert_eq!(none, Event::Transcribe(Wish::default()));
        let early = event("{\"type\":\"transcribe\",\"data\":{\"partials\":true}}").unwrap();
        assert!(matches!(
            early,
            Event::Transcribe(Wish { partials: true, .. })
        ));
        let start = "{\"type\":\"audio-start\",\
                     \"data\":{\"rate\":16000,\"width\":2,\"channels\":1,\"timestamp\":0}}";
        let Event::AudioStart(format) = event(start).unwrap() else {
            unreachable!();
        };
        let media_type = format.check().unwrap().media_type();
        assert_eq!(media_type, "audio/pcm;rate=16000;channels=1;encoding=s16le");
        let chunk = event("{\"type\":\"audio-chunk\"}").unwrap();
        assert_eq!(chunk, Event::AudioChunk(None));
        // An unknown event is accepted with any data.
        let unknown = event("{\"type\":\"played\",\"data\":{\"text\":5}}").unwrap();
        assert_eq!(unknown, Event::Unknown);
    }

    #[test]
    fn wrong_values_are_refused() {
        for wrong in [
            "{\"type\":\"audio-start\"}",
            "{\"type\":\"audio-start\",\"data\":{\"rate\":16000,\"width\":2}}",
            "{\"type\":\"audio-start\",\"data\":{\"rate\":-1,\"width\":2,\"channels\":1}}",
            "{\"type\":\"audio-start\",\"data\":{\"rate\":16000,\"width\":2,\"channels\":1e9}}",
            "{\"type\":\"audio-chunk\",\"data\":{\"rate\":99999999999,\"width\":2,\"channels\":1}}",
            "{\"type\":\"transcribe\",\"data\":{\"name\":[]}}",
            "{\"type\":\"ping\",\"data\":{\"text\":{}}}",
        ] {
            assert_eq!(
                event(wrong).unwrap_err().code,
                Code::InvalidParameter,
                "{wrong}"
            );
        }
    }

    #[test]
    fn only_samples_that_mean_one_thing_and_are_speech_are_known() {
        let check = |rate, width, channels| {
            let format = Format {
                rate,
                width,
                channels,
            };
            format.check().map_err(|problem| problem.code)
        };
        for width in [0, 1, 5, 8, u16::MAX] {
            assert_eq!(check(16_000, width, 1), Err(Code::InvalidParameter));
        }
        for rate in [0, 1, 1999, 384_001, u32::MAX] {
            assert_eq!(check(rate, 2, 1), Err(Code::InvalidParameter));
        }
        for channels in [0, 65, u16::MAX] {
            assert_eq!(check(16_000, 2, channels), Err(Code::InvalidParameter));
        }
        for (rate, width, channels) in [(2000, 2, 1), (384_000, 4, 64)] {
            assert!(check(rate, width, channels).is_ok());
        }
    }
}
