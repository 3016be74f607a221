//! Turns the library's tokens into words, and its text into a segment.

use std::time::Duration;

use crate::transcript::{Segment, Word};

/// The library's result for one piece of a recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Heard {
    pub(super) text: String,
    /// The language as the model names it (`en`, `<|en|>`); empty if it names none.
    pub(super) language: String,
    pub(super) tokens: Vec<Token>,
}

/// A part of the text: a word, a part of one, or a part of a character.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) bytes: Vec<u8>,
    /// Seconds since the beginning of the piece, if the model tells.
    pub(super) start: Option<f32>,
    /// Seconds, if the model tells.
    pub(super) duration: Option<f32>,
    /// Natural logarithm of the token's probability, if the model tells.
    pub(super) logprob: Option<f32>,
}

/// Longest time of a token whose model does not tell its end. Afterwards nobody speaks, or the
/// model has heard nothing for longer than a syllable takes.
const LONGEST: Duration = Duration::from_millis(400);

impl Heard {
    /// The code of the language that was heard, if the model tells.
    pub(super) fn language(&self) -> Option<&str> {
        let code = self
            .language
            .trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_code = matches!(code.len(), 2..=3) && code.bytes().all(|b| b.is_ascii_lowercase());
        is_code.then_some(code)
    }

    /// The segment of a piece of this length; `None` if nobody spoke. `text` is its text, with
    /// punctuation. Without times of tokens it lasts as long as the piece.
    pub(super) fn segment(&self, text: &str, length: Duration) -> Option<Segment> {
        let text = clean(text);
        if text.is_empty() {
            return None;
        }
        let words = self.words(length);
        Some(Segment {
            start: words.first().map_or(Duration::ZERO, |word| word.start),
            end: words.last().map_or(length, |word| word.end),
            text,
            words,
            decoding: None,
            speaker: None,
        })
    }

    /// The words with their times; none if the model does not tell times, or if its tokens are not
    /// parts of its text.
    fn words(&self, length: Duration) -> Vec<Word> {
        let tokens: Vec<(Vec<u8>, &Token)> = (self.tokens.iter())
            .map(|token| (bytes(&token.bytes), token))
            .collect();
        let all: Vec<u8> = tokens.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let is_text = letters(&String::from_utf8_lossy(&all)) == letters(&self.text);
        if !is_text || tokens.iter().any(|(_, token)| token.start.is_none()) {
            return Vec::new();
        }
        let mut words: Vec<Word> = Vec::new();
        let mut first = 0;
        for next in 1..=tokens.len() {
            let whole = tokens.get(first..next).unwrap_or_default();
            let said: Vec<u8> = whole.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            let following = tokens.get(next).map(|(bytes, _)| bytes.as_slice());
            if following.is_some_and(|following| !ends_word(&said, following)) {
                continue;
            }
            let end = tokens.get(next).and_then(|(_, token)| token.start);
            words.extend(word(whole, &said, end, length, words.last()));
            first = next;
        }
        words
    }
}

/// The bytes of a token. Some models write a byte as `<0xE4>`.
fn bytes(token: &[u8]) -> Vec<u8> {
    let hexadecimal = token
        .strip_prefix(b"<0x")
        .and_then(|rest| rest.strip_suffix(b">"))
        .filter(|digits| digits.len() == 2)
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| u8::from_str_radix(digits, 16).ok());
    hexadecimal.map_or_else(|| token.to_vec(), |byte| vec![byte])
}

/// Whether a word ends after `said`, and `following` begins another.
fn ends_word(said: &[u8], following: &[u8]) -> bool {
    let Ok(said) = std::str::from_utf8(said) else {
        // In the middle of a character.
        return false;
    };
    if following.starts_with(b" ") {
        return true;
    }
    let next = String::from_utf8_lossy(following);
    let stands_alone = |c: Option<char>| c.is_some_and(is_ideograph);
    stands_alone(said.chars().last()) && next.chars().next().is_some_and(char::is_alphanumeric)
        || stands_alone(next.chars().next())
}

/// Whether the character is written without spaces around its word: Han, Kana.
fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// One word; `end` is the start of the token after it.
fn word(
    tokens: &[(Vec<u8>, &Token)],
    said: &[u8],
    end: Option<f32>,
    length: Duration,
    before: Option<&Word>,
) -> Option<Word> {
    let text = clean(&String::from_utf8_lossy(said));
    let ((_, first), (_, last)) = (tokens.first()?, tokens.last()?);
    let earliest = before.map_or(Duration::ZERO, |word| word.end).min(length);
    let start = time(first.start).clamp(earliest, length);
    let begun = time(last.start).clamp(start, length);
    let limit = end
        .map_or(length, |end| time(Some(end)))
        .clamp(begun, length);
    let lasts = match last.duration {
        Some(duration) if duration > 0.0 => time(Some(duration)),
        _ => LONGEST,
    };
    let logprobs: Option<Vec<f32>> = tokens.iter().map(|(_, token)| token.logprob).collect();
    #[allow(clippy::cast_precision_loss)]
    let confidence = logprobs.map(|all| {
        let sum: f32 = all
            .iter()
            .map(|logprob| logprob.exp().clamp(0.0, 1.0))
            .sum();
        sum / all.len() as f32
    });
    (!text.is_empty()).then_some(Word {
        text,
        start,
        end: begun.saturating_add(lasts).min(limit),
        // A damaged model can make it NaN.
        confidence: confidence.filter(|value| value.is_finite()),
    })
}

