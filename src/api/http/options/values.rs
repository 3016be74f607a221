//! Parses values of parameters from text.

use std::time::Duration;

use serde_json::Value;

use super::{Format, Page, Task};
use crate::api::error::ApiError;

pub(super) fn format_of(name: &str, value: &str) -> Result<Format, ApiError> {
    Ok(match value {
        "json" => Format::Json,
        "text" => Format::Text,
        "srt" => Format::Srt,
        "vtt" => Format::Vtt,
        "verbose_json" => Format::Verbose,
        "diarized_json" => Format::Diarized,
        other => {
            let shown: String = other.chars().take(100).collect();
            let message = format!(
                "the format `{shown}` is not supported; use json, text, srt, vtt, verbose_json or \
                 diarized_json"
            );
            return Err(ApiError::parameter(name, message));
        }
    })
}

pub(super) fn boolean(name: &str, value: &str) -> Result<bool, ApiError> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => {
            let message = format!("`{name}` must be true or false");
            Err(ApiError::parameter(name, message))
        }
    }
}

/// Accepts `auto` or an object in JSON. Both are ignored, because recordings are always cut at
/// their pauses.
pub(super) fn chunking(name: &str, value: &str) -> Result<(), ApiError> {
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

pub(super) fn detector(name: &str, kind: &str) -> Result<(), ApiError> {
    match kind {
        "server_vad" => Ok(()),
        _ => {
            let message = "the only type of `chunking_strategy` is server_vad";
            Err(ApiError::parameter(name, message))
        }
    }
}

pub(super) fn fixed_detector(name: &str) -> ApiError {
    let shown: String = name.chars().take(100).collect();
    let message = "the voice detector cannot be adjusted; leave `chunking_strategy` at auto";
    ApiError::parameter(&shown, message)
}

/// The size of a cue: a whole number from 1 to 1000.
pub(super) fn size(name: &str, value: &str) -> Result<u16, ApiError> {
    let number = value.parse().ok().filter(|size| (1..=1000).contains(size));
    number.ok_or_else(|| {
        let message = format!("`{name}` must be a whole number from 1 to 1000");
        ApiError::parameter(name, message)
    })
}

/// A time as in the configuration, or a plain number of seconds.
pub(super) fn time(name: &str, value: &str) -> Result<Duration, ApiError> {
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

/// The tag of a language that is written as a code, a tag, a locale or an English name; `None` for
/// `auto`, which leaves the language open.
pub(super) fn language(name: &str, value: &str) -> Result<Option<String>, ApiError> {
    if value.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    let tag = crate::language::tag(value).ok_or_else(|| {
        let message = format!("`{name}` must be a language's code such as `en`, or its name");
        ApiError::parameter(name, message)
    })?;
    Ok(Some(tag))
}

/// Meaning of a comma in a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Commas {
    /// It separates two values.
    Separate,
    /// It belongs to the value.
    Belong,
}

/// The values of a list that is in one field: an array in JSON, values with commas, or one value.
pub(super) fn list(value: &str, commas: Commas) -> Vec<String> {
    if value.trim_start().starts_with('[')
        && let Ok(values) = serde_json::from_str(value)
    {
        return values;
    }
    match commas {
        Commas::Belong => vec![value.to_owned()],
        Commas::Separate => {
            let values = value.split(',').map(str::trim);
            let values = values.filter(|value| !value.is_empty());
            values.map(str::to_owned).collect()
        }
    }
}

/// The format in the words of whisper-asr-webservice.
pub(super) fn output(name: &str, value: &str, page: Page) -> Result<Format, ApiError> {
    match (value, page) {
        ("txt", Page::Asr) => Ok(Format::Lines),
        ("json", Page::Asr) => Ok(Format::Whisper),
        ("tsv", Page::Asr) => Ok(Format::Tsv),
        ("srt" | "vtt", _) | ("json" | "verbose_json", Page::Transcriptions) => {
            format_of(name, value)
        }
        ("txt", _) => Ok(Format::Text),
        _ => {
            let message = match page {
                Page::Asr => "`output` must be txt, json, srt, vtt or tsv",
                _ => "`output` must be txt, json, srt or vtt",
            };
            Err(ApiError::parameter(name, message))
        }
    }
}

/// The task. OpenAI's pages have one each, and accept its name.
pub(super) fn task(name: &str, value: &str, page: Page) -> Result<Task, ApiError> {
    match (value, page) {
        ("transcribe", Page::Transcriptions | Page::Asr) => Ok(Task::Transcribe),
        ("translate", Page::Translations | Page::Asr) => Ok(Task::Translate),
        ("translate", _) => {
            let message = "this page transcribes; /v1/audio/translations translates into English";
            Err(ApiError::parameter(name, message))
        }
        _ => {
            let message = "`task` must be transcribe (/v1/audio/transcriptions) or translate \
                           (/v1/audio/translations)";
            Err(ApiError::parameter(name, message))
        }
    }
}

/// Whether the recording comes as samples without a header. OpenAI's pages take it in a file.
pub(super) fn raw(name: &str, value: &str, page: Page) -> Result<bool, ApiError> {
    let is_raw = !boolean(name, value)?;
    if is_raw && matches!(page, Page::Transcriptions | Page::Translations) {
        let message = "raw samples are announced by their media type, such as \
                       `audio/pcm;rate=16000`, not by `encode=false`";
        return Err(ApiError::parameter(name, message));
    }
    Ok(is_raw)
}

/// Whether words get times. OpenAI's pages have another parameter for it.
pub(super) fn word_times(name: &str, value: &str, page: Page) -> Result<bool, ApiError> {
    let wanted = boolean(name, value)?;
    if wanted && page != Page::Asr {
        let message = "words get times by `response_format=verbose_json` with \
                       `timestamp_granularities[]=word`";
        return Err(ApiError::parameter(name, message));
    }
    Ok(wanted)
}
