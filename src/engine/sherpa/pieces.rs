//! Cuts what a model cannot hear at once, and notices if a text was cut off.
//!
//! The library gives Whisper 10 s of silence after each piece, and hears at most 29.5 s. With some
//! models it stops after a number of tokens for each second of the piece, whatever is left to say.
//! English needs about three tokens a second, and languages of other alphabets twice or three times
//! as many.

use super::result::Heard;
use crate::audio::SAMPLE_RATE;

/// Samples of one frame of features: 10 ms.
const FRAME: usize = SAMPLE_RATE as usize / 100;

/// Longest piece for Whisper, in samples: the library drops everything after 29.5 s.
pub(super) const LONGEST: usize = 2940 * FRAME;

/// Tokens after which the library stops in any case: half of Whisper's context.
const MOST_TOKENS: usize = 448 / 2;

/// Samples of which a piece is not cut further: 2 s. A text that is longer than that repeats
/// itself.
const SHORTEST: usize = 2 * SAMPLE_RATE as usize;

/// Whether the library stopped before the text of a piece of this many samples was at its end,
/// after `tokens_a_second`.
pub(super) fn is_cut_off(heard: &Heard, samples: usize, tokens_a_second: usize) -> bool {
    // The library may count a few frames less: Moonshine's are 24 ms.
    let frames = (samples / FRAME).saturating_sub(10);
    let most = (frames * tokens_a_second / 100).min(MOST_TOKENS);
    samples > SHORTEST && heard.tokens.len() >= most
}

/// The place in the middle half of `samples` at which it is quietest.
pub(super) fn quietest(samples: &[f32]) -> usize {
    /// Samples that must be quiet: 0.16 s.
    const QUIET: usize = 16 * FRAME;
    let quarter = samples.len() / 4;
    let loudness = |start: usize| -> f32 {
        let part = samples.get(start..start + QUIET).unwrap_or_default();
        part.iter().map(|sample| sample * sample).sum()
    };
    let places = (quarter..samples.len() - quarter).step_by(QUIET / 2);
    let best = places.min_by(|a, b| loudness(*a).total_cmp(&loudness(*b)));
    best.map_or(samples.len() / 2, |start| {
        (start + QUIET / 2).min(samples.len())
    })
}

#[cfg(test)]
mod tests {
    use super::{super::result::Token, *};

    #[test]
    fn a_text_as_long_as_the_library_allows_was_cut_off() {
        let heard = |tokens: usize| Heard {
            tokens: vec![
                Token {
                    bytes: b" a".to_vec(),
                    start: None,
                    duration: None,
                    logprob: None,
                };
                tokens
            ],
            ..Heard::default()
        };
        let second = SAMPLE_RATE as usize;
        assert!(!is_cut_off(&heard(58), 10 * second, 6));
        assert!(is_cut_off(&heard(59), 10 * second, 6));
        assert!(is_cut_off(&heard(175), LONGEST, 6));
        // It is not cut further.
        assert!(!is_cut_off(&heard(100), SHORTEST, 6));
    }

    #[test]
    fn cuts_are_in_the_middle_and_in_silence() {
        let mut samples = vec![1.0; 20 * FRAME * 100];
        assert!((5 * FRAME * 100..=15 * FRAME * 100 + FRAME * 16).contains(&quietest(&samples)));
        samples[7 * FRAME * 100..][..FRAME * 50].fill(0.0);
        let place = quietest(&samples);
        assert!(
            (7 * FRAME * 100..7 * FRAME * 100 + FRAME * 50).contains(&place),
            "{place}"
        );
    }
}