/// Seconds of the library, in whole milliseconds: its numbers are exact to 0.0001 ms, and 0.3999999
/// would be shown as 399 ms. A value that is no time is the beginning.
fn time(seconds: Option<f32>) -> Duration {
    let milliseconds = (f64::from(seconds.unwrap_or(0.0)) * 1000.0).round();
    // `as` takes the nearest number that there is, and 0 for NaN.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Duration::from_millis(milliseconds as u64)
}

/// The characters of a text that are neither white space nor control characters.
fn letters(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !c.is_control())
        .collect()
}

/// A text without control characters and without white space around it.
pub(super) fn clean(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.trim().to_owned()
}

/// A text with the signs of its own writing: models for punctuation write those of Chinese after
/// any word.
pub(super) fn own_signs(text: &str) -> String {
    let mut own = String::with_capacity(text.len());
    for c in text.chars() {
        let is_foreign = |before: char| before.is_alphanumeric() && !is_ideograph(before);
        let sign = match c {
            '，' | '、' => ',',
            '。' => '.',
            '？' => '?',
            '！' => '!',
            _ => c,
        };
        if sign != c && own.chars().next_back().is_some_and(is_foreign) {
            own.extend([sign, ' ']);
        } else if !(c == ' ' && own.ends_with(' ')) {
            own.push(c);
        }
    }
    own.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn heard(text: &str, tokens: &[&str]) -> Heard {
        let token = |(index, bytes): (u16, &&str)| Token {
            bytes: bytes.as_bytes().to_vec(),
            start: Some(f32::from(index)),
            duration: None,
            logprob: Some(0.5_f32.ln()),
        };
        Heard {
            text: text.into(),
            language: String::new(),
            tokens: (0..).zip(tokens).map(token).collect(),
        }
    }

    fn words(heard: &Heard) -> Vec<(String, u128, u128)> {
        let segment = heard.segment(&heard.text, 9 * SECOND).unwrap();
        let word = |word: Word| (word.text, word.start.as_millis(), word.end.as_millis());
        segment.words.into_iter().map(word).collect()
    }

    #[test]
    fn words_begin_with_a_space_and_end_before_the_next() {
        let heard = heard(" he'll go", &[" he", "'ll", " go"]);
        let expected = [("he'll".into(), 0, 1400), ("go".into(), 2000, 2400)];
        assert_eq!(words(&heard), expected);
        let segment = heard.segment(&heard.text, 9 * SECOND).unwrap();
        assert_eq!(segment.text, "he'll go");
        assert!((segment.words[0].confidence.unwrap() - 0.5).abs() < 1e-6);
        assert_eq!(
            (segment.start, segment.end),
            (Duration::ZERO, 2400 * SECOND / 1000)
        );
    }

    #[test]
    fn times_stay_within_the_piece_and_in_order() {
        let mut heard = heard("a b c", &["a", " b", " c"]);
        for (token, start) in heard.tokens.iter_mut().zip([5.0, f32::NAN, 1e30]) {
            token.start = Some(start);
            token.duration = Some(f32::INFINITY);
        }
        let segment = heard.segment(&heard.text, SECOND).unwrap();
        let mut before = Duration::ZERO;
        for word in segment.words {
            assert!(before <= word.start && word.start <= word.end && word.end <= SECOND);
            before = word.end;
        }
    }

    #[test]
    fn ideographs_are_words_and_characters_are_whole() {
        let heard = heard(
            "开放 time早",
            &["开", "放", " ti", "me", "<0xE6>", "<0x97>", "<0xA9>"],
        );
        let texts: Vec<String> = words(&heard).into_iter().map(|(text, ..)| text).collect();
        assert_eq!(texts, ["开", "放", "time早"]);
    }

    #[test]
    fn without_times_or_with_other_tokens_there_are_no_words() {
        let mut other = heard("go", &["x"]);
        assert!(words(&other).is_empty());
        other.text = "x".into();
        other.tokens[0].start = None;
        assert!(words(&other).is_empty());
        let segment = other.segment("x\u{1b}[2J.", SECOND).unwrap();
        assert_eq!((segment.text.as_str(), segment.end), ("x [2J.", SECOND));
        assert_eq!(other.segment(" \n", SECOND), None);
    }

    #[test]
    fn signs_are_those_of_the_word_before() {
        for (text, expected) in [
            ("go forward，ten meters。", "go forward, ten meters."),
            ("go， on？", "go, on?"),
            ("开放，时间。", "开放，时间。"),
            ("早 time。", "早 time."),
        ] {
            assert_eq!(own_signs(text), expected);
        }
    }

    #[test]
    fn languages_are_codes() {
        let of = |language: &str| Heard {
            language: language.into(),
            ..Heard::default()
        };
        assert_eq!(of("<|yue|>").language(), Some("yue"));
        assert_eq!(of("en").language(), Some("en"));
        for other in ["", "<|nospeech|>", "\u{1b}[2J", "EN"] {
            assert_eq!(of(other).language(), None, "{other:?}");
        }
    }
}
