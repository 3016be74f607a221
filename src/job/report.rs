//! The reports of a transcription while it works, and the wording of its failures.

use std::{cell::RefCell, ops::ControlFlow, time::Duration};

use crate::{
    engine::EngineError,
    request::{Code, Failure},
    transcript::{Hypothesis, Segment},
};

/// Length of audio between two progress messages: often enough for a deadline that grows with it.
pub(super) const PROGRESS_STEP: Duration = Duration::from_secs(1);

/// A recording of this length takes a time that people notice.
const LONG: Duration = Duration::from_secs(10);

/// Takes the reports of a transcription. `Break` means that the rest is not wanted.
pub trait Report {
    /// This much audio has been decoded.
    fn progress(&mut self, audio: Duration) -> ControlFlow<()>;
    /// The engine is done with this much `audio`, of so much in `total` if that is known.
    fn heard(&mut self, audio: Duration, total: Option<Duration>) -> ControlFlow<()>;
    /// Each of these channels has a speaker of its own; the first one is heard.
    fn channels(&mut self, channels: &[u16]) -> ControlFlow<()> {
        let _ = channels;
        ControlFlow::Continue(())
    }
    /// A piece of the transcript is final.
    fn segment(&mut self, segment: Segment) -> ControlFlow<()>;
    /// Words that are not final yet.
    fn hypothesis(&mut self, hypothesis: Hypothesis) -> ControlFlow<()> {
        let _ = hypothesis;
        ControlFlow::Continue(())
    }
    /// True if anybody listens. A supervisor that no longer listens to a job ends it instead.
    fn is_wanted(&self) -> bool {
        true
    }
}

/// How much of the recording the engine is done with, as was told.
#[derive(Default)]
pub(super) struct Heard {
    audio: Duration,
    /// Length of the recording, if it is known.
    pub(super) total: Option<Duration>,
}

impl Heard {
    /// Nothing is heard yet; the length of a recording that people will watch is told.
    ///
    /// # Errors
    /// As [`crate::engine::AudioSource::at_work`].
    pub(super) fn begin(&self, report: &RefCell<&mut dyn Report>) -> Result<(), EngineError> {
        match self.total {
            Some(total) if total >= LONG => self.tell(report),
            _ => Ok(()),
        }
    }

    /// The engine is done with this much `audio`. Told once for each second and at the end, unless
    /// the recording is so short that nobody will watch.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub(super) fn until(
        &mut self,
        audio: Duration,
        report: &RefCell<&mut dyn Report>,
    ) -> Result<(), EngineError> {
        let is_short = self.total.is_some_and(|total| total < LONG);
        let is_end = self.total == Some(audio) && audio > self.audio;
        if is_short || !(is_end || audio >= self.audio + PROGRESS_STEP) {
            return Ok(());
        }
        self.audio = audio;
        self.tell(report)
    }

    fn tell(&self, report: &RefCell<&mut dyn Report>) -> Result<(), EngineError> {
        // The length that a file claims may be a lie.
        let total = self.total.filter(|total| *total >= self.audio);
        match report.borrow_mut().heard(self.audio, total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(EngineError::Stopped),
        }
    }
}

/// Ignores all reports, for a rehearsal.
pub(super) struct Unheard;

impl Report for Unheard {
    fn progress(&mut self, _: Duration) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn heard(&mut self, _: Duration, _: Option<Duration>) -> ControlFlow<()> {
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
