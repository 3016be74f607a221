//! Words that are not final: honest ones, and those that no engine may give.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use super::{Emit, EngineError, Said, TEXT};
use crate::transcript::Hypothesis;

type Guessed = Result<Option<String>, EngineError>;

/// Say a hypothesis; true if nobody wants more.
fn guess(emit: &mut Emit<'_>, committed: &str, tentative: &str) -> bool {
    let hypothesis = Hypothesis {
        committed: committed.into(),
        tentative: tentative.into(),
    };
    emit(Said::Hypothesis(hypothesis)).is_break()
}

/// The text, word by word, if the client wants it before it is final.
pub(super) fn honest(emit: &mut Emit<'_>, are_wanted: bool) -> Guessed {
    if are_wanted {
        guess(emit, "", "folt");
        guess(emit, "fault", " end");
        guess(emit, " eng", "ine");
    }
    Ok(Some(TEXT.into()))
}

/// Guesses for this long, and nothing else, not even work.
pub(super) fn slow(emit: &mut Emit<'_>, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        sleep(Duration::from_millis(200));
        guess(emit, "", TEXT);
    }
}

/// Promise what the segment does not have.
pub(super) fn taken_back(emit: &mut Emit<'_>) {
    guess(emit, "go", " forward");
}

/// Promise what no segment has.
pub(super) fn lost(emit: &mut Emit<'_>) -> Guessed {
    guess(emit, "fault", "");
    Ok(None)
}

pub(super) fn long(emit: &mut Emit<'_>) {
    guess(emit, "", &"a".repeat(Hypothesis::LONGEST + 1));
}

pub(super) fn control_characters(emit: &mut Emit<'_>) {
    guess(emit, "", "\u{1b}[2J");
}

/// Guesses without an end.
pub(super) fn flood(emit: &mut Emit<'_>) -> Guessed {
    while !guess(emit, "", TEXT) {}
    Ok(None)
}

/// Promises without an end.
pub(super) fn promises(emit: &mut Emit<'_>) -> Guessed {
    let much = "a".repeat(Hypothesis::LONGEST);
    while !guess(emit, &much, "") {}
    Ok(None)
}
