//! One journal entry about a request. Its contents are untrusted: numbers are checked, text is cut
//! and cleaned.

use serde::{Deserialize, Deserializer, de};

use stt_isolated::request::{Code, Group};

use crate::text::Text;

/// The requested fields of an entry.
pub const FIELDS: [&str; 14] = [
    "MESSAGE",
    "MESSAGE_ID",
    "_HOSTNAME",
    "STT_ANON_BYTES",
    "STT_AUDIO_MS",
    "STT_LIMIT_BYTES",
    "STT_MODE",
    "STT_MODEL",
    "STT_OUTCOME",
    "STT_PEAK_BYTES",
    "STT_QUEUE_MS",
    "STT_REQUEST_ID",
    "STT_START_ANON_BYTES",
    "STT_WALL_MS",
];

/// Longest name of a model or a host, in characters.
const MAX_NAME: usize = 64;

/// Longest message, in characters.
const MAX_MESSAGE: usize = 300;

/// End of the accepted times: the year 10,000, in seconds since 1970.
const END_OF_TIME: u64 = 253_402_300_800;

/// A request as its entry describes it. Sizes in bytes, times in milliseconds; `None` if unknown.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Kind of the entry (`MESSAGE_ID`).
    pub kind: String,
    /// Time of the entry, which is the end of the request, in microseconds since 1970.
    pub time: u64,
    /// Message of the entry.
    pub message: Text,
    /// Host that wrote the entry.
    pub host: Text,
    /// Name of the model.
    pub model: Text,
    /// Request id, as in the answer's header.
    pub request: Text,
    /// Kind of outcome, for grouping.
    pub outcome: Group,
    /// The service's own word for the outcome.
    pub word: Text,
    /// Length of the recording, up to the point that was read.
    pub audio: Option<u64>,
    /// Time from the job's assignment to the end of the request.
    pub wall: Option<u64>,
    /// Time until the request had a job.
    pub queue: Option<u64>,
    /// Highest memory use of the job.
    pub peak: Option<u64>,
    /// Memory limit of the job; `None` without a cgroup.
    pub limit: Option<u64>,
    /// Increase of the job's anonymous memory during the request; `None` if the job died before it
    /// was measured.
    pub leak: Option<u64>,
}

impl Entry {
    /// True if the request had a job.
    pub fn is_served(&self) -> bool {
        self.wall.is_some()
    }
}

/// An entry as journalctl writes it, where numbers are text.
#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    time: Field,
    #[serde(rename = "MESSAGE_ID", default)]
    kind: Field,
    #[serde(rename = "MESSAGE", default)]
    message: Field,
    #[serde(rename = "_HOSTNAME", default)]
    host: Field,
    #[serde(rename = "STT_MODEL", default)]
    model: Field,
    #[serde(rename = "STT_MODE", default)]
    mode: Field,
    #[serde(rename = "STT_REQUEST_ID", default)]
    request: Field,
    #[serde(rename = "STT_OUTCOME", default)]
    outcome: Field,
    #[serde(rename = "STT_AUDIO_MS", default)]
    audio: Field,
    #[serde(rename = "STT_WALL_MS", default)]
    wall: Field,
    #[serde(rename = "STT_QUEUE_MS", default)]
    queue: Field,
    #[serde(rename = "STT_PEAK_BYTES", default)]
    peak: Field,
    #[serde(rename = "STT_LIMIT_BYTES", default)]
    limit: Field,
    #[serde(rename = "STT_ANON_BYTES", default)]
    anonymous: Field,
    #[serde(rename = "STT_START_ANON_BYTES", default)]
    before: Field,
}

/// Value of a field: text, or bytes if it is not clean text. If the field occurs several times, the
/// first value counts. A value that is too long is null.
#[derive(Default)]
struct Field(Option<String>);

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Field;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the value of a journal's field")
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field(Some(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field(None))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Field, A::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Item {
            Byte(u8),
            Other(Option<String>),
            Bytes(Vec<u8>),
        }
        let mut bytes = Vec::new();
        let mut first = None;
        while let Some(item) = seq.next_element()? {
            match item {
                Item::Byte(byte) => bytes.push(byte),
                Item::Other(text) => first = first.or(text),
                Item::Bytes(bytes) => {
                    first = first.or(Some(String::from_utf8_lossy(&bytes).into_owned()));
                }
            }
        }
        let bytes = || String::from_utf8_lossy(&bytes).into_owned();
        Ok(Field(first.or_else(|| (!bytes().is_empty()).then(bytes))))
    }
}

impl Field {
    fn number(&self) -> Option<u64> {
        self.0.as_ref()?.parse().ok()
    }

