//! Combines tokens into words: whole characters, without white space, each with its times.

use std::time::Duration;

use super::decoding::probability;
use crate::transcript::Word;

/// Languages that are written without spaces between words. In these, one or two characters are a
/// word.
const WITHOUT_SPACES: [&str; 6] = ["zh", "ja", "th", "lo", "my", "yue"];

/// One token of a text. It may be a part of a character.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) bytes: Vec<u8>,
    pub(super) probability: f32,
    pub(super) start: Duration,
    pub(super) end: Duration,
}

/// A text without control characters and without white space around it.
pub(super) fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.trim().to_owned()
}

/// The words of a text in this language, in the order of their times.
pub(super) fn words(tokens: &[Token], language: Option<&str>) -> Vec<Word> {
    let with_spaces = !language.is_some_and(|code| WITHOUT_SPACES.contains(&code));
    let mut groups: Vec<&[Token]> = Vec::new();
    let mut first = 0;
    for (index, token) in tokens.iter().enumerate().skip(1) {
        let begins = if with_spaces {
            token.bytes.starts_with(b" ")
        } else {
            let said = tokens.get(first..index).unwrap_or_default();
            let said: Vec<u8> = said.iter().flat_map(|t| t.bytes.iter().copied()).collect();
            std::str::from_utf8(&said).is_ok()
        };
        if begins {
            groups.extend(tokens.get(first..index));
            first = index;
        }
    }
    groups.extend(tokens.get(first..).filter(|rest| !rest.is_empty()));
    groups.into_iter().filter_map(word).collect()
}

fn word(tokens: &[Token]) -> Option<Word> {
    let bytes: Vec<u8> = tokens
        .iter()
        .flat_map(|t| t.bytes.iter().copied())
        .collect();
    let text = clean(&bytes);
    let (first, last) = (tokens.first()?, tokens.last()?);
    let sum: f32 = tokens.iter().map(|t| probability(t.probability)).sum();
    #[allow(clippy::cast_precision_loss)]
    let mean = sum / tokens.len() as f32;
    (!text.is_empty()).then(|| Word {
        text,
        start: first.start,
        end: last.end.max(first.start),
        confidence: Some(probability(mean)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(texts: &[&[u8]]) -> Vec<Token> {
        let token = |(index, bytes): (u64, &&[u8])| Token {
            bytes: bytes.to_vec(),
            probability: 0.5,
            start: Duration::from_secs(index),
            end: Duration::from_secs(index + 1),
        };
        (0..).zip(texts).map(token).collect()
    }

    fn texts(words: &[Word]) -> Vec<&str> {
        words.iter().map(|word| word.text.as_str()).collect()
    }

    #[test]
    fn words_begin_with_a_space() {
        let tokens = tokens(&[b" cards", b",", b" he", b"'ll", b" ", b" say"]);
        let words = words(&tokens, Some("en"));
        assert_eq!(texts(&words), ["cards,", "he'll", "say"]);
        assert_eq!(words[0].end, Duration::from_secs(2));
        assert_eq!(words[2].start, Duration::from_secs(5));
        assert_eq!(words[0].confidence, Some(0.5));
    }

    #[test]
    fn characters_are_whole() {
        let (sun, rest) = "日本".as_bytes().split_at(4);
        let words = words(&tokens(&[sun, rest, "語".as_bytes()]), Some("ja"));
        assert_eq!(texts(&words), ["日本", "語"]);
        let half = super::words(&tokens(&[b" na", b"\xc3"]), None);
        assert_eq!(texts(&half), ["na\u{fffd}"]);
    }

    #[test]
    fn no_control_character_is_left() {
        assert_eq!(clean(b" a\x1b[2J\x00b\n"), "a [2J b");
        assert!(words(&tokens(&[b" ", b"\t"]), None).is_empty());
        assert!(words(&[], None).is_empty());
    }
}
