//! What a speech-to-text library must offer to be run in a job.

pub mod azure;
mod capabilities;
pub mod exec;
#[cfg(feature = "fault-engine")]
pub mod fault;
mod files;
mod list;
pub mod null;
pub mod pocketsphinx;
mod samples;
pub mod vosk;
#[cfg(feature = "whisper")]
pub mod whisper;

use std::{ops::ControlFlow, os::fd::BorrowedFd, path::Path, time::Duration};

pub use self::{
    capabilities::Capabilities,
    list::{EngineKind, EngineSettings},
};
pub use crate::audio::SAMPLE_RATE;
use crate::transcript::Segment;

/// Audio as the engine pulls it, block by block.
pub trait AudioSource {
    /// The next block of mono samples (`f32`, −1 … 1, [`SAMPLE_RATE`]); `None` at the end of the recording or piece.
    ///
    /// # Errors
    /// The recording cannot be decoded further.
    fn next_block(&mut self) -> Result<Option<&[f32]>, EngineError>;

    /// Whether anybody still wants what is heard, for engines that can stop in the middle.
    fn is_wanted(&self) -> bool {
        true
    }

    /// Say that the engine is at work though it neither takes audio nor gives segments nor needs the CPU.
    ///
    /// # Errors
    /// Nobody wants to know any more.
    fn at_work(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// A recording as it was uploaded, for engines that decode it themselves ([`Hearing::Original`]).
pub trait OriginalSource {
    /// The next of its bytes; `None` at its end.
    ///
    /// # Errors
    /// It cannot be read.
    fn next_bytes(&mut self) -> Result<Option<&[u8]>, EngineError>;

    /// What the upload was called: the extension of its file name, and its media type.
    fn hint(&self) -> (Option<&str>, Option<&str>);

    /// The engine has heard so much of it: nobody else knows.
    ///
    /// # Errors
    /// It is longer than allowed, or nobody wants to know any more.
    fn heard(&mut self, audio: Duration) -> Result<(), EngineError>;
}

/// How an engine wants to hear a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// In pieces of at most 30 s, each an [`Engine::transcribe`] of its own with times from the piece's beginning.
    /// What is no speech is left out.
    Pieces,
    /// Likewise, but as long as can be: for engines to which a short piece is as much work as a long one.
    LongPieces,
    /// As it is, from beginning to end: for engines that find the speech themselves.
    Whole,
    /// As it was uploaded, byte by byte: for engines that decode it themselves ([`Engine::transcribe_original`]).
    Original,
}

/// What one request asks of the engine; nothing that the model is not capable of (`config::Capabilities`).
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// ISO 639-1 code of the spoken language; `None` lets the engine decide.
    pub language: Option<String>,
    /// Text that leads up to the recording, or shows how to write.
    pub prompt: Option<String>,
    /// Words to be expected.
    pub keywords: Vec<String>,
    /// How freely to choose among likely words, 0 to 1.
    pub temperature: Option<f32>,
    /// Write in English what is said, whatever language it is in.
    pub translate: bool,
    /// The service's own question whether the model works: nobody elsewhere is to be asked, who may want money for it.
    pub self_test: bool,
    /// What a test asks of the engine `fault`.
    pub fault: Option<String>,
}

/// A loaded model. It lives in the zygote (or in a job) and is used by each forked job for one recording, or in mode
/// `hybrid` for one after the other: no result may depend on what was transcribed before.
pub trait Engine {
    /// How it wants to hear a recording.
    fn hearing(&self) -> Hearing {
        Hearing::Pieces
    }

    /// Another recording comes: what was kept from one piece of it to the next belongs to the past.
    fn begin(&mut self) {}

    /// Code of the language that was heard in the recording so far, if the engine finds that out.
    fn language(&self) -> Option<&str> {
        None
    }

    /// Before each request: return as soon as something can be read from `request`, the job's channel. An engine that must
    /// watch something meanwhile does so, and may end the process.
    fn wait(&mut self, request: BorrowedFd<'_>) {
        let _ = request;
    }

    /// Transcribe one recording that the engine decodes itself; otherwise as [`Self::transcribe`].
    ///
    /// # Errors
    /// The recording cannot be read, or the library failed.
    fn transcribe_original(
        &mut self,
        recording: &mut dyn OriginalSource,
        options: &Options,
        emit: &mut dyn FnMut(Segment) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let _ = (recording, options, emit);
        Err(EngineError::Unavailable(
            "it cannot decode recordings".into(),
        ))
    }

    /// Transcribe one recording, or one piece of it, giving each segment to `emit` as soon as it is final.
    ///
    /// `emit` answers `Break` when nobody wants the rest; the engine then returns `Ok` early.
    /// Silence is no error: it emits no segment.
    ///
    /// # Errors
    /// The audio source failed, or the library did.
    fn transcribe(
        &mut self,
        audio: &mut dyn AudioSource,
        options: &Options,
        emit: &mut dyn FnMut(Segment) -> ControlFlow<()>,
    ) -> Result<(), EngineError>;
}

/// Why a model cannot be loaded or a recording cannot be transcribed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The library or one of the model's files is missing or unusable; the message names what to install or mend.
    #[error("{0}")]
    Unavailable(String),
    /// The library reported a failure in the middle of its work.
    #[error("{engine} failed: {reason}")]
    Failed {
        /// Name of the engine.
        engine: &'static str,
        /// What the library said.
        reason: String,
    },
    /// What runs the model broke the rules by which it is talked to.
    #[error("{0}")]
    Misbehaved(String),
    /// The engine, which decodes recordings itself, cannot read this one.
    #[error("{0}")]
    Invalid(String),
    /// The service elsewhere that the engine asks did.
    #[error("{message}")]
    Upstream {
        /// What became of the question.
        trouble: Trouble,
        /// What is wrong and who can help.
        message: String,
    },
    /// The audio source ended the work early, for a reason of its own.
    #[error("the work was stopped")]
    Stopped,
    /// The audio could not be read on.
    #[error(transparent)]
    Audio(#[from] crate::audio::AudioError),
}

/// What can go wrong with a service elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It refuses: the key, or what was asked of it.
    Refused,
    /// It has too much to do.
    Busy,
    /// It failed, or cannot be reached.
    Failed,
    /// It did not answer in time.
    Silent,
}

/// Load the model that `settings` name. Reads files and maps libraries: call it only where a crash costs nothing but
/// this model (mode `thread` excepted). `scratch` is the folder in which it may write, for engines that run a program.
///
/// # Errors
/// The library or a file is missing or unusable; the message says what to do.
pub fn load(
    settings: &EngineSettings,
    scratch: Option<&Path>,
) -> Result<Box<dyn Engine>, EngineError> {
    match settings {
        EngineSettings::Exec(settings) => Ok(Box::new(exec::load(settings, scratch)?)),
        EngineSettings::Pocketsphinx(settings) => Ok(Box::new(pocketsphinx::load(settings)?)),
        EngineSettings::Vosk(settings) => Ok(Box::new(vosk::load(settings)?)),
        #[cfg(feature = "whisper")]
        EngineSettings::Whisper(settings) => Ok(Box::new(whisper::load(settings)?)),
        EngineSettings::Azure(settings) => Ok(Box::new(azure::load(settings)?)),
        #[cfg(feature = "fault-engine")]
        EngineSettings::Null => Ok(Box::new(null::Null)),
        #[cfg(feature = "fault-engine")]
        EngineSettings::Fault(settings) => Ok(Box::new(fault::load(settings)?)),
    }
}
