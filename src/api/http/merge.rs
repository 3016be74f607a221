//! Brings the segments of several channels into the order of time, and gives speakers their names.

use std::{collections::VecDeque, time::Duration};

use crate::transcript::Segment;

/// The speaker of segments whose speaker nobody knows.
pub(super) const UNKNOWN: &str = "unknown";

/// The segments of several channels on their way into one order. Each channel's own segments come
/// in order.
#[derive(Debug, Default)]
pub(super) struct Merge {
    lines: Vec<Line>,
}

/// One channel.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Segment>,
    /// Start of its last segment: none that begins earlier will come. `None` before the first one.
    reached: Option<Duration>,
    is_over: bool,
}

impl Merge {
    /// Merge so many channels.
    pub(super) fn of(channels: usize) -> Self {
        Self {
            lines: (0..channels).map(|_| Line::default()).collect(),
        }
    }

    /// A segment of channel number `line` of the merged ones.
    pub(super) fn push(&mut self, line: usize, segment: Segment) {
        if let Some(line) = self.lines.get_mut(line) {
            line.reached = Some(segment.start);
            line.waiting.push_back(segment);
        }
    }

    /// No segment of this channel will come any more.
    pub(super) fn end(&mut self, line: usize) {
        if let Some(line) = self.lines.get_mut(line) {
            line.is_over = true;
        }
    }

    /// The next segment in the order of time, with the place of its channel; `None` while an
    /// earlier one can still come.
    pub(super) fn next(&mut self) -> Option<(usize, Segment)> {
        let first = |(place, line): (usize, &Line)| Some((line.waiting.front()?.start, place));
        let (start, place) = self.lines.iter().enumerate().filter_map(first).min()?;
        let has_come = |line: &Line| line.is_over || line.reached.is_some_and(|at| at >= start);
        if !self.lines.iter().all(has_come) {
            return None;
        }
        Some((place, self.lines[place].waiting.pop_front()?))
    }

    /// How many channels have had segments. Final as soon as [`Self::next`] has given one.
    pub(super) fn speaking(&self) -> usize {
        let spoke = |line: &&Line| line.reached.is_some();
        self.lines.iter().filter(spoke).count()
    }
}

/// The names of a request's speakers.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Those that the client gave, in the order of channels.
    known: Vec<String>,
    /// The model's labels of its speakers, in the order of their first words, with the letter of
    /// each.
    found: Vec<(String, String)>,
}

impl Names {
    /// The names that the client gave.
    pub(super) fn of(known: Vec<String>) -> Self {
        Self {
            known,
            found: Vec::new(),
        }
    }

    /// True if the client gave names.
    pub(super) fn are_given(&self) -> bool {
        !self.known.is_empty()
    }

    /// The name of the speaker on `channel`: as OpenAI's service does it, a letter without a name.
    pub(super) fn of_channel(&self, channel: u16) -> String {
        let known = match self.known.as_slice() {
            // One name is that of the only voice.
            [only] => Some(only),
            known => known.get(usize::from(channel)),
        };
        known.cloned().unwrap_or_else(|| letter(channel.into()))
    }

    /// The name of a speaker whom the model told from others, and calls `label`; `None` if it does
    /// not know who speaks.
    pub(super) fn of_label(&mut self, label: Option<&str>) -> String {
        let Some(label) = label else {
            return match self.known.as_slice() {
                [only] => only.clone(),
                _ => UNKNOWN.into(),
            };
        };
        if let Some((_, letter)) = self.found.iter().find(|(found, _)| found == label) {
            return letter.clone();
        }
        let letter = letter(self.found.len());
        self.found.push((label.to_owned(), letter.clone()));
        letter
    }
}

/// The letters of the speakers: A to Z, then AA, AB and so on.
fn letter(number: usize) -> String {
    let last = char::from(b'A' + (number % 26) as u8);
    match number / 26 {
        0 => last.to_string(),
        rest => format!("{}{last}", letter(rest - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(text: &str, start: u64) -> Segment {
        Segment {
            text: text.into(),
            start: Duration::from_secs(start),
            end: Duration::from_secs(start + 1),
            words: Vec::new(),
            decoding: None,
            speaker: None,
        }
    }

    fn taken(merge: &mut Merge) -> Vec<(usize, String)> {
        let next = std::iter::from_fn(|| merge.next());
        next.map(|(line, segment)| (line, segment.text)).collect()
    }

    fn expected(texts: &[(usize, &str)]) -> Vec<(usize, String)> {
        let texts = texts.iter();
        texts
            .map(|(line, text)| (*line, (*text).to_owned()))
            .collect()
    }

    #[test]
    fn segments_come_in_the_order_of_time_whoever_is_faster() {
        let mut merge = Merge::of(2);
        merge.push(0, segment("how", 0));
        merge.push(0, segment("what", 5));
        assert!(taken(&mut merge).is_empty());
        merge.push(1, segment("fine", 3));
        assert_eq!(taken(&mut merge), expected(&[(0, "how"), (1, "fine")]));
        // Something between 3 and 5 can still come from channel 1.
        merge.push(1, segment("thanks", 4));
        assert_eq!(taken(&mut merge), expected(&[(1, "thanks")]));
        merge.end(1);
        assert_eq!(taken(&mut merge), expected(&[(0, "what")]));
        merge.push(0, segment("bye", 9));
        assert_eq!(taken(&mut merge), expected(&[(0, "bye")]));
        assert_eq!(merge.speaking(), 2);
    }

    #[test]
    fn at_the_same_time_the_first_channel_comes_first() {
        let mut merge = Merge::of(3);
        for line in [2, 1, 0] {
            merge.push(line, segment("a", 1));
            merge.end(line);
        }
        assert_eq!(taken(&mut merge), expected(&[(0, "a"), (1, "a"), (2, "a")]));
        let mut merge = Merge::of(2);
        merge.push(1, segment("a", 0));
        merge.end(1);
        assert!(taken(&mut merge).is_empty());
        merge.end(0);
        assert_eq!(taken(&mut merge), expected(&[(1, "a")]));
        assert_eq!(merge.speaking(), 1);
    }

    #[test]
    fn channels_have_letters_unless_they_have_names() {
        let names = Names::default();
        assert_eq!(names.of_channel(0), "A");
        assert_eq!(names.of_channel(7), "H");
        let names = Names::of(vec!["Ann".into(), "Bob".into()]);
        assert_eq!(names.of_channel(1), "Bob");
        assert_eq!(Names::of(vec!["Ann".into()]).of_channel(1), "Ann");
        assert_eq!([25, 26, 52, 702].map(letter), ["Z", "AA", "BA", "AAA"]);
    }

    #[test]
    fn voices_have_letters_in_the_order_of_their_first_words() {
        let mut names = Names::default();
        let labels = [Some("speaker 7"), None, Some("x"), Some("speaker 7")];
        assert_eq!(
            labels.map(|l| names.of_label(l)),
            ["A", "unknown", "B", "A"]
        );
        assert_eq!(Names::of(vec!["Ann".into()]).of_label(None), "Ann");
    }
}
