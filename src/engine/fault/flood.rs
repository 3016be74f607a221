//! More words than anybody can take, and words that cannot be.

use std::{io::Write, thread::Builder, time::Duration};

use super::{Emit, EngineError, Said, TEXT, failed, segment};
use crate::transcript::{Decoding, Segment, Word};

/// Size of a flood of stderr, in bytes.
pub(super) const MUCH: usize = 16 << 20;

/// Text that fits into a message, with hardly any room left.
const LONG: usize = 60 << 10;

/// Write to stderr, whether or not anybody takes it.
pub(super) fn stderr(mut left: usize) {
    let line = [b"all work and no play makes jack a dull boy\n".as_slice(); 1000].concat();
    while left > 0 {
        let _ = std::io::stderr().write_all(&line);
        left = left.saturating_sub(line.len());
    }
}

/// The same without an end, on threads that go on while the job answers.
pub(super) fn stderr_for_ever() -> Result<(), EngineError> {
    for _ in 0..4 {
        let thread = Builder::new().spawn(|| {
            loop {
                stderr(MUCH);
            }
        });
        thread.map_err(|error| failed(format!("it cannot start a thread: {error}")))?;
    }
    Ok(())
}

type Flooded = Result<Option<String>, EngineError>;

/// Emit segments until nobody wants them any more.
fn for_ever(emit: &mut Emit<'_>, segment: &Segment) -> Flooded {
    loop {
        if emit(Said::Segment(segment.clone())).is_break() {
            return Ok(None);
        }
    }
}

/// Emit `count` good segments as fast as possible.
pub(super) fn burst(emit: &mut Emit<'_>, count: usize, length: Duration) -> Flooded {
    for _ in 0..count {
        let _ = emit(Said::Segment(segment(TEXT.into(), length)));
    }
    Ok(None)
}

/// Segments of one letter.
pub(super) fn output(emit: &mut Emit<'_>) -> Flooded {
    for_ever(emit, &segment("a".into(), Duration::ZERO))
}

/// Segments as long as a message can hold.
pub(super) fn text(emit: &mut Emit<'_>) -> Flooded {
    for_ever(emit, &segment("a".repeat(LONG), Duration::ZERO))
}

/// Segments of words without a letter: nothing to send, but memory for whoever keeps them.
pub(super) fn words(emit: &mut Emit<'_>) -> Flooded {
    let word = word("", None);
    let mut segment = segment("a".into(), Duration::ZERO);
    // Each is six bytes on the channel.
    segment.words = vec![word; 10_000];
    for_ever(emit, &segment)
}

fn word(text: &str, confidence: Option<f32>) -> Word {
    Word {
        text: text.into(),
        start: Duration::ZERO,
        end: Duration::ZERO,
        confidence,
    }
}

/// One segment from `start` to `end` in milliseconds.
fn say(emit: &mut Emit<'_>, text: &str, start: u64, end: u64) {
    let _ = emit(Said::Segment(Segment {
        start: Duration::from_millis(start),
        ..segment(text.into(), Duration::from_millis(end))
    }));
}

pub(super) fn out_of_order(emit: &mut Emit<'_>) {
    say(emit, "second", 500, 600);
    say(emit, "first", 100, 200);
}

pub(super) fn bad_times(emit: &mut Emit<'_>) {
    say(emit, "it ends before it starts", 500, 400);
}

pub(super) fn beyond_the_end(emit: &mut Emit<'_>) {
    say(emit, "a year later", 0, 365 * 24 * 3600 * 1000);
}

pub(super) fn empty_text(emit: &mut Emit<'_>) {
    say(emit, "", 0, 100);
}

pub(super) fn control_characters(emit: &mut Emit<'_>) {
    say(emit, "\u{1b}]0;your terminal is mine\u{7}", 0, 100);
}

pub(super) fn nan_confidence(emit: &mut Emit<'_>) {
    let mut segment = segment("not a number".into(), Duration::ZERO);
    segment.words.push(word("not", Some(f32::NAN)));
    let _ = emit(Said::Segment(segment));
}

pub(super) fn nan_figures(emit: &mut Emit<'_>) {
    let mut segment = segment("not a number".into(), Duration::ZERO);
    segment.decoding = Some(Decoding {
        seek: Duration::ZERO,
        tokens: vec![1],
        temperature: 0.0,
        avg_logprob: f32::NAN,
        compression_ratio: 1.0,
        no_speech_prob: 0.0,
    });
    let _ = emit(Said::Segment(segment));
}
