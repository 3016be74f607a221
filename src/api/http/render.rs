//! Renders a transcript in the format that the client asked for.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{
    asr,
    options::{Format, Granularities, Options, Task},
    parts::{described, logarithm, name_of, seconds, spoken},
};
use crate::{
    engine::EngineSettings,
    language::primary_language,
    transcript::{Lines, Segment, Transcript, between},
};

/// Media type of every answer that is not JSON. OpenAI's service sends subtitles with it, too, and
/// clients take any other type for JSON.
const TEXT: &str = "text/plain; charset=utf-8";

/// Format and details of the answer.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    task: Task,
    format: Format,
    granularities: Granularities,
    /// True if the answer gives a probability for each word.
    pub(super) logprobs: bool,
    /// Size of the cues of subtitles.
    lines: Lines,
    /// Code of the language of the text, if it is known.
    pub(super) language: Option<String>,
}

impl Shape {
    /// The answer that `options` ask for, from a model of this engine.
    pub(super) fn of(options: &Options, engine: &EngineSettings) -> Self {
        let known = match options.task {
            Task::Transcribe => options.ask.language.as_deref().or(engine.language()),
            Task::Translate => Some("en"),
        };
        Self {
            task: options.task,
            format: options.format(),
            granularities: options.granularities,
            logprobs: options.logprobs,
            lines: options.lines(),
            language: known.map(str::to_owned),
        }
    }

    /// Render the answer. `cost` is the object `stt`.
    pub(super) fn render(&self, transcript: &Transcript, cost: Value) -> Response {
        match self.format {
            Format::Json => {
                let logprobs = self.logprobs.then_some(Logprobs {
                    before: "",
                    segments: &transcript.segments,
                });
                Json(Plain {
                    text: transcript.text(),
                    languages: self.languages(transcript),
                    logprobs,
                    usage: usage(transcript.duration),
                })
                .into_response()
            }
            Format::Text => of_type(TEXT, format!("{}\n", transcript.text())),
            Format::Srt => of_type(TEXT, transcript.srt(self.lines)),
            Format::Vtt => of_type(TEXT, transcript.vtt(self.lines)),
            Format::Verbose => Json(self.verbose(transcript, cost)).into_response(),
            Format::Diarized => Json(Diarized {
                task: "transcribe",
                duration: seconds(transcript.duration),
                text: transcript.text(),
                segments: Spoken(&transcript.segments),
                usage: usage(transcript.duration),
                stt: cost,
            })
            .into_response(),
            Format::Lines => of_type(TEXT, asr::lines(transcript)),
            Format::Tsv => of_type(TEXT, asr::tsv(transcript)),
            Format::Whisper => {
                let words = self.granularities.words();
                Json(asr::Whisper::of(transcript, self.code(transcript), words)).into_response()
            }
            Format::Language => Json(asr::detected(self.code(transcript))).into_response(),
        }
    }

    /// The languages of the recording, as OpenAI's `gpt-transcribe` gives them: those that were
    /// found out, or the one that is known.
    fn languages<'a>(&'a self, transcript: &'a Transcript) -> Vec<Code<'a>> {
        codes(self.language.as_deref(), &transcript.languages)
    }

    /// Code of the language, if it is known or was found out.
    fn code<'a>(&'a self, transcript: &'a Transcript) -> Option<&'a str> {
        let known = self.language.as_deref();
        known.or(transcript.languages.first().map(String::as_str))
    }

    fn verbose<'a>(&self, transcript: &'a Transcript, cost: Value) -> Verbose<'a> {
        let language = self.code(transcript);
        let segments = transcript.segments.as_slice();
        Verbose {
            task: match self.task {
                Task::Transcribe => "transcribe",
                Task::Translate => "translate",
            },
            language: name_of(language),
            languages: &transcript.languages,
            duration: seconds(transcript.duration),
            text: transcript.text(),
            words: self.granularities.words().then_some(Words(segments)),
            segments: self.granularities.segments().then_some(Numbered(segments)),
            usage: usage(transcript.duration),
            stt: cost,
        }
    }

    /// The parts of a segment that the answer needs.
    pub(super) fn keep(&self, segment: Segment) -> Segment {
        match self.format {
            Format::Verbose | Format::Whisper => segment,
            Format::Json if self.logprobs => segment,
            // Cues are cut between words.
            Format::Srt | Format::Vtt => Segment {
                decoding: None,
                ..segment
            },
            Format::Json
            | Format::Text
            | Format::Diarized
            | Format::Lines
            | Format::Tsv
            | Format::Language => segment.bare(),
        }
    }

    /// True if each segment is told with its speaker.
    pub(super) fn has_speakers(&self) -> bool {
        self.format == Format::Diarized
    }
}

