//! Words before they are final, and the promise that committed text is never taken back.

use serde::{Deserialize, Serialize};

use super::Segment;

/// Text of a segment that is still being heard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hypothesis {
    /// Text that is new since the hypothesis or segment before, and is never taken back. The next
    /// segment begins with all committed text since the last segment, joined as it is: the space
    /// between two words belongs to it.
    pub committed: String,
    /// The rest, as it is heard now. The next hypothesis or segment replaces it.
    pub tentative: String,
}

impl Hypothesis {
    /// Longest text of each kind, in bytes: 30 s of fast speech have 1 KiB.
    pub const LONGEST: usize = 4 << 10;

    /// Only a guess, of which as much is kept as may be.
    #[must_use]
    pub fn guess(mut tentative: String) -> Self {
        tentative.truncate(tentative.floor_char_boundary(Self::LONGEST));
        Self {
            committed: String::new(),
            tentative,
        }
    }
}

/// Most committed text before its segment, in bytes. A message must have room for the segment.
const MOST: usize = 32 << 10;

/// The committed text since the last segment.
#[derive(Debug, Default)]
pub struct Committed(String);

impl Committed {
    /// Add the committed text of a hypothesis.
    ///
    /// # Errors
    /// The hypothesis, or all committed text together, is too long; or the text begins with white
    /// space, which no segment does.
    pub fn add(&mut self, hypothesis: &Hypothesis) -> Result<(), &'static str> {
        let Hypothesis {
            committed,
            tentative,
        } = hypothesis;
        if committed.len().max(tentative.len()) > Hypothesis::LONGEST {
            return Err("a text that is not final is too long");
        }
        if self.0.len() + committed.len() > MOST {
            return Err("the committed text before a segment is too long");
        }
        if self.0.is_empty() && committed.starts_with(char::is_whitespace) {
            return Err("the committed text of a segment begins with white space");
        }
        self.0.push_str(committed);
        Ok(())
    }

    /// The text of the next segment has come.
    ///
    /// # Errors
    /// It does not begin with what was committed.
    pub fn settle(&mut self, segment: &Segment) -> Result<(), &'static str> {
        match segment.text.starts_with(&self.0) {
            true => {
                self.0.clear();
                Ok(())
            }
            false => Err("a segment takes back committed text"),
        }
    }

    /// No more segments come.
    ///
    /// # Errors
    /// Text was committed that is in no segment.
    pub fn finish(&self) -> Result<(), &'static str> {
        match self.0.as_str() {
            "" => Ok(()),
            _ => Err("committed text is in no segment"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn committed(text: &str) -> Hypothesis {
        Hypothesis {
            committed: text.into(),
            tentative: String::new(),
        }
    }

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

    #[test]
    fn a_segment_keeps_what_was_committed_since_the_one_before() {
        let mut promise = Committed::default();
        promise.add(&committed("go")).unwrap();
        promise.add(&committed(" forward")).unwrap();
        assert!(promise.finish().is_err());
        promise.settle(&segment("go forward ten")).unwrap();
        promise.finish().unwrap();
        promise.add(&committed("meters")).unwrap();
        assert!(promise.settle(&segment("metres")).is_err());
    }

    #[test]
    fn committed_text_is_bounded_and_begins_with_a_word() {
        let mut promise = Committed::default();
        assert!(promise.add(&committed(" go")).is_err());
        let longest = "a".repeat(Hypothesis::LONGEST);
        assert!(promise.add(&committed(&(longest.clone() + "a"))).is_err());
        let tentative = Hypothesis {
            committed: String::new(),
            tentative: longest.clone() + "a",
        };
        assert!(promise.add(&tentative).is_err());
        for _ in 0..MOST / Hypothesis::LONGEST {
            promise.add(&committed(&longest)).unwrap();
        }
        assert!(promise.add(&committed("a")).is_err());
        promise.settle(&segment(&"a".repeat(MOST))).unwrap();
    }
}
