//! Shows the cost of a request, from the headers of its answer, in units for people.

use indicatif::BinaryBytes;
use serde_json::Value;

use crate::client::Answer;

/// How to show the value of a header.
enum Unit {
    Word,
    Bytes,
    Milliseconds,
}

/// The headers in display order, with their names for people.
const FIGURES: [(&str, &str, Unit); 10] = [
    ("x-request-id", "request", Unit::Word),
    ("x-stt-isolation", "isolation", Unit::Word),
    ("x-stt-peak-bytes", "peak", Unit::Bytes),
    ("x-stt-anon-bytes", "anon", Unit::Bytes),
    ("x-stt-memory-limit-bytes", "limit", Unit::Bytes),
    ("x-stt-cpu-ms", "cpu", Unit::Milliseconds),
    ("x-stt-queue-ms", "queue", Unit::Milliseconds),
    ("x-stt-audio-ms", "audio", Unit::Milliseconds),
    ("x-stt-wall-ms", "wall", Unit::Milliseconds),
    ("x-stt-pid", "pid", Unit::Word),
];

/// One line with the figures of the answer, or of the last event of its stream; `None` if there are
/// none.
pub fn line(answer: &Answer, last: Option<&Value>) -> Option<String> {
    let of_stream = |header: &str| {
        let name = header.strip_prefix("x-stt-")?.replace('-', "_");
        match last?.get("stt")?.get(name)? {
            Value::String(word) => Some(word.clone()),
            number => Some(number.to_string()),
        }
    };
    let figure = |header| {
        let value = answer.header(header).map(str::to_owned);
        value.or_else(|| of_stream(header))
    };
    let known: Vec<String> = FIGURES
        .iter()
        .filter_map(|(header, name, unit)| {
            let value = unit.show(&figure(header)?)?;
            Some(format!("{name} {value}"))
        })
        .collect();
    (!known.is_empty()).then(|| known.join(", "))
}

impl Unit {
    fn show(&self, value: &str) -> Option<String> {
        Some(match self {
            Unit::Word => value.to_owned(),
            Unit::Bytes => BinaryBytes(value.parse().ok()?).to_string(),
            Unit::Milliseconds => format!("{:.3} s", value.parse::<f64>().ok()? / 1000.0),
        })
    }
}
