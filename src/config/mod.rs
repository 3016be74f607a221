//! What the administrator can set, and nothing else: schema, defaults, where it comes from, validation.

mod access;
mod azure;
mod clients;
mod exec;
mod found;
#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used, clippy::panic)]
pub(crate) mod fuzzing;
mod language;
mod model;
mod schema;
mod source;
mod stamp;
#[cfg(test)]
mod tests;
mod units;
mod validate;
mod vosk;
#[cfg(feature = "whisper")]
mod whisper;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

pub use access::Access;
pub use azure::{AzureKey, AzureService, AzureSettings, AzureTable};
pub use clients::{Clients, Share, ShareOverride};
pub use exec::{Capability, ExecSettings};
pub use language::{is_language_code, primary_language};
#[cfg(feature = "fault-engine")]
pub use model::FaultSettings;
pub use model::{
    Capabilities, EngineKind, EngineSettings, Limits, Mode, PocketsphinxSettings, Preload, Profile,
    Recycle, Spares,
};
pub use schema::{Breaker, File, Health, Http, Isolation, Jobs, LogLevel, Memory, Service, Zygote};
pub use stamp::Stamp;
pub use units::{ByteSize, Lifetime, MemoryBudget};
pub use validate::MIN_JOB_MEMORY;
pub use vosk::VoskSettings;
#[cfg(feature = "whisper")]
pub use whisper::WhisperSettings;

/// The file that is read when none is named.
pub const DEFAULT_PATH: &str = "/etc/stt-isolated/stt-isolated.toml";

/// Where the service's state is if systemd does not say it (`StateDirectory=`).
pub const DEFAULT_STATE: &str = "/var/lib/stt-isolated";

/// A validated configuration: every name resolves, every value is possible.
#[derive(Clone, Debug)]
pub struct Config {
    /// The model that serves a request which names none; always one of `models`.
    pub default_model: String,
    /// The daemon as systemd sees it.
    pub service: Service,
    /// Clients' connections and uploads.
    pub http: Http,
    /// How jobs are kept apart.
    pub isolation: Isolation,
    /// How many jobs run, and how many requests wait for one; `max_running` is at least 1.
    pub jobs: Jobs,
    /// How much memory all jobs may have together.
    pub memory: Memory,
    /// Who may ask, and how much of the service one of them may have.
    pub clients: Access,
    /// Loading of models.
    pub zygote: Zygote,
    /// How models prove that they still work.
    pub health: Health,
    /// When a model that crashes again and again is left alone.
    pub breaker: Breaker,
    /// The models, ordered by name; at least one.
    pub models: Vec<Model>,
    /// What is in the models directory and not served, and why: for the log.
    pub remarks: Vec<String>,
}

/// One model, with the general tables already applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The name that clients use.
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// What serves its requests.
    pub mode: Mode,
    /// The engine and its files.
    pub engine: EngineSettings,
    /// Which files these were when the configuration was read.
    pub files: Vec<Option<Stamp>>,
    /// What one job of this model may use.
    pub limits: Limits,
    /// Jobs that are forked ahead of their request.
    pub spares: Spares,
    /// When a job that serves several requests ends (mode `hybrid`).
    pub recycle: Recycle,
}

impl Model {
    /// Whether what serves `other` can serve this model as well: it has the same engine and mode, loaded from the very
    /// same files.
    pub fn loads_like(&self, other: &Self) -> bool {
        (self.mode, &self.engine, &self.files) == (other.mode, &other.engine, &other.files)
    }
}

impl Config {
    /// Read, merge and validate: the file at `path`, or [`DEFAULT_PATH`] where none is named (whose absence is
    /// no mistake: the defaults serve), under the variables of `environment`.
    ///
    /// # Errors
    /// Every mistake with file, line and key.
    pub fn load(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let (file, text) = read(path)?;
        Self::of(file, &text, environment)
    }

    /// The configuration that was read from `file`, under the variables of `environment`.
    fn of(
        file: &Path,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let source = source::Source::new(file, text, environment);
        let settings = source.parse()?;
        let directory = match &settings.models_directory {
            unset if unset.as_os_str().is_empty() => source.state().join("models"),
            directory => directory.clone(),
        };
        validate::validate(settings, &source, Some(&directory))
    }

    /// As [`Self::load`], but with no other model than the one in the file or folder `model`, as it would be served from
    /// the models directory: in a process, and with no spare.
    ///
    /// # Errors
    /// As [`Self::load`]; or it is no model.
    pub fn load_one(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        model: &Path,
    ) -> Result<Self, ConfigError> {
        /// What it is called meanwhile.
        const NAME: &str = "model";
        let no_model = |reason: String| ConfigError::NoModel {
            path: model.into(),
            reason,
        };
        let kind = std::fs::metadata(model).map_err(|error| no_model(error.to_string()))?;
        let table = found::settings(model, kind.file_type()).map_err(no_model)?;
        let (file, text) = read(path)?;
        let source = source::Source::new(file, &text, environment);
        let mut settings = source.parse()?;
        settings.models = [(NAME.into(), table)].into();
        settings.default_model = NAME.into();
        settings.aliases.clear();
        let mut config = validate::validate(settings, &source, None)?;
        for model in &mut config.models {
            model.mode = Mode::Process;
            (model.spares.min, model.spares.max) = (0, 0);
        }
        Ok(config)
    }

    /// The model that a client means by `name`, be it a name or an alias.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models
            .iter()
            .find(|model| model.name == name || model.aliases.iter().any(|alias| alias == name))
    }

    /// The environment variables that hold secrets of engines, as far as any model says so.
    pub fn secret_variables(&self) -> Vec<&str> {
        let models = self.models.iter();
        models
            .filter_map(|model| model.engine.secret_variable())
            .collect()
    }

    /// Take `MODEL:MODE` apart where `MODEL` has the engine `fault`. Every other name stays as it is; no model's own
    /// name has a colon.
    #[cfg(feature = "fault-engine")]
    pub fn split_fault(&self, name: String) -> (String, Option<String>) {
        match name.split_once(':') {
            Some((model, mode))
                if self
                    .model(model)
                    .is_some_and(|model| matches!(model.engine, EngineSettings::Fault(_))) =>
            {
                (model.into(), Some(mode.into()))
            }
            _ => (name, None),
        }
    }
}

/// The file at `path`, or at [`DEFAULT_PATH`] where none is named, which may be missing; and its text.
fn read(path: Option<&Path>) -> Result<(&Path, String), ConfigError> {
    let file = path.unwrap_or(Path::new(DEFAULT_PATH));
    match std::fs::read_to_string(file) {
        Ok(text) => Ok((file, text)),
        Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => {
            Ok((file, String::new()))
        }
        Err(source) => Err(ConfigError::Read {
            path: file.into(),
            source,
        }),
    }
}

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What was to be the only model is none.
    #[error("{path} is no model that can be served: {reason}")]
    NoModel {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// One or more mistakes, one line each.
    #[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Problem>),
}

impl ConfigError {
    fn invalid(problems: Vec<Problem>) -> Self {
        Self::Invalid(problems)
    }
}

/// One mistake and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// `FILE:LINE`, or the environment variable.
    pub place: String,
    /// The dotted key, where one is concerned.
    pub key: Option<String>,
    /// What is wrong and what would be right.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {key}: {}", self.place, self.what),
            None => write!(f, "{}: {}", self.place, self.what),
        }
    }
}