    /// The text, cut to `most` characters.
    fn text(self, most: usize) -> Text {
        match self.0 {
            Some(text) if !text.is_empty() => {
                Text::from(text.chars().take(most).collect::<String>())
            }
            _ => Text::default(),
        }
    }
}

/// Parses a line; `None` if it is not an entry about a request.
pub fn parse(line: &[u8]) -> Option<Entry> {
    let raw: Raw = serde_json::from_slice(line).ok()?;
    let time = raw.time.number()?;
    if time / 1_000_000 >= END_OF_TIME {
        return None;
    }
    let word = raw.outcome.text(MAX_NAME);
    // A word that is not known yet counts as a failure.
    let outcome = Code::of(word.as_ref()).map_or(Group::Failed, Code::group);
    // In mode `thread` a request has no memory of its own.
    let is_measured = raw.wall.number().is_some() && raw.mode.0.as_deref() != Some("thread");
    let lived = matches!(outcome, Group::Ok | Group::Recording) || word.as_ref() == "engine_failed";
    let leak = match (raw.anonymous.number(), raw.before.number()) {
        (Some(end), Some(start)) if lived && is_measured => Some(end.saturating_sub(start)),
        _ => None,
    };
    let measured = |field: Field| field.number().filter(|bytes| is_measured && *bytes > 0);
    Some(Entry {
        kind: raw.kind.0.unwrap_or_default(),
        time,
        message: raw.message.text(MAX_MESSAGE),
        host: raw.host.text(MAX_NAME),
        model: raw.model.text(MAX_NAME),
        request: raw.request.text(MAX_NAME),
        outcome,
        word,
        audio: raw.audio.number(),
        wall: raw.wall.number(),
        queue: raw.queue.number(),
        peak: measured(raw.peak),
        limit: measured(raw.limit),
        leak,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(fields: &str) -> Option<Entry> {
        parse(format!(r#"{{"__REALTIME_TIMESTAMP": "1700000000000000", {fields}}}"#).as_bytes())
    }

    #[test]
    fn an_entry_is_read_as_the_journal_writes_it() {
        let entry = with(
            r#""STT_OUTCOME": "ok", "STT_MODEL": "default", "STT_WALL_MS": "420", "STT_PEAK_BYTES": "1000",
               "STT_ANON_BYTES": "700", "STT_START_ANON_BYTES": "100", "STT_LIMIT_BYTES": "2000", "STT_MODE": "process""#,
        )
        .unwrap();
        assert_eq!((entry.outcome, entry.wall), (Group::Ok, Some(420)));
        let memory = (entry.peak, entry.limit, entry.leak);
        assert_eq!(memory, (Some(1000), Some(2000), Some(600)));
        assert_eq!(entry.queue, None);
    }

    #[test]
    fn what_a_dead_job_or_a_thread_had_at_its_end_nobody_knows() {
        let memory = r#""STT_ANON_BYTES": "0", "STT_START_ANON_BYTES": "100", "STT_PEAK_BYTES": "9", "STT_WALL_MS": "1""#;
        let dead = with(&format!(r#""STT_OUTCOME": "worker_crashed", {memory}"#)).unwrap();
        assert_eq!((dead.peak, dead.leak), (Some(9), None));
        let thread = with(&format!(
            r#""STT_OUTCOME": "ok", "STT_MODE": "thread", {memory}"#
        ));
        let thread = thread.unwrap();
        assert_eq!((thread.peak, thread.leak), (None, None));
    }

    #[test]
    fn strange_values_are_taken_for_what_they_are() {
        let bytes = with(r#""MESSAGE": [104, 105, 27, 91], "STT_MODEL": ["first", "second"]"#);
        let entry = bytes.unwrap();
        assert_eq!(entry.message.as_ref(), "hi\u{fffd}[");
        assert_eq!(entry.model.as_ref(), "first");
        let entry = with(r#""MESSAGE": null, "STT_PEAK_BYTES": "-1", "STT_OUTCOME": "new_word""#);
        let entry = entry.unwrap();
        assert_eq!(entry.message.as_ref(), "-");
        assert_eq!((entry.peak, entry.outcome), (None, Group::Failed));
        let long = with(&format!(r#""STT_MODEL": "{}""#, "x".repeat(5000))).unwrap();
        assert_eq!(long.model.as_ref().len(), MAX_NAME);
        for nothing in [
            "{}",
            "[]",
            "",
            r#"{"__REALTIME_TIMESTAMP": "x"}"#,
            r#"{"__REALTIME_TIMESTAMP": "18446744073709551615"}"#,
        ] {
            assert!(parse(nothing.as_bytes()).is_none(), "{nothing}");
        }
        assert!(with(r#""STT_MODEL": {"a": 1}"#).is_none());
    }
}
