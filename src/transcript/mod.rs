//! What a transcription is: segments of text with times.

mod subtitles;

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
    /// The engine's own belief that the word is right, 0 to 1; `None` where the engine has none.
    pub confidence: Option<f32>,
}

/// A stretch of speech that the engine recognised as one piece.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// The text of the segment, without surrounding white space; never empty.
    pub text: String,
    /// Start, from the beginning of the recording.
    pub start: Duration,
    /// End, from the beginning of the recording; never before `start`.
    pub end: Duration,
    /// The words of the text with their times; empty where the engine gives none.
    pub words: Vec<Word>,
    /// How the engine came to the text; `None` where it does not tell.
    pub decoding: Option<Decoding>,
}

/// How a neural engine came to a segment, in the terms of OpenAI's API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decoding {
    /// Where the stretch of audio begins in which the segment was found.
    pub seek: Duration,
    /// The model's own numbers for the pieces of the text.
    pub tokens: Vec<u32>,
    /// How freely the tokens were chosen: 0 is not at all.
    pub temperature: f32,
    /// Mean of the logarithms of the tokens' probabilities.
    pub avg_logprob: f32,
    /// Length of the text against that of the text compressed: much above 2 it repeats itself.
    pub compression_ratio: f32,
    /// Probability that nobody speaks.
    pub no_speech_prob: f32,
}

impl Segment {
    /// The same without words and the figures of its engine: the text and when it was said.
    #[must_use]
    pub fn bare(self) -> Self {
        Self {
            words: Vec::new(),
            decoding: None,
            ..self
        }
    }

    /// How much memory it takes at most as one among others in a [`Transcript`], in bytes.
    #[must_use]
    pub fn held(&self) -> usize {
        let Self {
            text,
            start: _,
            end: _,
            words,
            decoding,
        } = self;
        let word = |word: &Word| piece(word.text.capacity());
        let tokens = decoding.as_ref().map_or(0, |decoding| {
            piece(decoding.tokens.capacity() * size_of::<u32>())
        });
        // A list that grows has room for twice as many.
        2 * size_of::<Self>()
            + piece(text.capacity())
            + piece(words.capacity() * size_of::<Word>())
            + words.iter().map(word).sum::<usize>()
            + tokens
    }

    /// The same, as much later in the recording: what was said in a piece of it that begins there.
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

/// What a piece of so many bytes takes of the heap: glibc puts 8 bytes before each and rounds up to 16, 32 at least.
fn piece(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        _ => (bytes + 8).next_multiple_of(16).max(32),
    }
}

/// The whole result of one request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// Segments in the order of time.
    pub segments: Vec<Segment>,
    /// Length of the decoded audio.
    pub duration: Duration,
    /// ISO 639 code of the language that was heard, where the engine found that out.
    pub language: Option<String>,
}

/// What stands between the texts of two segments.
pub const BETWEEN: &str = " ";

impl Transcript {
    /// What stands in the text between all that was said so far and the next segment.
    pub fn separator(&self) -> &'static str {
        match self.segments.is_empty() {
            true => "",
            false => BETWEEN,
        }
    }

    /// The text of all segments, joined by [`BETWEEN`]; empty for silence.
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self.segments.iter().map(|s| s.text.as_str()).collect();
        texts.join(BETWEEN)
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
        };
        let transcript = Transcript {
            segments: vec![segment("go forward"), segment("ten meters")],
            duration: Duration::from_secs(2),
            language: None,
        };
        assert_eq!(transcript.text(), "go forward ten meters");
        assert_eq!(Transcript::default().text(), "");
    }
}
