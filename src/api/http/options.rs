//! The parameters of a transcription request: which there are, and what their values may be.

use std::time::Duration;

use serde_json::Value;

use super::error::ApiError;
use crate::dispatch::Lower;

/// Longest value of a parameter, in bytes. OpenAI's longest is the prompt, of a few hundred words.
pub(super) const MAX_VALUE: usize = 16 * 1024;

/// Shapes of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    /// `{"text": …, "usage": …}`
    #[default]
    Json,
    /// The bare text.
    Text,
    /// Subtitles, SubRip.
    Srt,
    /// Subtitles, WebVTT.
    Vtt,
    /// All that is known, as JSON.
    Verbose,
}

/// What is to be done with a recording: one page for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Task {
    /// Write what is said.
    #[default]
    Transcribe,
    /// Write it in English.
    Translate,
}

/// What a request says beside its recording. Values that ask for nothing (an empty prompt, `temperature=0`) are as good
/// as absent.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// What is to be done.
    pub(super) task: Task,
    /// Model by name or alias; `None` means the default one.
    pub(super) model: Option<String>,
    /// ISO 639-1 code.
    pub(super) language: Option<String>,
    /// What the answer shall look like.
    pub(super) format: Format,
    /// Whether the answer comes piece by piece.
    pub(super) stream: bool,
    /// Which parts of the transcript get times.
    pub(super) granularities: Granularities,
    /// Whether to tell how sure the model is of each word.
    pub(super) logprobs: bool,
    /// Text that leads up to the recording.
    pub(super) prompt: Option<String>,
    /// Words to be expected.
    pub(super) keywords: Vec<String>,
    /// How freely to choose among likely words; never 0.
    pub(super) temperature: Option<f32>,
    /// The only channel to listen to, counted from 0.
    pub(super) channel: Option<u16>,
    /// Whether what is no speech may reach the engine.
    pub(super) without_vad: bool,
    /// Limits that the client sets for this request.
    pub(super) lower: Lower,
    /// What was set so far.
    given: Vec<Field>,
}

/// `timestamp_granularities[]`; none means segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Granularities {
    words: bool,
    segments: bool,
}

impl Granularities {
    pub(super) fn words(self) -> bool {
        self.words
    }

    pub(super) fn segments(self) -> bool {
        self.segments || !self.words
    }
}

/// A parameter by whichever of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Model,
    Language,
    Languages,
    Prompt,
    Keywords,
    Format,
    Temperature,
    Granularities,
    Stream,
    Include,
    Chunking,
    ChunkingType,
    Channel,
    Vad,
    MemoryLimit,
    Deadline,
}

/// Every parameter by each of its names: clients write lists with and without brackets.
const NAMES: [(&str, Field); 20] = [
    ("model", Field::Model),
    ("language", Field::Language),
    ("languages", Field::Languages),
    ("languages[]", Field::Languages),
    ("prompt", Field::Prompt),
    ("keywords", Field::Keywords),
    ("keywords[]", Field::Keywords),
    ("response_format", Field::Format),
    ("temperature", Field::Temperature),
    ("timestamp_granularities", Field::Granularities),
    ("timestamp_granularities[]", Field::Granularities),
    ("stream", Field::Stream),
    ("include", Field::Include),
    ("include[]", Field::Include),
    ("chunking_strategy", Field::Chunking),
    ("chunking_strategy[type]", Field::ChunkingType),
    ("channel", Field::Channel),
    ("vad", Field::Vad),
    ("memory_limit", Field::MemoryLimit),
    ("deadline", Field::Deadline),
];

impl Field {
    fn of(name: &str, task: Task) -> Option<Self> {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known
            .map(|(_, field)| *field)
            .filter(|field| field.belongs_to(task))
    }

    /// Whether the page of this task takes it. A translation is in English and as a whole.
    fn belongs_to(self, task: Task) -> bool {
        let only_transcribing = matches!(
            self,
            Self::Language
                | Self::Languages
                | Self::Keywords
                | Self::Granularities
                | Self::Stream
                | Self::Include
                | Self::Chunking
                | Self::ChunkingType
        );
        task == Task::Transcribe || !only_transcribing
    }

    /// Whether each time that it is given adds something.
    fn is_list(self) -> bool {
        matches!(
            self,
            Self::Languages | Self::Keywords | Self::Granularities | Self::Include
        )
    }
}

impl Options {
    /// Nothing said yet.
    pub(super) fn of(task: Task) -> Self {
        Self {
            task,
            ..Self::default()
        }
    }

