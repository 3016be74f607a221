//! Makes text that only grows of segments and of words that are not final: for every protocol.

use crate::transcript::{Hypothesis, Segment, between, decides_separator};

/// The text that a client has got so far. All deltas, joined, are the text of all segments.
#[derive(Debug, Default)]
pub(super) struct Deltas {
    /// The last segment's text.
    before: Option<String>,
    /// Committed text of the segment that has not come yet.
    committed: String,
    /// Bytes of it that were told.
    told: usize,
}

impl Deltas {
    /// The next delta after a hypothesis, and the guess at what follows it. Both may be empty.
    pub(super) fn hypothesis(&mut self, hypothesis: &Hypothesis) -> (String, String) {
        self.committed += &hypothesis.committed;
        let committed = self.committed.clone();
        // Only a letter tells whether a space is before it.
        let delta = match self.told > 0 || decides_separator(&committed) {
            true => self.next(&committed),
            false => String::new(),
        };
        let whole = format!("{committed}{}", hypothesis.tentative);
        (delta, self.rest(&whole))
    }

    /// The next delta after a segment; empty if all of its text was told.
    pub(super) fn segment(&mut self, segment: &Segment) -> String {
        let delta = self.next(&segment.text);
        *self = Self {
            before: Some(segment.text.clone()),
            ..Self::default()
        };
        delta
    }

    fn next(&mut self, text: &str) -> String {
        let delta = self.rest(text);
        self.told = text.len();
        delta
    }

    /// The part of the present segment's `text` that was not told.
    fn rest(&self, text: &str) -> String {
        let rest = text.get(self.told..).unwrap_or_default();
        let before = self.before.as_deref().filter(|_| self.told == 0);
        match before.filter(|_| !rest.is_empty()) {
            Some(before) => format!("{}{rest}", between(before, text)),
            None => rest.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::transcript::Transcript;

    /// A segment with the words that were committed before it came.
    type Spoken<'a> = (&'a [&'a str], &'a str);

    fn segment(text: &str) -> Segment {
        Segment {
            text: text.into(),
            start: Duration::ZERO,
            end: Duration::ZERO,
            words: Vec::new(),
            decoding: None,
            speaker: None,
        }
    }

    fn told(spoken: &[Spoken<'_>]) -> Vec<String> {
        let (mut deltas, mut told) = (Deltas::default(), Vec::new());
        let mut transcript = Transcript::default();
        for (committed, text) in spoken {
            for committed in *committed {
                let hypothesis = Hypothesis {
                    committed: (*committed).into(),
                    tentative: " perhaps".into(),
                };
                told.push(deltas.hypothesis(&hypothesis).0);
            }
            let segment = segment(text);
            told.push(deltas.segment(&segment));
            transcript.segments.push(segment);
        }
        assert_eq!(told.concat(), transcript.text());
        told
    }

    #[test]
    fn committed_words_come_once_and_before_their_segment() {
        let spoken: &[Spoken<'_>] = &[
            (&["go", " forward"], "go forward ten meters"),
            (&[], "and then"),
            (&["stop", ""], "stop"),
        ];
        let expected = [
            "go",
            " forward",
            " ten meters",
            " and then",
            " stop",
            "",
            "",
        ];
        assert_eq!(told(spoken), expected);
    }

    #[test]
    fn separators_are_those_of_the_whole_text() {
        // The space before a number depends on the letter after it.
        for (second, first) in [("25 apples", ""), ("25个人", ""), ("个人", "个人")] {
            let head: String = second.chars().take(2).collect();
            let committed = [head.as_str()];
            let spoken: &[Spoken<'_>] = &[(&[], "共有"), (&committed, second)];
            assert_eq!(told(spoken)[1], first, "{second}");
        }
        told(&[(&["今天"], "今天天气"), (&["很"], "很好"), (&["ok"], "ok")]);
        told(&[(&["10"], "10"), (&["20"], "20"), (&["\"No"], "\"No\"")]);
    }

    #[test]
    fn guesses_follow_what_was_told() {
        let mut deltas = Deltas::default();
        let mut hear = |committed: &str, tentative: &str| {
            deltas.hypothesis(&Hypothesis {
                committed: committed.into(),
                tentative: tentative.into(),
            })
        };
        let pair = |delta: &str, guess: &str| (delta.to_owned(), guess.to_owned());
        assert_eq!(hear("", "go four"), pair("", "go four"));
        assert_eq!(hear("go", " forward"), pair("go", " forward"));
        assert_eq!(hear("", ""), pair("", ""));
        assert_eq!(deltas.segment(&segment("go")), "");
        let guess = Hypothesis {
            committed: "1".into(),
            tentative: "0 meters".into(),
        };
        assert_eq!(deltas.hypothesis(&guess), pair("", " 10 meters"));
        assert_eq!(deltas.segment(&segment("10 meters")), " 10 meters");
    }
}
