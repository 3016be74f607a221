//! Answers in the formats of whisper-asr-webservice, which Bazarr and others read.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::parts::{described, name_of, seconds};
use crate::{
    language::primary_language,
    transcript::{Segment, Transcript},
};

/// Code of a language that nobody knows (ISO 639-2).
const UNDETERMINED: &str = "und";

/// One segment on each line.
pub(super) fn lines(transcript: &Transcript) -> String {
    let lines = transcript.segments.iter();
    lines.map(|segment| format!("{}\n", segment.text)).collect()
}

/// A table of all segments. A tab in a text would be one column more.
pub(super) fn tsv(transcript: &Transcript) -> String {
    let mut table = String::from("start\tend\ttext\n");
    for segment in &transcript.segments {
        let (start, end) = (segment.start.as_millis(), segment.end.as_millis());
        let text = segment.text.replace('\t', " ");
        table.push_str(&format!("{start}\t{end}\t{text}\n"));
    }
    table
}

/// The JSON that Whisper's own program writes. Serialized directly, because a tree of values would
/// take ten times the memory.
#[derive(Serialize)]
pub(super) struct Whisper<'a> {
    text: String,
    segments: Segments<'a>,
    language: &'a str,
}

impl<'a> Whisper<'a> {
    /// `code`: that of the language; `words`: each word with its times.
    pub(super) fn of(transcript: &'a Transcript, code: Option<&'a str>, words: bool) -> Self {
        Self {
            text: transcript.text(),
            segments: Segments {
                segments: &transcript.segments,
                words,
            },
            language: code.map_or(UNDETERMINED, primary_language),
        }
    }
}

struct Segments<'a> {
    segments: &'a [Segment],
    words: bool,
}

impl Serialize for Segments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbered = self.segments.iter().enumerate();
        serializer.collect_seq(numbered.map(|(id, segment)| {
            let mut described = described(id, segment);
            if self.words {
                let words = segment.words.iter().map(|word| {
                    let (start, end) = (seconds(word.start), seconds(word.end));
                    json!({"word": word.text, "start": start, "end": end, "probability": word.confidence})
                });
                described["words"] = words.collect();
            }
            described
        }))
    }
}

/// The language alone.
pub(super) fn detected(code: Option<&str>) -> Value {
    json!({
        "detected_language": name_of(code),
        "language_code": code.map_or(UNDETERMINED, primary_language),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn transcript() -> Transcript {
        let segment = |text: &str, start| Segment {
            text: text.into(),
            start: Duration::from_millis(start),
            end: Duration::from_millis(start + 500),
            words: Vec::new(),
            decoding: None,
            speaker: None,
        };
        Transcript {
            segments: vec![segment("go\tforward", 460), segment("ten meters", 1000)],
            ..Transcript::default()
        }
    }

    #[test]
    fn a_table_has_three_columns() {
        let expected = "start\tend\ttext\n460\t960\tgo forward\n1000\t1500\tten meters\n";
        assert_eq!(tsv(&transcript()), expected);
    }

    #[test]
    fn a_language_that_nobody_knows_is_undetermined() {
        assert_eq!(
            detected(None),
            json!({"detected_language": "unknown", "language_code": "und"})
        );
        assert_eq!(
            detected(Some("en-us")),
            json!({"detected_language": "english", "language_code": "en"})
        );
    }
}
