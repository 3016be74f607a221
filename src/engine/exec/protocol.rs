//! Messages between the engine `exec` and its program: one line of JSON each. docs/ENGINES.md
//! describes them for authors of programs. A program's messages are hostile until they were checked
//! here. The supervisor checks them once more.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    engine::SAMPLE_RATE,
    language::is_language_code,
    request::{Ask, FindSpeakers, Speakers},
    transcript::{Decoding, Segment, Word, is_name},
};

/// Longest line, in bytes. Its contents go to the supervisor as one message of at most 64 KiB,
/// which is never longer than the JSON that it comes from.
pub(super) const MAX_LINE: usize = 60 * 1024;

/// How far beyond the end of the recording a segment may end, because of rounding and padded
/// frames. It is cut then.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Characters of a program's text that are repeated in a message.
const MAX_QUOTE: usize = 200;

/// The request as the program reads it.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    language: Option<&'a str>,
    prompt: Option<&'a str>,
    keywords: &'a [String],
    temperature: Option<f32>,
    translate: bool,
    /// True if the client can use words before they are final.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partials: bool,
    /// True if segments should say who speaks.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    speakers: bool,
    audio: Audio<'a>,
}

/// The data on descriptor 3.
#[derive(Debug, Serialize)]
#[serde(tag = "format")]
pub(super) enum Audio<'a> {
    #[serde(rename = "s16le")]
    Samples { rate: u32, channels: u32 },
    #[serde(rename = "original")]
    Original {
        extension: Option<&'a str>,
        media_type: Option<&'a str>,
    },
}

impl Audio<'_> {
    /// 16 bits each, low byte first.
    pub(super) const SAMPLES: Self = Self::Samples {
        rate: SAMPLE_RATE,
        channels: 1,
    };
}

impl<'a> Request<'a> {
    /// The line that makes this request.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub(super) fn line(options: &'a Ask, audio: Audio<'a>) -> serde_json::Result<Vec<u8>> {
        let request = Self {
            language: options.language.as_deref(),
            prompt: options.prompt.as_deref(),
            keywords: &options.keywords,
            temperature: options.temperature,
            translate: options.translate,
            partials: options.partials,
            speakers: matches!(
                options.speakers,
                Some(Speakers::Find(FindSpeakers { by_model: true, .. }))
            ),
            audio,
        };
        let mut line = serde_json::to_vec(&request)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// A line of the program.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    /// It can take its request.
    Ready(Ready),
    /// A piece of the transcript, final.
    Segment(Piece),
    /// Words after the last segment, and after what was committed since then, as they are heard
    /// now. They may still change.
    Partial(String),
    /// Words that the next segment begins with, after those that were committed before.
    Committed(String),
    /// This many seconds of audio were heard. Also a sign that the program is at work.
    Progress(f64),
    /// The last message: all segments were sent.
    Done(Done),
    /// The last message: the recording cannot be transcribed.
    Failed(Failed),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ready {
    pub(super) audio: Wish,
}

/// The data that the program wants on descriptor 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Wish {
    #[default]
    Pcm,
    Original,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Done {
    pub(super) language: Option<String>,
    /// Seconds; for programs that decode the recording themselves.
    pub(super) duration: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failed {
    pub(super) kind: Kind,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    InvalidAudio,
    Engine,
}

/// A segment with times in seconds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Piece {
    text: String,
    start: f64,
    end: f64,
    #[serde(default)]
    words: Vec<PieceWord>,
    #[serde(default)]
    decoding: Option<PieceDecoding>,
    #[serde(default)]
    speaker: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PieceWord {
    text: String,
    start: f64,
    end: f64,
    #[serde(default)]
    confidence: Option<f32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PieceDecoding {
    seek: f64,
    tokens: Vec<u32>,
    temperature: f32,
    avg_logprob: f32,
    compression_ratio: f32,
    no_speech_prob: f32,
}

impl Default for PieceDecoding {
    fn default() -> Self {
        Self {
            seek: 0.0,
            tokens: Vec::new(),
            temperature: 0.0,
            avg_logprob: 0.0,
            compression_ratio: 1.0,
            no_speech_prob: 0.0,
        }
    }
}

/// Parse one line, without its end.
///
/// # Errors
/// The mistake, in words for the program's author.
pub(super) fn parse(line: &[u8]) -> Result<Answer, String> {
    let text = std::str::from_utf8(line).map_err(|_| "a line of its stdout is no UTF-8")?;
    serde_json::from_str(text).map_err(|error| {
        format!(
            "a line of its stdout is no answer ({}): `{}`",
            // It repeats names from the line.
            quote(&error.to_string()),
            quote(text)
        )
    })
}

/// A program's text for use in a message: shortened, and without control characters.
pub(super) fn quote(text: &str) -> String {
    let clean = text.chars().filter(|c| !c.is_control());
    clean.take(MAX_QUOTE).collect()
}

/// A time in seconds, from a program.
///
/// # Errors
/// It is not a length of time.
pub(super) fn seconds(seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{seconds} s is no time"))
}

/// A language code, from a program.
///
/// # Errors
/// It is not a language code.
pub(super) fn language(code: String) -> Result<String, String> {
    if is_language_code(&code) {
        return Ok(code);
    }
    Err(format!(
        "`{}` is no ISO 639 code of a language",
        quote(&code)
    ))
}

impl Piece {
    /// Check the segment and convert it; `None` if its text is empty. It must not start before
    /// `earliest`, nor end after `heard`, the length of the recording as it is known so far.
    ///
    /// # Errors
    /// The mistake in it.
    pub(super) fn check(
        self,
        earliest: Duration,
        heard: Option<Duration>,
    ) -> Result<Option<Segment>, String> {
        let times = |start: f64, end: f64| -> Result<(Duration, Duration), String> {
            let (start, end) = (seconds(start)?, seconds(end)?);
            if end < start {
                return Err("a segment or word ends before it starts".into());
            }
            let Some(heard) = heard else {
                return Ok((start, end));
            };
            if end > heard + TOLERANCE {
                let (end, heard) = (end.as_secs_f64(), heard.as_secs_f64());
                return Err(format!(
                    "a segment or word ends at {end:.2} s, and only {heard:.2} s of audio were given to it"
                ));
            }
            Ok((start.min(heard), end.min(heard)))
        };
        let (start, end) = times(self.start, self.end)?;
        if start < earliest {
            return Err("a segment starts before the one before it".into());
        }
        let mut words = Vec::with_capacity(self.words.len());
        for word in self.words {
            let (start, end) = times(word.start, word.end)?;
            let text = word.text.trim();
            if !text.is_empty() {
                words.push(Word {
                    text: text.into(),
                    start,
                    end,
                    confidence: word.confidence,
                });
            }
        }
        let decoding = match self.decoding {
            Some(told) => Some(Decoding {
                seek: seconds(told.seek)?,
                tokens: told.tokens,
                temperature: told.temperature,
                avg_logprob: told.avg_logprob,
                compression_ratio: told.compression_ratio,
                no_speech_prob: told.no_speech_prob,
            }),
            None => None,
        };
        let speaker = self.speaker.map(|name| name.trim().to_owned());
        let speaker = speaker.filter(|name| !name.is_empty());
        if let Some(name) = speaker.as_deref().filter(|name| !is_name(name)) {
            let name = quote(name);
            return Err(format!(
                "`{name}` is too long for a speaker's name, or no text"
            ));
        }
        let text = self.text.trim();
        Ok((!text.is_empty()).then(|| Segment {
            text: text.into(),
            start,
            end,
            words,
            decoding,
            speaker,
        }))
    }
}