// Serialized directly: a tree of JSON values takes ten times the memory, which is hundreds of MiB
// for hours of speech.

/// Answer in the format `json`.
#[derive(Serialize)]
struct Plain<'a> {
    text: String,
    languages: Vec<Code<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Logprobs<'a>>,
    usage: Value,
}

/// A language in OpenAI's answers.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Code<'a> {
    code: &'a str,
}

/// The languages `heard` in a recording, or the `known` one if none was to be found out.
pub(super) fn codes<'a>(known: Option<&'a str>, heard: &'a [String]) -> Vec<Code<'a>> {
    let heard = heard.iter().map(String::as_str);
    let mut codes: Vec<_> = heard.map(|code| Code { code }).collect();
    if codes.is_empty() {
        codes.extend(known.map(primary_language).map(|code| Code { code }));
    }
    codes
}

/// Answer in the format `verbose_json`.
#[derive(Serialize)]
struct Verbose<'a> {
    task: &'static str,
    language: String,
    /// Codes of the languages that were found out.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    languages: &'a [String],
    duration: f64,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<Words<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<Numbered<'a>>,
    usage: Value,
    stt: Value,
}

/// Answer in the format `diarized_json`.
#[derive(Serialize)]
struct Diarized<'a> {
    task: &'static str,
    duration: f64,
    text: String,
    segments: Spoken<'a>,
    usage: Value,
    stt: Value,
}

/// Serializes these segments with their speakers.
struct Spoken<'a>(&'a [Segment]);

impl Serialize for Spoken<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbered = self.0.iter().enumerate();
        serializer.collect_seq(numbered.map(|(number, segment)| spoken(number, segment)))
    }
}

/// Serializes all words of these segments.
struct Words<'a>(&'a [Segment]);

impl Serialize for Words<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let words = self.0.iter().flat_map(|segment| &segment.words);
        serializer.collect_seq(words.map(|word| {
            let (start, end) = (seconds(word.start), seconds(word.end));
            json!({"word": word.text, "start": start, "end": end})
        }))
    }
}

/// Serializes these segments with their numbers.
struct Numbered<'a>(&'a [Segment]);

impl Serialize for Numbered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbered = self.0.iter().enumerate();
        serializer.collect_seq(numbered.map(|(id, segment)| described(id, segment)))
    }
}

/// Serializes the log probability of each word that has one. The words joined together are the
/// text.
#[derive(Clone, Copy)]
pub(super) struct Logprobs<'a> {
    /// Separator before the first word.
    pub(super) before: &'a str,
    pub(super) segments: &'a [Segment],
}

impl Serialize for Logprobs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut last = None;
        let tokens = self.segments.iter().flat_map(|segment| {
            let join = last.map_or(self.before, |last| between(last, &segment.text));
            last = Some(segment.text.as_str());
            let mut rest = segment.text.as_str();
            segment
                .words
                .iter()
                .enumerate()
                .filter_map(move |(n, word)| {
                    // Words of a script without spaces follow each other directly.
                    let found = rest.split_once(word.text.as_str());
                    let is_spaced = found.is_none_or(|(gap, _)| gap.contains(' '));
                    rest = found.map_or(rest, |(_, after)| after);
                    let before = match n {
                        0 => join,
                        _ if is_spaced => " ",
                        _ => "",
                    };
                    let token = format!("{before}{}", word.text);
                    let logprob = logarithm(word.confidence?);
                    Some(json!({"token": token, "logprob": logprob, "bytes": token.as_bytes()}))
                })
        });
        serializer.collect_seq(tokens)
    }
}

/// Usage as OpenAI counts it: seconds of audio, rounded up.
pub(super) fn usage(duration: Duration) -> Value {
    let started = u64::from(duration.subsec_nanos() > 0);
    json!({"type": "duration", "seconds": duration.as_secs().saturating_add(started)})
}

/// Usage in a stream's last event. There OpenAI's type counts tokens and knows no seconds, and some
/// clients refuse an event without them. No tokens are counted here: `stt` has the figures.
pub(super) fn no_tokens() -> Value {
    json!({"type": "tokens", "input_tokens": 0, "output_tokens": 0, "total_tokens": 0})
}

fn of_type(kind: &'static str, body: String) -> Response {
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static(kind))],
        body,
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_started_second_is_a_second() {
        for (milliseconds, seconds) in [(0, 0), (1, 1), (1000, 1), (2786, 3)] {
            let usage = usage(Duration::from_millis(milliseconds));
            assert_eq!(usage, json!({"type": "duration", "seconds": seconds}));
        }
    }
}
