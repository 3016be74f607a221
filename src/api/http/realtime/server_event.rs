//! Events to a client, with the fields that OpenAI's types have.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    super::{
        cost::figures,
        render::{Logprobs, codes, usage},
    },
    settings::Dialect,
};
use crate::{api::error::ApiError, dispatch::Report, transcript::Transcript};

/// A new id that begins with `prefix`.
pub(super) fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::new_v4().simple())
}

/// The event `kind` with these fields.
pub(super) fn event(kind: &str, fields: Value) -> Value {
    let mut event = json!({"type": kind, "event_id": new_id("event")});
    if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
        event.extend(fields);
    }
    event
}

/// An error that does not end the session. `about` is the id of the client's event.
pub(super) fn error(error: &ApiError, about: Option<&str>) -> Value {
    let mut body = error.body()["error"].take();
    body["event_id"] = about.into();
    event("error", json!({"error": body}))
}

/// The events by which some audio becomes the item `id` of the conversation, after the item
/// `previous`.
pub(super) fn committed(dialect: Dialect, id: &str, previous: Option<&str>) -> Vec<Value> {
    let kinds: &[&str] = match dialect {
        Dialect::Current => &["conversation.item.added", "conversation.item.done"],
        Dialect::Beta => &["conversation.item.created"],
    };
    let item = json!({
        "id": id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": null}],
    });
    let committed = json!({"item_id": id, "previous_item_id": previous});
    let becomes = json!({"previous_item_id": previous, "item": item});
    let items = kinds.iter().map(|kind| event(kind, becomes.clone()));
    let first = event("input_audio_buffer.committed", committed);
    [first].into_iter().chain(items).collect()
}

/// More of the text of the item `id`. Never taken back.
pub(super) fn delta(id: &str, text: &str, logprobs: Option<Logprobs<'_>>) -> Value {
    let mut fields = json!({"item_id": id, "content_index": 0, "delta": text});
    if let Some(logprobs) = logprobs {
        fields["logprobs"] = json!(logprobs);
    }
    event("conversation.item.input_audio_transcription.delta", fields)
}

/// The whole text of the item `id`. `known` is its language if that need not be found out.
/// `stt` is the cost of its job.
pub(super) fn completed(
    id: &str,
    transcript: &Transcript,
    known: Option<&str>,
    with_logprobs: bool,
    stt: Value,
) -> Value {
    let mut fields = json!({
        "item_id": id,
        "content_index": 0,
        "transcript": transcript.text(),
        "usage": usage(transcript.duration),
        "languages": codes(known, &transcript.languages),
        "stt": stt,
    });
    if with_logprobs {
        let segments = &transcript.segments;
        fields["logprobs"] = json!(Logprobs {
            before: "",
            segments
        });
    }
    event(
        "conversation.item.input_audio_transcription.completed",
        fields,
    )
}

/// The item `id` has no text: its job failed, with this cost, or there was none.
pub(super) fn failed(id: &str, error: &ApiError, report: Option<&Report>) -> Value {
    let mut fields = json!({
        "item_id": id,
        "content_index": 0,
        "error": error.body()["error"].take(),
    });
    if let Some(report) = report {
        fields["stt"] = figures(report);
    }
    event("conversation.item.input_audio_transcription.failed", fields)
}
