//! Every table and key of the configuration file, with its default.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    clients::Clients,
    limits::{Limits, LimitsOverride},
    memory::Memory,
    mode::Mode,
    recycle::{Recycle, RecycleOverride},
    spares::{Spares, SparesOverride},
};
#[cfg(feature = "fault-engine")]
use crate::engine::fault::FaultSettings;
#[cfg(feature = "whisper")]
use crate::engine::whisper::WhisperSettings;
use crate::{
    engine::{
        EngineKind, azure::AzureTable, exec::ExecSettings, pocketsphinx::PocketsphinxSettings,
        vosk::VoskSettings,
    },
    units::{ByteSize, time},
};

/// The whole file. `config/stt-isolated.toml` gives the reason for each default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// The model that serves a request which names none; empty: the only one, or the one named `default`.
    pub default_model: String,
    /// Folder whose models are served under their files' names; empty: `models` in `$STATE_DIRECTORY`, or in
    /// [`super::DEFAULT_STATE`] without systemd.
    pub models_directory: PathBuf,
    /// Further names of models, each with the name of its model.
    pub aliases: BTreeMap<String, String>,
    /// The daemon as systemd sees it.
    pub service: Service,
    /// Clients' connections and uploads.
    pub http: Http,
    /// How jobs are kept apart.
    pub isolation: Isolation,
    /// How many jobs run, and how many requests wait for one.
    pub jobs: Jobs,
    /// How much memory all jobs may have together.
    pub memory: Memory,
    /// Who may ask, and how much of the service one of them may have.
    pub clients: Clients,
    /// What one job may use, for every model that does not say otherwise.
    pub limits: Limits,
    /// How many forked jobs wait for a request, for every model that does not say otherwise.
    pub spares: Spares,
    /// When a job that serves several requests ends, for every model that does not say otherwise.
    pub recycle: Recycle,
    /// Loading of models.
    pub zygote: Zygote,
    /// How models prove that they still work.
    pub health: Health,
    /// When a model that crashes again and again is left alone.
    pub breaker: Breaker,
    /// The models, by the name that clients use.
    pub models: BTreeMap<String, ModelTable>,
}

impl Default for File {
    fn default() -> Self {
        let model = ModelTable {
            aliases: vec!["whisper-1".into()],
            ..ModelTable::default()
        };
        Self {
            default_model: String::new(),
            models_directory: PathBuf::new(),
            aliases: BTreeMap::new(),
            service: Service::default(),
            http: Http::default(),
            isolation: Isolation::default(),
            jobs: Jobs::default(),
            memory: Memory::default(),
            clients: Clients::default(),
            limits: Limits::default(),
            spares: Spares::default(),
            recycle: Recycle::default(),
            zygote: Zygote::default(),
            health: Health::default(),
            breaker: Breaker::default(),
            models: BTreeMap::from([("default".into(), model)]),
        }
    }
}

/// `[models.NAME]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelTable {
    /// The engine that runs this model.
    pub engine: EngineKind,
    /// Other names that clients may use for this model (`whisper-1`).
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What serves its requests, where that differs from `isolation.mode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What differs from the table `[limits]` for this model.
    #[serde(default)]
    pub limits: LimitsOverride,
    /// What differs from the table `[spares]` for this model.
    #[serde(default)]
    pub spares: SparesOverride,
    /// What differs from the table `[recycle]` for this model.
    #[serde(default)]
    pub recycle: RecycleOverride,
    /// Files of the engine `pocketsphinx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pocketsphinx: Option<PocketsphinxSettings>,
    /// Settings of the engine `vosk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vosk: Option<VoskSettings>,
    /// Settings of the engine `exec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecSettings>,
    /// Settings of the engine `whisper`.
    #[cfg(feature = "whisper")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whisper: Option<WhisperSettings>,
    /// Settings of the engine `azure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureTable>,
    /// Settings of the engine `fault`.
    #[cfg(feature = "fault-engine")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultSettings>,
}

