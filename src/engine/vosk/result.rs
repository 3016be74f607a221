//! Turns the library's JSON into a segment.

use std::time::Duration;

use serde::Deserialize;

use crate::transcript::{Segment, Word};

/// `{"result": […], "text": "…"}`; for silence there is only an empty text.
#[derive(Deserialize)]
struct Heard {
    #[serde(default)]
    result: Vec<HeardWord>,
}

/// `{"partial": "…"}`, of an utterance that has not ended.
#[derive(Deserialize)]
struct Partial {
    partial: String,
}

/// One word; times in seconds.
#[derive(Deserialize)]
struct HeardWord {
    word: String,
    start: f64,
    end: f64,
    conf: f64,
}

/// The utterance in `json`; `None` if nobody spoke.
///
/// # Errors
/// It does not have the library's format.
pub(super) fn segment(json: &[u8]) -> Result<Option<Segment>, String> {
    let heard: Heard = serde_json::from_slice(json)
        .map_err(|error| format!("its result makes no sense: {error}"))?;
    let mut words = Vec::with_capacity(heard.result.len());
    let mut earliest = Duration::ZERO;
    for heard in heard.result {
        let text = heard.word.trim();
        if text.is_empty() || is_filler(text) {
            continue;
        }
        let start = time(heard.start)?.max(earliest);
        let end = time(heard.end)?.max(start);
        earliest = start;
        #[allow(clippy::cast_possible_truncation)]
        let confidence = (heard.conf as f32).clamp(0.0, 1.0);
        words.push(Word {
            text: text.to_owned(),
            start,
            end,
            confidence: Some(confidence),
        });
    }
    let (Some(first), Some(last)) = (words.first(), words.last()) else {
        return Ok(None);
    };
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    Ok(Some(Segment {
        text: texts.join(" "),
        start: first.start,
        end: last.end,
        words,
        decoding: None,
        speaker: None,
    }))
}

/// The words in `json`, which may still change; empty if nobody has spoken.
///
/// # Errors
/// It does not have the library's format.
pub(super) fn partial(json: &[u8]) -> Result<String, String> {
    let heard: Partial = serde_json::from_slice(json)
        .map_err(|error| format!("its partial result makes no sense: {error}"))?;
    let words = heard.partial.split_whitespace();
    let words: Vec<&str> = words.filter(|word| !is_filler(word)).collect();
    Ok(words.join(" "))
}

/// True for what the decoder writes for a word that its model does not know, and for noise.
fn is_filler(word: &str) -> bool {
    word.starts_with(['<', '[']) && word.ends_with(['>', ']'])
}

fn time(seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds.max(0.0))
        .map_err(|_| format!("its result makes no sense: {seconds} is no time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<Option<Segment>, String> {
        segment(json.as_bytes())
    }

    #[test]
    fn words_come_with_their_times_and_confidence() {
        let segment = of(r#"{
  "result" : [{
      "conf" : 1.000000, "end" : 1.110000, "start" : 0.840000, "word" : "one"
    }, {
      "conf" : 0.500000, "end" : 1.530000, "start" : 1.110000, "word" : "zero"
    }, {
      "conf" : 0.900000, "end" : 1.600000, "start" : 1.530000, "word" : "[unk]"
    }],
  "text" : "one zero [unk]"
}"#)
        .unwrap()
        .unwrap();
        assert_eq!(segment.text, "one zero");
        let seconds = [segment.start, segment.end].map(|time| time.as_secs_f64());
        assert_eq!(seconds, [0.84, 1.53]);
        assert_eq!(segment.words[1].confidence, Some(0.5));
    }

    #[test]
    fn partial_results_are_words() {
        let of = |json: &str| partial(json.as_bytes());
        assert_eq!(of(r#"{"partial" : "go [unk]  for"}"#).unwrap(), "go for");
        assert_eq!(of(r#"{"partial" : ""}"#).unwrap(), "");
        assert!(of(r#"{"text" : "go"}"#).is_err());
    }

    #[test]
    fn silence_is_no_segment() {
        for json in [
            r#"{"text" : ""}"#,
            r#"{"result" : [], "text" : ""}"#,
            r#"{"result" : [{"conf": 1, "start": 0, "end": 1, "word": "[noise]"}], "text": "[noise]"}"#,
        ] {
            assert_eq!(of(json), Ok(None), "{json}");
        }
    }

    #[test]
    fn nonsense_is_an_error_and_times_are_in_order() {
        for json in [
            "",
            "null",
            r#"{"result": 1}"#,
            r#"{"result": [{"word": "a"}]}"#,
        ] {
            assert!(of(json).is_err(), "{json}");
        }
        assert!(of(r#"{"result": [{"conf": 1, "start": 1e300, "end": 1, "word": "a"}]}"#).is_err());
        let word = |start: f64, end: f64| {
            format!(r#"{{"conf": 7, "start": {start}, "end": {end}, "word": "a"}}"#)
        };
        let json = format!(r#"{{"result": [{}, {}]}}"#, word(2.0, 1.0), word(-1.0, 1.5));
        let segment = of(&json).unwrap().unwrap();
        let times = segment.words.iter().flat_map(|word| [word.start, word.end]);
        assert!(
            times.map(|time| time.as_secs()).eq([2, 2, 2, 2]),
            "{segment:?}"
        );
        assert_eq!(segment.words[0].confidence, Some(1.0));
    }
}
