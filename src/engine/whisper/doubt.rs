//! Judges a text that was found in a cut window: a doubtful one is found again in the whole window.
//!
//! A judgement costs nothing and a second run costs what each run cost before windows were cut. So
//! the limits are tight: a text that is right may be found twice.

use std::time::Duration;

use super::decoding::compression_ratio;
use crate::transcript::Segment;

/// Above this ratio a text repeats itself. OpenAI's value.
const MAX_COMPRESSION_RATIO: f32 = 2.4;

/// Below this mean a text is unlikely. OpenAI's value.
const MIN_LOGPROB: f32 = -1.0;

/// Characters in a second that nobody speaks. Fast speech in the five languages of our recordings
/// has up to 22.
const MAX_CHARACTERS: f32 = 30.0;

/// Characters that are no evidence of haste: a short piece may end in the middle of a word.
const FEW_CHARACTERS: f32 = 15.0;

/// Number of words in a row that nobody says twice without a pause between them.
const PHRASE: usize = 3;

/// Whether `segments`, found in a piece of this length, may be wrong. `expects_text`: somebody
/// speaks in this piece.
pub(super) fn is_doubtful(segments: &[Segment], length: Duration, expects_text: bool) -> bool {
    let texts: Vec<&str> = segments
        .iter()
        .map(|segment| segment.text.as_str())
        .collect();
    let text = texts.join(" ");
    if text.is_empty() {
        return expects_text;
    }
    is_unlikely(segments)
        || compression_ratio(&text) > MAX_COMPRESSION_RATIO
        || is_hasty(&text, length)
        || repeats_a_phrase(&text)
}

/// The mean of all tokens is low.
#[allow(clippy::cast_precision_loss)]
fn is_unlikely(segments: &[Segment]) -> bool {
    let decodings = segments
        .iter()
        .filter_map(|segment| segment.decoding.as_ref());
    let (sum, count) = decodings.fold((0.0, 0.0), |(sum, count), decoding| {
        let tokens = decoding.tokens.len() as f32;
        (sum + decoding.avg_logprob * tokens, count + tokens)
    });
    count > 0.0 && sum / count < MIN_LOGPROB
}

/// Nobody can say so much in this time.
#[allow(clippy::cast_precision_loss)]
fn is_hasty(text: &str, length: Duration) -> bool {
    text.chars().count() as f32 > FEW_CHARACTERS + MAX_CHARACTERS * length.as_secs_f32()
}

/// Some words follow each other twice.
fn repeats_a_phrase(text: &str) -> bool {
    let text = text.to_lowercase();
    let words: Vec<&str> = text
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|word| !word.is_empty())
        .collect();
    (PHRASE..=words.len() / 2).any(|length| {
        let pairs = words.windows(2 * length);
        pairs.map(|pair| pair.split_at(length)).any(|(a, b)| a == b)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Decoding;

    fn segment(text: &str, avg_logprob: f32, tokens: usize) -> Segment {
        Segment {
            text: text.into(),
            start: Duration::ZERO,
            end: Duration::from_secs(1),
            words: Vec::new(),
            decoding: Some(Decoding {
                seek: Duration::ZERO,
                tokens: vec![0; tokens],
                temperature: 0.0,
                avg_logprob,
                compression_ratio: 1.0,
                no_speech_prob: 0.0,
            }),
            speaker: None,
        }
    }

    fn says(text: &str, seconds: f32) -> bool {
        let segments = [segment(text, -0.2, 5)];
        is_doubtful(&segments, Duration::from_secs_f32(seconds), true)
    }

    #[test]
    fn ordinary_speech_is_taken() {
        assert!(!says("Go forward ten meters.", 1.5));
        assert!(!says("Yes.", 0.2));
        assert!(!says("no no no no, very very good", 2.0));
        assert!(!says("one two three, four two three", 3.0));
    }

    #[test]
    fn nothing_is_doubtful_only_where_somebody_speaks() {
        let second = Duration::from_secs(1);
        assert!(is_doubtful(&[], second, true));
        assert!(!is_doubtful(&[], second, false));
    }

    #[test]
    fn repetition_and_haste_are_doubtful() {
        assert!(says("go forward ten, go forward ten", 3.0));
        assert!(says(&"thank you ".repeat(20), 30.0));
        assert!(says("this is far more than anybody says in a second", 1.0));
    }

    #[test]
    fn the_mean_of_all_tokens_counts() {
        let second = Duration::from_secs(2);
        let unlikely = segment("what", -3.0, 2);
        assert!(is_doubtful(std::slice::from_ref(&unlikely), second, true));
        let likely = segment("go forward", -0.1, 8);
        assert!(!is_doubtful(&[unlikely, likely], second, true));
    }
}
