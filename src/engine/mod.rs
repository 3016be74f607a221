//! Engines: what a speech-to-text library must offer to be run in a job. Each engine is one folder
//! here and one line in `list.rs`.

pub mod azure;
mod capabilities;
mod config;
pub mod exec;
#[cfg(feature = "fault-engine")]
pub mod fault;
mod files;
pub(crate) mod list;
pub mod null;
pub mod pocketsphinx;
mod samples;
pub mod sherpa;
pub mod vosk;
#[cfg(feature = "whisper")]
pub mod whisper;

use std::{ops::ControlFlow, os::fd::BorrowedFd, time::Duration};

pub use self::{
    capabilities::Capabilities,
    config::{Circumstances, EngineConfig},
    files::cannot_run,
    list::{EngineKind, EngineSettings},
};
pub use crate::audio::SAMPLE_RATE;
use crate::{
    request::{Ask, Code},
    transcript::{Hypothesis, Segment},
};

/// Audio that the engine pulls, block by block.
pub trait AudioSource {
    /// The next block of mono samples (`f32`, −1 … 1, [`SAMPLE_RATE`]); `None` at the end of the
    /// recording or piece.
    ///
    /// # Errors
    /// The recording cannot be decoded further.
    fn next_block(&mut self) -> Result<Option<&[f32]>, EngineError>;

    /// All samples that are left, for engines that take a whole piece at once.
    ///
    /// # Errors
    /// As [`Self::next_block`].
    fn rest(&mut self) -> Result<Vec<f32>, EngineError> {
        let mut samples = Vec::new();
        while let Some(block) = self.next_block()? {
            samples.extend_from_slice(block);
        }
        Ok(samples)
    }

    /// Whether anybody still wants the transcript, for engines that can stop in the middle.
    fn is_wanted(&self) -> bool {
        true
    }

    /// Report that the engine is at work, although it neither takes audio nor gives segments nor
    /// uses the CPU.
    ///
    /// # Errors
    /// Nobody wants to know any more.
    fn at_work(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// A recording as it was uploaded, for engines that decode it themselves
/// ([`HearsOriginal`]).
pub trait OriginalSource {
    /// The next of its bytes; `None` at its end.
    ///
    /// # Errors
    /// It cannot be read.
    fn next_bytes(&mut self) -> Result<Option<&[u8]>, EngineError>;

    /// The extension of the upload's file name, and its media type.
    fn hint(&self) -> (Option<&str>, Option<&str>);

    /// Report how much audio the engine has heard. Only the engine knows that.
    ///
    /// # Errors
    /// It is longer than allowed, or nobody wants to know any more.
    fn heard(&mut self, audio: Duration) -> Result<(), EngineError>;
}

/// A result of an engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A piece of the transcript is final.
    Segment(Segment),
    /// Words that are not final yet, if [`Ask::partials`] asks for them.
    Hypothesis(Hypothesis),
}

impl Said {
    /// The same, found in a piece of the recording that begins at `by`.
    #[must_use]
    pub fn later(self, by: Duration) -> Self {
        match self {
            Self::Segment(segment) => Self::Segment(segment.later(by)),
            hypothesis @ Self::Hypothesis(_) => hypothesis,
        }
    }
}

/// Takes the results of an engine. `Break` means that nobody wants the rest.
pub type Emit<'a> = dyn FnMut(Said) -> ControlFlow<()> + 'a;

/// How an engine that hears samples wants to have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// In pieces of at most 30 s, each in its own [`HearsSamples::transcribe`] with times from the
    /// beginning of the piece. Parts without speech are left out.
    Pieces,
    /// As `Pieces`, but as long as possible: for engines to which a short piece is as much work as
    /// a long one.
    LongPieces,
    /// The whole recording at once: for engines that find the speech themselves.
    Whole,
}

/// A loaded model, by what its engine takes.
pub enum LoadedModel {
    /// The engine hears samples; the job decodes the recording.
    Samples(Box<dyn HearsSamples>),
    /// The engine takes the bytes of the upload, and decodes them itself.
    Original(Box<dyn HearsOriginal>),
}

