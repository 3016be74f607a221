//! Events from a client, as far as their form goes.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;

use super::settings::Dialect;
use crate::api::error::ApiError;

/// Most bytes of a client's name for its event that an error repeats.
const MAX_ID: usize = 512;

/// An event from a client.
#[derive(Debug, PartialEq)]
pub(super) enum ClientEvent {
    /// Change the session.
    Update(Dialect, Value),
    /// The next bytes of audio.
    Append(Vec<u8>),
    /// The audio until now is a turn.
    Commit,
    /// Forget the audio that is no turn yet.
    Clear,
}

/// The fields of all events.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    event_id: Option<Value>,
    #[serde(borrow)]
    audio: Option<Cow<'a, str>>,
    session: Option<Value>,
}

/// The event in `text`, and its id if it has one.
pub(super) fn parse(text: &str) -> (Option<String>, Result<ClientEvent, ApiError>) {
    // Otherwise a list would be taken for the fields in their order.
    if !text.trim_ascii_start().starts_with('{') {
        let message = "this is no event: it must be a JSON object";
        return (None, Err(ApiError::parameter("type", message)));
    }
    let fields: Fields<'_> = match serde_json::from_str(text) {
        Ok(fields) => fields,
        Err(error) => {
            let message = format!("this is no event: {error}");
            return (None, Err(ApiError::parameter("type", message)));
        }
    };
    let id = match &fields.event_id {
        Some(Value::String(id)) => Some(id.chars().take(MAX_ID).collect()),
        _ => None,
    };
    (id, event(fields))
}

fn event(fields: Fields<'_>) -> Result<ClientEvent, ApiError> {
    let Some(kind) = fields.kind else {
        return Err(ApiError::parameter("type", "the event has no `type`"));
    };
    let session = || {
        let missing = || ApiError::parameter("session", "the event has no `session`");
        fields.session.ok_or_else(missing)
    };
    match &*kind {
        "session.update" => Ok(ClientEvent::Update(Dialect::Current, session()?)),
        "transcription_session.update" => Ok(ClientEvent::Update(Dialect::Beta, session()?)),
        "input_audio_buffer.append" => {
            let missing = || ApiError::parameter("audio", "the event has no `audio`");
            let audio = fields.audio.ok_or_else(missing)?;
            let bytes = STANDARD.decode(audio.as_bytes()).map_err(|error| {
                let message = format!("`audio` is no base64, and was passed over: {error}");
                ApiError::parameter("audio", message)
            })?;
            Ok(ClientEvent::Append(bytes))
        }
        "input_audio_buffer.commit" => Ok(ClientEvent::Commit),
        "input_audio_buffer.clear" => Ok(ClientEvent::Clear),
        other => {
            let shown: String = other.chars().take(100).collect();
            let message = format!(
                "the event `{shown}` is not known in a session that transcribes; known are session.update, \
                 transcription_session.update, and append, commit and clear of input_audio_buffer"
            );
            Err(ApiError::parameter("type", message))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_base64_and_nothing_else() {
        let append = |audio: &str| {
            let text = format!(r#"{{"type":"input_audio_buffer.append","audio":"{audio}"}}"#);
            parse(&text).1
        };
        assert_eq!(append("AAEC").unwrap(), ClientEvent::Append(vec![0, 1, 2]));
        assert_eq!(append("").unwrap(), ClientEvent::Append(vec![]));
        for wrong in [
            "A",
            "AAE",
            "AA==AA==",
            "data:audio/wav;base64,AAEC",
            "AA EC",
            "-_-_",
        ] {
            assert!(append(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_fault_is_told_with_the_id_of_its_event() {
        for (text, has_id) in [
            ("", false),
            ("[]", false),
            ("{}", false),
            ("null", false),
            (r#"["input_audio_buffer.commit", null, null, null]"#, false),
            ("{\"type\": 1}", false),
            (r#"{"type":"response.create","event_id":"e1"}"#, true),
            (r#"{"type":"session.update","event_id":"e1"}"#, true),
            (
                r#"{"type":"input_audio_buffer.append","event_id":"e1"}"#,
                true,
            ),
            (r#"{"type":"input_audio_buffer.commit"} x"#, false),
        ] {
            let (id, event) = parse(text);
            assert!(event.is_err(), "{text}");
            assert_eq!(id.is_some(), has_id, "{text}");
        }
        let long = format!(r#"{{"type":"x","event_id":"{}"}}"#, "a".repeat(10_000));
        assert_eq!(parse(&long).0.unwrap().len(), MAX_ID);
    }
}
