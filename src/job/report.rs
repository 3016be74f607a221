//! The reports of a transcription while it works, and the wording of its failures.

use std::{ops::ControlFlow, time::Duration};

use crate::{
    engine::EngineError,
    request::{Code, Failure},
    transcript::Segment,
};

/// Takes the reports of a transcription. `Break` means that the rest is not wanted.
pub trait Report {
    /// This much audio has been decoded.
    fn progress(&mut self, audio: Duration) -> ControlFlow<()>;
    /// A piece of the transcript is final.
    fn segment(&mut self, segment: Segment) -> ControlFlow<()>;
    /// True if anybody listens. A supervisor that no longer listens to a job ends it instead.
    fn is_wanted(&self) -> bool {
        true
    }
}

/// Ignores all reports, for a rehearsal.
pub(super) struct Unheard;

impl Report for Unheard {
    fn progress(&mut self, _: Duration) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn segment(&mut self, _: Segment) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// The recording is longer than `limit`.
pub(super) fn too_long(limit: Duration) -> Failure {
    let seconds = limit.as_secs();
    Failure::new(
        Code::AudioTooLong,
        format!("the recording is longer than the {seconds} s that this model transcribes"),
    )
}

/// The engine, or the audio that it pulls, failed.
pub(super) fn failure(error: &EngineError) -> Failure {
    Failure::new(error.code(), error.to_string())
}
