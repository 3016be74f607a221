//! Converts the service's message about a phrase to a segment. The message may be inconsistent.

use std::time::Duration;

use serde::Deserialize;

use crate::transcript::{Segment, Word};

/// The service counts in units of 100 ns.
const TICK: u64 = 100;

/// A phrase in the service's detailed format.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Phrase {
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    duration: u64,
    display_text: Option<String>,
    #[serde(default, rename = "NBest")]
    best: Vec<Alternative>,
}

/// One interpretation of the phrase; the likeliest comes first.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Alternative {
    confidence: Option<f32>,
    display: Option<String>,
    #[serde(default)]
    words: Vec<Part>,
}

/// A word of an interpretation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Part {
    word: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    duration: u64,
    confidence: Option<f32>,
}

/// Converts one phrase after the other.
#[derive(Debug, Default)]
pub(super) struct Scribe {
    /// Where the last one begins.
    start: Duration,
}

impl Scribe {
    /// The segment for the phrase that begins at `offset`, in the service's units, after `sent` of
    /// the recording was sent; `None` if nothing was said.
    ///
    /// # Errors
    /// The message does not describe a phrase.
    pub(super) fn segment(
        &mut self,
        json: &str,
        offset: u64,
        sent: Duration,
    ) -> Result<Option<Segment>, serde_json::Error> {
        let phrase: Phrase = serde_json::from_str(json)?;
        let best = phrase.best.into_iter().next();
        let shown = best.as_ref().and_then(|best| best.display.clone());
        let Some(text) = phrase.display_text.or(shown).and_then(|text| clean(&text)) else {
            return Ok(None);
        };
        // No time goes back or exceeds the recording, whatever the service says.
        let begin = self.start.min(sent);
        let at = |ticks: u64| time(ticks).clamp(begin, sent);
        let start = at(offset);
        let end = at(offset.saturating_add(phrase.duration)).max(start);
        let word = |part: Part, otherwise: Option<f32>| {
            let from = part
                .offset
                .saturating_sub(phrase.offset)
                .saturating_add(offset);
            let start = at(from).clamp(start, end);
            Some(Word {
                text: clean(&part.word)?,
                start,
                end: at(from.saturating_add(part.duration)).clamp(start, end),
                confidence: part.confidence.and_then(belief).or(otherwise),
            })
        };
        let words = best.map_or_else(Vec::new, |best| {
            // Services that say nothing of single words tell their confidence in the phrase.
            let all = best.confidence.and_then(belief);
            let words = best.words.into_iter();
            words.filter_map(|part| word(part, all)).collect()
        });
        self.start = start;
        Ok(Some(Segment {
            text,
            start,
            end,
            words,
            decoding: None,
            speaker: None,
        }))
    }
}

fn time(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.saturating_mul(TICK))
}

fn belief(confidence: f32) -> Option<f32> {
    confidence.is_finite().then(|| confidence.clamp(0.0, 1.0))
}

/// The text without control characters and surrounding white space; `None` if it is empty then.
fn clean(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Duration = Duration::from_secs(10);
    const SECOND: u64 = 10_000_000;

    fn segment(json: &str, offset: u64) -> Option<Segment> {
        Scribe::default().segment(json, offset, SENT).unwrap()
    }

    #[test]
    fn a_phrase_is_taken_as_the_service_writes_it() {
        let json = r#"{"Id":"x","RecognitionStatus":"Success","Offset":10000000,"Duration":20000000,"Channel":0,
            "DisplayText":"Go forward.","NBest":[{"Confidence":0.5,"Lexical":"go forward","Display":"Go forward.",
            "Words":[{"Word":"go","Offset":10000000,"Duration":5000000,"Confidence":0.75},
                     {"Word":"forward","Offset":15000000,"Duration":10000000}]}]}"#;
        // The connection began 3 s into the recording.
        let segment = segment(json, 4 * SECOND).unwrap();
        let seconds = Duration::from_secs_f64;
        assert_eq!(segment.text, "Go forward.");
        assert_eq!((segment.start, segment.end), (seconds(4.0), seconds(6.0)));
        let word = |text: &str, start, end, confidence| Word {
            text: text.into(),
            start: seconds(start),
            end: seconds(end),
            confidence: Some(confidence),
        };
        let expected = [word("go", 4.0, 4.5, 0.75), word("forward", 4.5, 5.5, 0.5)];
        assert_eq!(segment.words, expected);
    }

    #[test]
    fn the_text_may_stand_with_the_alternatives_only() {
        let json = r#"{"NBest":[{"Display":"Yes."}]}"#;
        assert_eq!(segment(json, 0).unwrap().text, "Yes.");
    }

    #[test]
    fn nothing_said_is_no_segment() {
        for json in [
            r#"{"DisplayText":""}"#,
            r#"{"DisplayText":" \u0007"}"#,
            "{}",
        ] {
            assert_eq!(segment(json, 0), None, "{json}");
        }
    }

    #[test]
    fn impossible_times_are_made_possible() {
        let json = r#"{"Offset":9,"Duration":18446744073709551615,"DisplayText":"a",
            "NBest":[{"Confidence":-7,"Words":[{"Word":"a","Offset":0,"Duration":18446744073709551615,"Confidence":9}]}]}"#;
        let mut scribe = Scribe::default();
        let mut last = Duration::ZERO;
        for offset in [50 * SECOND, SECOND, u64::MAX] {
            let segment = scribe.segment(json, offset, SENT).unwrap().unwrap();
            let word = &segment.words[0];
            assert!(last <= segment.start && segment.start <= segment.end && segment.end <= SENT);
            assert!(
                segment.start <= word.start && word.start <= word.end && word.end <= segment.end
            );
            assert_eq!(word.confidence, Some(1.0));
            last = segment.start;
        }
    }

    #[test]
    fn what_is_no_json_is_told() {
        assert!(Scribe::default().segment("{not json", 0, SENT).is_err());
    }
}
