//! Parses values of parameters from text.

use std::time::Duration;

use serde_json::Value;

use super::Format;
use crate::api::error::ApiError;

pub(super) fn format_of(name: &str, value: &str) -> Result<Format, ApiError> {
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

/// An ISO 639-1 code, optionally with a region.
pub(super) fn language(name: &str, value: &str) -> Result<String, ApiError> {
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
