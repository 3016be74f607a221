//! The trait that every engine implements, so that the floors above need not know which engines
//! exist.

use std::{fmt::Debug, fs::FileType, path::Path, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{Capabilities, EngineError, LoadedModel};
use crate::{
    isolation::Needs,
    language::{nearest, primary_language},
    problems::Problems,
};

/// An engine, set up for one model. Each engine implements this in its own folder; `list.rs` names
/// them all.
pub trait EngineConfig: Debug {
    /// The table `[models.NAME.<engine>]` as it is written in the configuration.
    type Table: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned
    where
        Self: Sized;

    /// The settings that `table` says. Checks every rule that types cannot say, and adds what the
    /// model's files and the machine say. The present table of `problems` is this one.
    fn resolve(table: Self::Table, around: &Circumstances<'_>, problems: &mut Problems) -> Self
    where
        Self: Sized;

    /// The table for the model at `path`, an entry of the models directory that is a file or a
    /// folder; `None` if no entry of this kind is a model for this engine.
    ///
    /// # Errors
    /// The entry is not a model; the reason, in half a sentence.
    fn find(path: &Path, kind: FileType) -> Option<Result<Self::Table, String>>
    where
        Self: Sized,
    {
        let _ = (path, kind);
        None
    }

    /// Load the model. This reads files and maps libraries, so a hostile model may take over the
    /// process: call it only where a crash costs nothing but this model (mode `thread` excepted).
    /// Engines that run a program may write in `scratch`.
    ///
    /// # Errors
    /// The library or a file is missing or unusable; the message says what to do.
    fn load(&self, scratch: Option<&Path>) -> Result<LoadedModel, EngineError>;

    /// When the model is loaded, and what its processes must be allowed.
    fn needs(&self) -> Needs;

    /// A warning about settings that are allowed but may surprise, in half a sentence that follows
    /// the model's name.
    fn remark(&self) -> Option<String> {
        None
    }

    /// The environment variable that holds a secret of the engine, which nobody else may see.
    fn secret_variable(&self) -> Option<&str> {
        None
    }

    /// The name of the engine's maker, and the address of a page about the engine (or nothing).
    fn origin(&self) -> (&'static str, &'static str);

    /// The abilities that a request can ask for.
    fn capabilities(&self) -> Capabilities;

    /// ISO 639-1 codes of the languages that the model can transcribe; empty if nobody knows.
    fn languages(&self) -> Vec<&str>;

    /// The only language that the model can transcribe, by its ISO 639-1 code; `None` if there are
    /// more, or if nobody knows.
    fn language(&self) -> Option<&str> {
        match self.languages()[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The language that `tag` (from [`crate::language::tag`]) asks for, as the engine is told it:
    /// the nearest of those that it declared, or the code alone if it declared none. `None` if the
    /// model cannot transcribe it.
    fn understands(&self, tag: &str) -> Option<String> {
        match self.languages().as_slice() {
            [] => Some(primary_language(tag).to_owned()),
            known => nearest(tag, known).map(str::to_owned),
        }
    }

    /// Why its jobs cannot serve several requests (mode `hybrid`); `None` if they can.
    fn no_hybrid(&self) -> Option<&'static str> {
        None
    }

    /// Why it cannot run in a thread of the service (mode `thread`); `None` if it can.
    fn no_thread(&self) -> Option<&'static str> {
        None
    }

    /// Whether a request can ask it to misbehave, as `MODEL:MODE`. Only engines of test builds can
    /// be asked.
    fn takes_faults(&self) -> bool {
        false
    }
}

/// Facts outside of an engine's own table on which its rules depend.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Jobs that may run at once, at least 1.
    pub jobs: usize,
    /// `limits.pids`: threads and processes that a job may have.
    pub pids: u32,
    /// `limits.cpus`: CPUs that a job may keep busy; 0: all.
    pub cpus: f64,
    /// `limits.stall`: the time after which a silent job that does not use the CPU is killed.
    pub stall: Duration,
    /// systemd's folder of the service's credentials, if it has any.
    pub credentials: Option<&'a Path>,
}