    /// The parameter with this name, which may be given now.
    pub(super) fn field(&self, name: &str) -> Result<Field, ApiError> {
        if name.starts_with("chunking_strategy[") && name != "chunking_strategy[type]" {
            return Err(fixed_detector(name));
        }
        let field = Field::of(name, self.task).ok_or_else(|| {
            let shown: String = name.chars().take(100).collect();
            let message = format!("the parameter `{shown}` is not supported");
            ApiError::parameter(&shown, message)
        })?;
        if self.given.contains(&field) && !field.is_list() {
            return Err(ApiError::given_twice(name));
        }
        Ok(field)
    }

    /// Take the value of `field`, which was called `name`.
    pub(super) fn set(&mut self, field: Field, name: &str, value: String) -> Result<(), ApiError> {
        let mistake = |what: String| ApiError::parameter(name, what);
        self.given.push(field);
        // Clients write out what they leave open as an empty value.
        if value.is_empty() {
            return Ok(());
        }
        match field {
            Field::Model => self.model = Some(value),
            Field::Language | Field::Languages => {
                let language = language(name, &value)?;
                if self.language.as_ref().is_some_and(|one| *one != language) {
                    let what = "no model here chooses among several languages; name one";
                    return Err(mistake(what.into()));
                }
                self.language = Some(language);
            }
            Field::Prompt => self.prompt = Some(value).filter(|text| !text.trim().is_empty()),
            Field::Keywords => {
                self.keywords.push(value);
                if self.keywords.iter().map(String::len).sum::<usize>() > MAX_VALUE {
                    return Err(mistake(format!(
                        "`keywords` are longer than {MAX_VALUE} bytes together"
                    )));
                }
            }
            Field::Format => self.format = format_of(name, &value)?,
            Field::Temperature => {
                let temperature: f32 = (value.parse().ok())
                    .filter(|number| (0.0..=1.0).contains(number))
                    .ok_or_else(|| mistake("`temperature` must be a number from 0 to 1".into()))?;
                self.temperature = Some(temperature).filter(|number| *number > 0.0);
            }
            Field::Granularities => match value.as_str() {
                "word" => self.granularities.words = true,
                "segment" => self.granularities.segments = true,
                _ => return Err(mistake("times are given by `word` or `segment`".into())),
            },
            Field::Stream => self.stream = boolean(name, &value)?,
            Field::Include => match value.as_str() {
                "logprobs" => self.logprobs = true,
                _ => return Err(mistake("nothing but `logprobs` can be included".into())),
            },
            Field::Chunking => chunking(name, &value)?,
            Field::ChunkingType => detector(name, &value)?,
            Field::Channel => {
                let what = "`channel` must be the number of a channel, the first being 0";
                self.channel = Some(value.parse().map_err(|_| mistake(what.into()))?);
            }
            Field::Vad => self.without_vad = !boolean(name, &value)?,
            Field::MemoryLimit => self.lower.memory = Some(value.parse().map_err(mistake)?),
            Field::Deadline => self.lower.deadline = Some(time(name, &value)?),
        }
        Ok(())
    }

    /// Everything was said: does it fit together?
    pub(super) fn finish(self) -> Result<Self, ApiError> {
        if self.granularities != Granularities::default() && self.format != Format::Verbose {
            let message = "only `response_format=verbose_json` has times";
            return Err(ApiError::parameter("timestamp_granularities", message));
        }
        if self.logprobs && self.format != Format::Json {
            let message = "only `response_format=json` has logprobs";
            return Err(ApiError::parameter("include", message));
        }
        if self.stream && !matches!(self.format, Format::Json | Format::Text) {
            let message = "a stream of events has no other `response_format` than json";
            return Err(ApiError::parameter("stream", message));
        }
        Ok(self)
    }
}

fn format_of(name: &str, value: &str) -> Result<Format, ApiError> {
    Ok(match value {
        "json" => Format::Json,
        "text" => Format::Text,
        "srt" => Format::Srt,
        "vtt" => Format::Vtt,
        "verbose_json" => Format::Verbose,
        other => {
            let shown: String = other.chars().take(100).collect();
            let message = format!(
                "the format `{shown}` is not supported; use json, text, srt, vtt or verbose_json"
            );
            return Err(ApiError::parameter(name, message));
        }
    })
}

fn boolean(name: &str, value: &str) -> Result<bool, ApiError> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => {
            let message = format!("`{name}` must be true or false");
            Err(ApiError::parameter(name, message))
        }
    }
}

/// `auto`, or an object in JSON. Recordings are always cut at their pauses, so both mean what is done anyhow.
fn chunking(name: &str, value: &str) -> Result<(), ApiError> {
    if value == "auto" {
        return Ok(());
    }
    let Ok(Value::Object(object)) = serde_json::from_str(value) else {
        let message = "`chunking_strategy` must be auto or {\"type\": \"server_vad\"}";
        return Err(ApiError::parameter(name, message));
    };
    if let Some(key) = object.keys().find(|key| *key != "type") {
        let shown: String = key.chars().take(100).collect();
        return Err(fixed_detector(&format!("{name}[{shown}]")));
    }
    let kind = object.get("type").and_then(Value::as_str);
    detector(name, kind.unwrap_or_default())
}