impl LoadedModel {
    /// The loaded model as both kinds have it.
    pub fn engine(&mut self) -> &mut dyn Engine {
        match self {
            Self::Samples(engine) => engine.as_mut(),
            Self::Original(engine) => engine.as_mut(),
        }
    }
}

/// A loaded model, whatever it takes. It lives in the zygote or in a job. Each forked job uses it
/// for one recording, or in mode `hybrid` for one after the other: no result may depend on what was
/// transcribed before.
pub trait Engine {
    /// Prepare for another recording: forget what was kept from one piece of the recording before
    /// to the next.
    fn begin(&mut self) {}

    /// Codes of all languages that were heard in the recording so far, in the order in which they
    /// were first heard; empty if the engine does not find that out.
    fn languages(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Before each request: return as soon as something can be read from `request`, the job's
    /// channel. An engine that must watch something meanwhile does so, and may end the process.
    fn wait(&mut self, request: BorrowedFd<'_>) {
        let _ = request;
    }
}

/// An engine that hears samples.
pub trait HearsSamples: Engine {
    /// How it wants to have them.
    fn hearing(&self) -> Hearing {
        Hearing::Pieces
    }

    /// Whether it can hear a piece while it is being spoken. If so, and if [`Ask::partials`] asks
    /// for words before they are final, [`AudioSource::next_block`] waits for the speaker, and a
    /// piece also ends at each pause.
    fn hears_live(&self) -> bool {
        false
    }

    /// Transcribe one recording, or one piece of it, giving each segment to `emit` as soon as it is
    /// final. Hypotheses may come between them, if [`Ask::partials`] asks for them. The text of the
    /// next segment must begin with the text that they committed.
    ///
    /// `emit` answers `Break` when nobody wants the rest; the engine then returns `Ok` early.
    /// If nobody speaks, it emits no segment; that is not an error.
    ///
    /// # Errors
    /// The audio source failed, or the library did.
    fn transcribe(
        &mut self,
        audio: &mut dyn AudioSource,
        ask: &Ask,
        emit: &mut Emit<'_>,
    ) -> Result<(), EngineError>;
}

/// An engine that decodes recordings itself.
pub trait HearsOriginal: Engine {
    /// Transcribe one recording; otherwise as [`HearsSamples::transcribe`].
    ///
    /// # Errors
    /// The recording cannot be read, or the library failed.
    fn transcribe_original(
        &mut self,
        recording: &mut dyn OriginalSource,
        ask: &Ask,
        emit: &mut Emit<'_>,
    ) -> Result<(), EngineError>;
}

/// Why a model cannot be loaded or a recording cannot be transcribed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The library or one of the model's files is missing or unusable; the message names what to
    /// install or mend.
    #[error("{0}")]
    Unavailable(String),
    /// The library reported a failure in the middle of its work.
    #[error("{engine} failed: {reason}")]
    Failed {
        /// Name of the engine.
        engine: &'static str,
        /// The message of the library.
        reason: String,
    },
    /// The program that runs the model broke the protocol.
    #[error("{0}")]
    Misbehaved(String),
    /// The engine, which decodes recordings itself, cannot read this one.
    #[error("{0}")]
    Invalid(String),
    /// The remote service that the engine asks failed.
    #[error("{message}")]
    Upstream {
        /// The row of this failure in the table of codes.
        code: Code,
        /// The failure, and who can help.
        message: String,
    },
    /// The audio source ended the work early, for a reason of its own.
    #[error("the work was stopped")]
    Stopped,
    /// The audio could not be read on.
    #[error(transparent)]
    Audio(#[from] crate::audio::AudioError),
}

impl EngineError {
    /// The failure's row in the table of codes.
    pub fn code(&self) -> Code {
        match self {
            Self::Unavailable(_) | Self::Failed { .. } | Self::Stopped => Code::EngineFailed,
            Self::Misbehaved(_) => Code::WorkerMisbehaved,
            Self::Invalid(_) | Self::Audio(_) => Code::InvalidAudio,
            Self::Upstream { code, .. } => *code,
        }
    }
}