/// `[service]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// Least severe kind of message that is logged.
    pub log_level: LogLevel,
    /// How long accepted requests may go on after the service was told to stop.
    #[serde(with = "time")]
    pub drain_timeout: Duration,
    /// Exit when nobody was connected and nothing ran for so long; zero: never.
    #[serde(with = "time")]
    pub idle_exit: Duration,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            log_level: LogLevel::Info,
            drain_timeout: Duration::from_secs(30),
            idle_exit: Duration::ZERO,
        }
    }
}

/// Severities, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something failed and somebody must act.
    Error,
    /// Something is not as it should be, the service goes on.
    Warn,
    /// One line for each request and each event of the service's life.
    Info,
    /// What a developer wants to see.
    Debug,
    /// Everything.
    Trace,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Largest recording that is accepted.
    pub max_upload: ByteSize,
    /// Uploads up to this size are spooled in memory, larger ones in an unlinked file.
    pub spool_memory: ByteSize,
    /// Folder of the unlinked files; empty: `$CACHE_DIRECTORY` if systemd set it, else the system's temporary folder.
    pub spool_directory: PathBuf,
    /// Connections served at once; further ones wait in the listening socket.
    pub max_connections: usize,
    /// How long a client may take for the head of its request.
    #[serde(with = "time")]
    pub header_timeout: Duration,
    /// How long a client may pause in the middle of its body, or in taking its answer.
    #[serde(with = "time")]
    pub body_timeout: Duration,
    /// How many bytes of a body earn one second more for all its pauses together; 0: each pause is looked at alone.
    pub body_min_rate: ByteSize,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            max_upload: ByteSize::gib(1),
            spool_memory: ByteSize::mib(16),
            spool_directory: PathBuf::new(),
            max_connections: 512,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            body_min_rate: ByteSize::kib(1),
        }
    }
}

/// `[isolation]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Isolation {
    /// What serves a request, for every model that does not say otherwise.
    pub mode: Mode,
    /// Refuse to start where no memory controller is delegated to the service.
    pub require_cgroup: bool,
}

impl Default for Isolation {
    fn default() -> Self {
        Self {
            mode: Mode::Process,
            require_cgroup: true,
        }
    }
}

/// `[jobs]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jobs {
    /// Jobs that run at once; 0: as many as there are CPUs.
    pub max_running: usize,
    /// Requests that wait for a job; further ones are answered 429 at once.
    pub max_queued: usize,
    /// How long a request may wait for a job.
    #[serde(with = "time")]
    pub queue_timeout: Duration,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            max_running: 0,
            max_queued: 256,
            queue_timeout: Duration::from_secs(60),
        }
    }
}

/// `[zygote]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Zygote {
    /// How long loading a model, and the self-test after it, may take.
    #[serde(with = "time")]
    pub load_timeout: Duration,
    /// Longest pause between two attempts to start a zygote that fails.
    #[serde(with = "time")]
    pub max_backoff: Duration,
    /// Forks after which a zygote is replaced by a fresh one, give or take a tenth; 0: never.
    pub max_forks: u64,
}

impl Default for Zygote {
    fn default() -> Self {
        Self {
            load_timeout: Duration::from_secs(60),
            max_backoff: Duration::from_secs(30),
            max_forks: 100_000,
        }
    }
}

/// `[health]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// How often a model that nobody used meanwhile transcribes for the proof; zero: never.
    #[serde(with = "time")]
    pub interval: Duration,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(300),
        }
    }
}

/// `[breaker]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Crashes of a model's jobs after which its requests are refused; 0: never.
    pub crashes: u32,
    /// Within which time they have to happen.
    #[serde(with = "time")]
    pub within: Duration,
    /// How long requests are refused before one is tried again.
    #[serde(with = "time")]
    pub pause: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            crashes: 10,
            within: Duration::from_secs(60),
            pause: Duration::from_secs(30),
        }
    }
}
