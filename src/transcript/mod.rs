//! The result of a transcription: segments of text with times.

mod hypothesis;
mod script;
mod subtitles;

pub use hypothesis::{Committed, Hypothesis};
pub use script::{between, decides_separator};
pub use subtitles::Lines;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One word with its place in the recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// The word as recognised, without surrounding white space.
    pub text: String,
    /// Start, from the beginning of the recording.
    pub start: Duration,
    /// End, from the beginning of the recording; never before `start`.
    pub end: Duration,
    /// The engine's confidence in the word, 0 to 1; `None` if the engine gives none.
    pub confidence: Option<f32>,
}

/// A part of the speech that the engine recognised as one unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// The text of the segment, without surrounding white space; never empty.
    pub text: String,
    /// Start, from the beginning of the recording.
    pub start: Duration,
    /// End, from the beginning of the recording; never before `start`.
    pub end: Duration,
    /// Words of the text with their times; empty if the engine gives none.
    pub words: Vec<Word>,
    /// Details of the decoding; `None` if the engine gives none.
    pub decoding: Option<Decoding>,
    /// The person who speaks, by the name or letter that tells persons apart; `None` if nobody
    /// asked for it, or if it is not known.
    pub speaker: Option<String>,
}

/// Details of how a neural engine found a segment, in the terms of OpenAI's API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decoding {
    /// Start of the audio window in which the segment was found.
    pub seek: Duration,
    /// The model's token numbers of the text.
    pub tokens: Vec<u32>,
    /// Sampling temperature at which the tokens were chosen; 0 means always the likeliest.
    pub temperature: f32,
    /// Mean of the logarithms of the tokens' probabilities.
    pub avg_logprob: f32,
    /// Length of the text divided by its compressed length. Far above 2 the text repeats itself.
    pub compression_ratio: f32,
    /// Probability that the segment has no speech.
    pub no_speech_prob: f32,
}

impl Segment {
    /// The same segment without words and engine details: only the text and its times.
    #[must_use]
    pub fn bare(self) -> Self {
        Self {
            words: Vec::new(),
            decoding: None,
            ..self
        }
    }

    /// Largest memory use of this segment as one of several in a [`Transcript`], in bytes.
    #[must_use]
    pub fn held(&self) -> usize {
        let Self {
            text,
            start: _,
            end: _,
            words,
            decoding,
            speaker,
        } = self;
        let word = |word: &Word| piece(word.text.capacity());
        let tokens = decoding.as_ref().map_or(0, |decoding| {
            piece(decoding.tokens.capacity() * size_of::<u32>())
        });
        // A growing vector has capacity for twice its length.
        2 * size_of::<Self>()
            + piece(text.capacity())
            + piece(words.capacity() * size_of::<Word>())
            + words.iter().map(word).sum::<usize>()
            + tokens
            + speaker.as_ref().map_or(0, |name| piece(name.capacity()))
    }

    /// The segment moved to a later time, for text found in a piece of the recording that begins at
    /// `by`.
    #[must_use]
    pub fn later(mut self, by: Duration) -> Self {
        let words = self.words.iter_mut();
        let times = words.flat_map(|word| [&mut word.start, &mut word.end]);
        let seek = self.decoding.as_mut().map(|decoding| &mut decoding.seek);
        for time in times.chain([&mut self.start, &mut self.end]).chain(seek) {
            *time = time.saturating_add(by);
        }
        self
    }
}

/// Most characters of a speaker's name.
const MAX_NAME: usize = 100;

/// True if `name` can be that of a speaker: one line of text, without spaces around it.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_text = !name.is_empty() && name.trim() == name && !name.contains(char::is_control);
    is_text && name.chars().count() <= MAX_NAME
}

/// Heap use of an allocation of this many bytes: glibc adds 8 bytes and rounds up to a multiple of
/// 16, at least 32.
fn piece(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        _ => (bytes + 8).next_multiple_of(16).max(32),
    }
}

/// The whole result of one request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// Segments in order of time.
    pub segments: Vec<Segment>,
    /// Length of the decoded audio.
    pub duration: Duration,
    /// ISO 639 codes of the detected languages, in the order in which they were first heard; empty
    /// if the engine detects none.
    pub languages: Vec<String>,
}

impl Transcript {
    /// Separator between the text so far and the next segment.
    pub fn separator(&self, next: &Segment) -> &'static str {
        let last = self.segments.last();
        last.map_or("", |last| between(&last.text, &next.text))
    }

    /// The text of all segments, joined as [`between`] says; empty for silence.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut before = None;
        for segment in &self.segments {
            text += before.map_or("", |before| between(before, &segment.text));
            text += &segment.text;
            before = Some(segment.text.as_str());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_segment_is_the_same_but_for_its_times() {
        let second = Duration::from_secs;
        let at = |seconds| Segment {
            text: "ten".into(),
            start: second(seconds),
            end: second(seconds + 2),
            words: vec![Word {
                text: "ten".into(),
                start: second(seconds),
                end: second(seconds + 1),
                confidence: Some(0.5),
            }],
            decoding: Some(Decoding {
                seek: second(seconds),
                tokens: vec![50_363, 2724],
                temperature: 0.0,
                avg_logprob: -0.25,
                compression_ratio: 0.5,
                no_speech_prob: 0.125,
            }),
            speaker: None,
        };
        assert_eq!(at(1).later(second(30)), at(31));
    }

    #[test]
    fn text_joins_segments_with_one_space_and_is_empty_for_silence() {
        let segment = |text: &str| Segment {
            text: text.into(),
            start: Duration::ZERO,
            end: Duration::from_secs(1),
            words: vec![],
            decoding: None,
            speaker: None,
        };
        let transcript = Transcript {
            segments: vec![segment("go forward"), segment("ten meters")],
            duration: Duration::from_secs(2),
            languages: Vec::new(),
        };
        assert_eq!(transcript.text(), "go forward ten meters");
        assert_eq!(Transcript::default().text(), "");
    }
}