fn detector(name: &str, kind: &str) -> Result<(), ApiError> {
    match kind {
        "server_vad" => Ok(()),
        _ => {
            let message = "the only type of `chunking_strategy` is server_vad";
            Err(ApiError::parameter(name, message))
        }
    }
}

fn fixed_detector(name: &str) -> ApiError {
    let shown: String = name.chars().take(100).collect();
    let message = "the voice detector cannot be adjusted; leave `chunking_strategy` at auto";
    ApiError::parameter(&shown, message)
}

/// A time as in the configuration, or a bare number of seconds.
fn time(name: &str, value: &str) -> Result<Duration, ApiError> {
    let seconds = value
        .parse()
        .ok()
        .and_then(|s| Duration::try_from_secs_f64(s).ok());
    let time = seconds.or_else(|| humantime::parse_duration(value).ok());
    time.filter(|time| !time.is_zero()).ok_or_else(|| {
        let message = format!("`{name}` must be a number of seconds or a time such as `90s`");
        ApiError::parameter(name, message)
    })
}

/// An ISO 639-1 code, optionally with a region.
fn language(name: &str, value: &str) -> Result<String, ApiError> {
    let (primary, region) = value.split_once(['-', '_']).unwrap_or((value, "US"));
    let alphabetic = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric());
    if !(2..=3).contains(&primary.len())
        || !alphabetic(primary)
        || region.len() > 8
        || !alphabetic(region)
    {
        let message = format!("`{name}` must be an ISO 639-1 code such as `en`");
        return Err(ApiError::parameter(name, message));
    }
    Ok(value.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Result<Options, ApiError> {
        let mut options = Options::default();
        for (name, value) in pairs {
            options.set(options.field(name)?, name, (*value).into())?;
        }
        options.finish()
    }

    #[test]
    fn every_parameter_of_openai_is_known_and_asks_for_nothing_when_it_is_empty() {
        let names = [
            "model",
            "language",
            "languages[]",
            "prompt",
            "keywords[]",
            "response_format",
            "temperature",
            "timestamp_granularities[]",
            "stream",
            "include[]",
            "chunking_strategy",
        ];
        let options = options(&names.map(|name| (name, ""))).unwrap();
        assert_eq!(options.format, Format::Json);
        assert!(!options.stream && options.granularities.segments());
        assert_eq!(options.temperature, None);
    }

    #[test]
    fn a_translation_has_no_language() {
        let options = Options::of(Task::Translate);
        for name in [
            "prompt",
            "response_format",
            "temperature",
            "model",
            "channel",
        ] {
            assert!(options.field(name).is_ok(), "{name}");
        }
        for name in [
            "language",
            "stream",
            "timestamp_granularities[]",
            "include[]",
        ] {
            assert!(options.field(name).is_err(), "{name}");
        }
    }

    #[test]
    fn lists_grow_with_and_without_brackets() {
        let options = options(&[
            ("response_format", "verbose_json"),
            ("timestamp_granularities[]", "word"),
            ("timestamp_granularities", "segment"),
            ("keywords[]", "cgroup"),
            ("keywords", "zygote"),
        ])
        .unwrap();
        assert!(options.granularities.words() && options.granularities.segments());
        assert_eq!(options.keywords, ["cgroup", "zygote"]);
    }

    #[test]
    fn what_is_impossible_is_refused() {
        for (name, value) in [
            ("temperature", "1.1"),
            ("temperature", "NaN"),
            ("stream", "yes"),
            ("timestamp_granularities[]", "letter"),
            ("include[]", "everything"),
            ("chunking_strategy", "server_vad"),
            ("chunking_strategy", "[]"),
            (
                "chunking_strategy",
                r#"{"type":"server_vad","threshold":0.5}"#,
            ),
            ("chunking_strategy[threshold]", "0.5"),
            ("channel", "-1"),
            ("known_speaker_names[]", "Ann"),
        ] {
            assert!(options(&[(name, value)]).is_err(), "{name}={value}");
        }
        for value in ["auto", r#"{"type": "server_vad"}"#] {
            assert!(options(&[("chunking_strategy", value)]).is_ok(), "{value}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for pairs in [
            [("stream", "true"), ("response_format", "srt")],
            [
                ("timestamp_granularities", "word"),
                ("response_format", "json"),
            ],
            [("include[]", "logprobs"), ("response_format", "text")],
            [("language", "en"), ("languages[]", "fr")],
            [("model", "a"), ("model", "b")],
        ] {
            assert!(options(&pairs).is_err(), "{pairs:?}");
        }
        assert!(options(&[("language", "en"), ("languages[]", "en")]).is_ok());
    }
}
