//! One entry about one request. Whatever it says may be a lie: numbers are checked, words cut and cleaned.

use serde::{Deserialize, Deserializer, de};

use crate::text::Text;

/// The fields that are asked for.
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

/// The longest name, of a model or a host, in characters.
const MAX_NAME: usize = 64;

/// The longest message, in characters.
const MAX_MESSAGE: usize = 300;

/// Times that no clock shows: from the year 10,000 on, in seconds.
const END_OF_TIME: u64 = 253_402_300_800;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// With its transcript.
    Ok,
    /// Its recording cannot be transcribed: unreadable or too long.
    Recording,
    /// Its job needed more memory than it may have.
    Memory,
    /// Its job failed: crashed, misbehaved, ran out of time, or the library said no.
    Failed,
    /// Its client or the service went away.
    GivenUp,
    /// It got no job.
    Refused,
}

impl Outcome {
    /// All, in the order in which they are shown.
    pub const ALL: [Outcome; 6] = [
        Outcome::Ok,
        Outcome::Recording,
        Outcome::Memory,
        Outcome::Failed,
        Outcome::GivenUp,
        Outcome::Refused,
    ];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "transcribed",
            Outcome::Recording => "bad recording",
            Outcome::Memory => "over its memory limit",
            Outcome::Failed => "failed",
            Outcome::GivenUp => "given up",
            Outcome::Refused => "turned away",
        }
    }

    /// Those that the service's own words stand for; a word that is not known yet is a failure.
    fn of(word: &str) -> Outcome {
        match word {
            "ok" => Outcome::Ok,
            "invalid_audio" | "audio_too_long" => Outcome::Recording,
            "memory_limit_exceeded" => Outcome::Memory,
            "cancelled" | "shutting_down" => Outcome::GivenUp,
            "queue_full" | "user_limit" | "queue_timeout" | "engine_unavailable" => {
                Outcome::Refused
            }
            _ => Outcome::Failed,
        }
    }
}

/// What is known of one request. Sizes are bytes, times milliseconds; `None` is not known.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which kind of entry it is.
    pub kind: String,
    /// When it was written, that is at the request's end, in microseconds since 1970.
    pub time: u64,
    /// What is told about it.
    pub message: Text,
    /// Where.
    pub host: Text,
    /// Its model.
    pub model: Text,
    /// As in the answer's header.
    pub request: Text,
    /// How it ended, sorted.
    pub outcome: Outcome,
    /// The service's own word for that.
    pub word: Text,
    /// The length of its recording, as far as it was read.
    pub audio: Option<u64>,
    /// From its job's beginning to its end.
    pub wall: Option<u64>,
    /// Until it had a job.
    pub queue: Option<u64>,
    /// The most memory that its job had.
    pub peak: Option<u64>,
    /// The most that it may have had; `None` without a cgroup.
    pub limit: Option<u64>,
    /// What its job had more of its own at its end than before; `None` if the job did not live to be asked.
    pub leak: Option<u64>,
}

impl Entry {
    /// Whether it had a job.
    pub fn is_served(&self) -> bool {
        self.wall.is_some()
    }
}

/// As journalctl writes it; numbers are text as well.
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

/// The value of a field: text; bytes, if it is no clean text; the first of several, if it was given more than once; and
/// nothing at all if it is too long.
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

    /// At most `most` characters of it.
    fn text(self, most: usize) -> Text {
        match self.0 {
            Some(text) if !text.is_empty() => {
                Text::from(text.chars().take(most).collect::<String>())
            }
            _ => Text::default(),
        }
    }
}

/// The entry on this line; `None` if it is none.
pub fn parse(line: &[u8]) -> Option<Entry> {
    let raw: Raw = serde_json::from_slice(line).ok()?;
    let time = raw.time.number()?;
    if time / 1_000_000 >= END_OF_TIME {
        return None;
    }
    let word = raw.outcome.text(MAX_NAME);
    let outcome = Outcome::of(word.as_ref());
    // In mode thread there is no memory of a request's own.
    let is_measured = raw.wall.number().is_some() && raw.mode.0.as_deref() != Some("thread");
    let lived =
        matches!(outcome, Outcome::Ok | Outcome::Recording) || word.as_ref() == "engine_failed";
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
        assert_eq!((entry.outcome, entry.wall), (Outcome::Ok, Some(420)));
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
        assert_eq!((entry.peak, entry.outcome), (None, Outcome::Failed));
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
