//! The settings of one model: which engine, with which files, under which limits.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

#[cfg(feature = "whisper")]
use super::whisper::WhisperSettings;
use super::{
    azure::{AzureKey, AzureSettings, AzureTable},
    exec::ExecSettings,
    language::primary_language,
    units::{ByteSize, Lifetime, time},
    vosk::VoskSettings,
};

/// One `[models.NAME]` table.
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

/// What serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A process of its own for exactly one request.
    Process,
    /// A process that serves several requests, one after the other, before it ends.
    Hybrid,
    /// A thread of the daemon: for comparison and as a last resort.
    Thread,
}

impl Mode {
    /// The word used in the configuration, in headers and in statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Hybrid => "hybrid",
            Self::Thread => "thread",
        }
    }
}

/// The engines that this build knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// CMU PocketSphinx from the distribution's packages.
    #[default]
    Pocketsphinx,
    /// Vosk, from the shared library of its Python package.
    Vosk,
    /// Any program.
    Exec,
    /// OpenAI's Whisper, run by whisper.cpp.
    #[cfg(feature = "whisper")]
    Whisper,
    /// Microsoft's speech service, by its own library.
    Azure,
    /// Answers at once with no text: for benchmarks of everything but the engine.
    #[cfg(feature = "fault-engine")]
    Null,
    /// Misbehaves as it is told: for tests.
    #[cfg(feature = "fault-engine")]
    Fault,
}

/// One model's engine with that engine's own settings: all that a zygote needs to load it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EngineSettings {
    /// CMU PocketSphinx.
    Pocketsphinx(PocketsphinxSettings),
    /// Vosk.
    Vosk(VoskSettings),
    /// A program.
    Exec(ExecSettings),
    /// Whisper.
    #[cfg(feature = "whisper")]
    Whisper(WhisperSettings),
    /// Microsoft's speech service.
    Azure(Box<AzureSettings>),
    /// The engine that does nothing.
    #[cfg(feature = "fault-engine")]
    Null,
    /// The engine that misbehaves.
    #[cfg(feature = "fault-engine")]
    Fault(FaultSettings),
}

/// When a model may be loaded relative to the fork of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preload {
    /// Into the zygote: every job shares its pages. The library must have no threads after loading.
    #[default]
    BeforeFork,
    /// Into the job, ahead of its request: for libraries that cannot be forked once loaded.
    AfterFork,
}

/// What an engine's processes must be allowed; the sandbox forbids all the rest (`isolation::sandbox`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A library that computes: it opens no file once its model is loaded, and never a socket.
    Library,
    /// A program, which the job starts and talks to.
    Program {
        /// Whether it can reach other machines.
        network: bool,
        /// Whether it can make memory executable.
        jit: bool,
    },
    /// A library that asks a service elsewhere: it opens sockets for TCP and name servers, and reads what these need.
    Network,
}

impl Profile {
    /// Whether jobs start a program, which needs a scratch directory.
    pub fn has_program(self) -> bool {
        matches!(self, Self::Program { .. })
    }
}

impl EngineSettings {
    /// When the model is loaded.
    pub fn preload(&self) -> Preload {
        match self {
            #[cfg(feature = "fault-engine")]
            Self::Fault(settings) => settings.preload,
            Self::Exec(_) => Preload::AfterFork,
            // The library starts threads as soon as it is used.
            Self::Azure(_) => Preload::AfterFork,
            _ => Preload::BeforeFork,
        }
    }

    /// What its processes must be allowed.
    pub fn profile(&self) -> Profile {
        match self {
            Self::Exec(settings) => Profile::Program {
                network: settings.network,
                jit: settings.jit,
            },
            Self::Azure(_) => Profile::Network,
            #[cfg(feature = "fault-engine")]
            Self::Fault(settings) if settings.network.is_some() => Profile::Network,
            _ => Profile::Library,
        }
    }

    /// The TCP ports that its jobs may connect to, where their profile has sockets.
    pub fn ports(&self) -> Vec<u16> {
        match self {
            Self::Azure(settings) => settings.ports(),
            #[cfg(feature = "fault-engine")]
            Self::Fault(settings) => settings.network.into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The environment variable that holds a secret of the engine's, which nobody else may see.
    pub fn secret_variable(&self) -> Option<&str> {
        match self {
            Self::Azure(settings) => match &settings.key {
                AzureKey::Environment(name) => Some(name),
                _ => None,
            },
            _ => None,
        }
    }

    /// The engine's name, as in `engine = "…"`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pocketsphinx(_) => "pocketsphinx",
            Self::Vosk(_) => "vosk",
            Self::Exec(_) => "exec",
            #[cfg(feature = "whisper")]
            Self::Whisper(_) => "whisper",
            Self::Azure(_) => "azure",
            #[cfg(feature = "fault-engine")]
            Self::Null => "null",
            #[cfg(feature = "fault-engine")]
            Self::Fault(_) => "fault",
        }
    }

    /// Who made the engine, and where it is from.
    pub fn origin(&self) -> (&'static str, &'static str) {
        match self {
            Self::Pocketsphinx(_) => ("CMU Sphinx", "https://cmusphinx.github.io"),
            Self::Vosk(_) => ("Alpha Cephei", "https://alphacephei.com/vosk/"),
            Self::Exec(_) => ("a program of this machine", ""),
            #[cfg(feature = "whisper")]
            Self::Whisper(_) => ("OpenAI", "https://github.com/openai/whisper"),
            Self::Azure(_) => (
                "Microsoft",
                "https://azure.microsoft.com/products/ai-services/ai-speech",
            ),
            #[cfg(feature = "fault-engine")]
            Self::Null | Self::Fault(_) => ("stt-isolated", ""),
        }
    }

    /// ISO 639-1 codes of the languages that the model can transcribe, as far as they can be told.
    pub fn languages(&self) -> Vec<&str> {
        match self {
            Self::Pocketsphinx(settings) => vec![&settings.language],
            Self::Vosk(settings) => settings.known_language().into_iter().collect(),
            Self::Exec(settings) => settings.languages.iter().map(String::as_str).collect(),
            #[cfg(feature = "whisper")]
            Self::Whisper(settings) => settings.languages().to_vec(),
            Self::Azure(settings) => settings.primary_languages(),
            // They are told all, and hear none.
            #[cfg(feature = "fault-engine")]
            Self::Null | Self::Fault(_) => vec!["en"],
        }
    }

    /// The model's own files and folders: all that may be read to load it, beside shared libraries.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Pocketsphinx(settings) => vec![
                settings.acoustic_model.clone(),
                settings.language_model.clone(),
                settings.dictionary.clone(),
            ],
            Self::Vosk(settings) => settings.files(),
            Self::Exec(settings) => settings.files(),
            #[cfg(feature = "whisper")]
            Self::Whisper(settings) => vec![settings.file.clone()],
            Self::Azure(settings) => settings.files(),
            #[cfg(feature = "fault-engine")]
            Self::Null | Self::Fault(_) => Vec::new(),
        }
    }

    /// The only language that the model can transcribe, by its ISO 639-1 code; `None` if there are more, or if it is not
    /// known.
    pub fn language(&self) -> Option<&str> {
        match self {
            Self::Pocketsphinx(settings) => Some(&settings.language),
            Self::Vosk(settings) => settings.known_language(),
            Self::Exec(settings) => match settings.languages.as_slice() {
                [only] => Some(only),
                _ => None,
            },
            #[cfg(feature = "whisper")]
            Self::Whisper(settings) => settings.only_language(),
            Self::Azure(settings) => match settings.primary_languages().as_slice() {
                [only] => Some(only),
                _ => None,
            },
            #[cfg(feature = "fault-engine")]
            Self::Null | Self::Fault(_) => None,
        }
    }

    /// What a request may ask of the model beside a transcript.
    pub fn capabilities(&self) -> Capabilities {
        match self {
            Self::Pocketsphinx(_) | Self::Vosk(_) => Capabilities {
                words: true,
                logprobs: true,
                ..Capabilities::default()
            },
            Self::Exec(settings) => settings.capabilities(),
            #[cfg(feature = "whisper")]
            Self::Whisper(settings) => Capabilities {
                words: true,
                logprobs: true,
                prompt: true,
                temperature: true,
                translation: settings.only_language().is_none(),
                ..Capabilities::default()
            },
            Self::Azure(_) => Capabilities {
                words: true,
                logprobs: true,
                prompt: true,
                keywords: true,
                ..Capabilities::default()
            },
            #[cfg(feature = "fault-engine")]
            Self::Null => Capabilities::default(),
            #[cfg(feature = "fault-engine")]
            Self::Fault(_) => Capabilities {
                prompt: true,
                keywords: true,
                temperature: true,
                translation: true,
                ..Capabilities::default()
            },
        }
    }

    /// Whether the model can transcribe the language with this ISO 639-1 code (a region after it is ignored).
    pub fn speaks(&self, language: &str) -> bool {
        let primary = primary_language(language);
        match self {
            Self::Pocketsphinx(settings) => settings.language.eq_ignore_ascii_case(primary),
            Self::Vosk(settings) => settings
                .known_language()
                .is_none_or(|known| known.eq_ignore_ascii_case(primary)),
            Self::Exec(settings) => settings.speaks(primary),
            #[cfg(feature = "whisper")]
            Self::Whisper(settings) => settings.speaks(&primary.to_ascii_lowercase()),
            Self::Azure(settings) => settings.language(Some(language)).is_some(),
            #[cfg(feature = "fault-engine")]
            Self::Null | Self::Fault(_) => true,
        }
    }
}

/// What not every engine can do. A request for what its model cannot do is refused, never half obeyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// It gives each word its times.
    pub words: bool,
    /// It says how sure it is of each word.
    pub logprobs: bool,
    /// A text can lead up to the recording.
    pub prompt: bool,
    /// It can be told which words to expect.
    pub keywords: bool,
    /// It can choose among likely words by chance.
    pub temperature: bool,
    /// It can write in English what was said in another language.
    pub translation: bool,
}

/// Settings of the engine `pocketsphinx`. The defaults are where Debian's `pocketsphinx-en-us` puts its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PocketsphinxSettings {
    /// Folder of the acoustic model (`-hmm`).
    pub acoustic_model: PathBuf,
    /// N-gram language model file (`-lm`).
    pub language_model: PathBuf,
    /// Pronunciation dictionary file (`-dict`).
    pub dictionary: PathBuf,
    /// ISO 639-1 code of the language that the model knows.
    pub language: String,
}

impl Default for PocketsphinxSettings {
    fn default() -> Self {
        let model = PathBuf::from("/usr/share/pocketsphinx/model/en-us");
        Self {
            acoustic_model: model.join("en-us"),
            language_model: model.join("en-us.lm.bin"),
            dictionary: model.join("cmudict-en-us.dict"),
            language: "en".into(),
        }
    }
}

/// Settings of the engine `fault`.
#[cfg(feature = "fault-engine")]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultSettings {
    /// When it is loaded.
    pub preload: Preload,
    /// What goes wrong then: `fail`, `crash`, `hang`, `escape`, or nothing.
    pub load: Option<String>,
    /// It has sockets, as an engine that asks a service elsewhere, for this TCP port.
    pub network: Option<u16>,
}

/// What one job may use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of the job's own (`memory.max` of its cgroup); what it shares with its zygote is not counted.
    pub memory: ByteSize,
    /// Threads and processes (`pids.max`).
    pub pids: u32,
    /// Longest recording that is transcribed.
    #[serde(with = "time")]
    pub max_audio: Duration,
    /// Wall-clock time that every job has, whatever its recording's length.
    #[serde(with = "time")]
    pub deadline: Duration,
    /// Seconds of wall-clock time added for each second of audio.
    pub deadline_per_audio_second: f64,
    /// CPU time, of all threads together, that every job has, whatever its recording's length.
    #[serde(with = "time")]
    pub cpu_time: Duration,
    /// Seconds of CPU time added for each second of audio.
    pub cpu_time_per_audio_second: f64,
    /// How long a job may neither say a word nor use the CPU.
    #[serde(with = "time")]
    pub stall: Duration,
    /// CPUs that a job may keep busy (`cpu.max`); 0: all.
    pub cpus: f64,
    /// Share of the CPU against other jobs when it is scarce (`cpu.weight`, 1 to 10000).
    pub cpu_weight: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(512),
            pids: 32,
            max_audio: Duration::from_secs(4 * 3600),
            deadline: Duration::from_secs(30),
            deadline_per_audio_second: 4.0,
            cpu_time: Duration::from_secs(120),
            cpu_time_per_audio_second: 16.0,
            stall: Duration::from_secs(30),
            cpus: 0.0,
            cpu_weight: 100,
        }
    }
}

/// The keys of [`Limits`], each optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsOverride {
    memory: Option<ByteSize>,
    pids: Option<u32>,
    max_audio: Option<Time>,
    deadline: Option<Time>,
    deadline_per_audio_second: Option<f64>,
    cpu_time: Option<Time>,
    cpu_time_per_audio_second: Option<f64>,
    stall: Option<Time>,
    cpus: Option<f64>,
    cpu_weight: Option<u32>,
}

/// A time that may be absent: `#[serde(with)]` does not reach into an `Option`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Time(#[serde(with = "time")] Duration);

impl LimitsOverride {
    /// These keys over `base`.
    pub fn over(&self, base: Limits) -> Limits {
        Limits {
            memory: self.memory.unwrap_or(base.memory),
            pids: self.pids.unwrap_or(base.pids),
            max_audio: self.max_audio.map_or(base.max_audio, |t| t.0),
            deadline: self.deadline.map_or(base.deadline, |t| t.0),
            deadline_per_audio_second: self
                .deadline_per_audio_second
                .unwrap_or(base.deadline_per_audio_second),
            cpu_time: self.cpu_time.map_or(base.cpu_time, |t| t.0),
            cpu_time_per_audio_second: self
                .cpu_time_per_audio_second
                .unwrap_or(base.cpu_time_per_audio_second),
            stall: self.stall.map_or(base.stall, |t| t.0),
            cpus: self.cpus.unwrap_or(base.cpus),
            cpu_weight: self.cpu_weight.unwrap_or(base.cpu_weight),
        }
    }
}

/// Jobs that are forked ahead of their request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spares {
    /// Below this number a new one is forked at once.
    pub min: usize,
    /// Never more than this number wait.
    pub max: usize,
    /// How long nothing is forked above `min` after a request was handed over, so that the job has the CPU.
    #[serde(with = "time")]
    pub refill_delay: Duration,
    /// How long one may wait for its request.
    pub ttl: Lifetime,
}

impl Default for Spares {
    fn default() -> Self {
        Self {
            min: 1,
            max: 2,
            refill_delay: Duration::from_millis(20),
            ttl: Lifetime::Unlimited,
        }
    }
}

/// The keys of [`Spares`], each optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SparesOverride {
    min: Option<usize>,
    max: Option<usize>,
    refill_delay: Option<Time>,
    ttl: Option<Lifetime>,
}

impl SparesOverride {
    /// These keys over `base`.
    pub fn over(&self, base: Spares) -> Spares {
        Spares {
            min: self.min.unwrap_or(base.min),
            max: self.max.unwrap_or(base.max),
            refill_delay: self.refill_delay.map_or(base.refill_delay, |t| t.0),
            ttl: self.ttl.unwrap_or(base.ttl),
        }
    }
}

/// When a job that serves several requests (mode `hybrid`) ends; whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recycle {
    /// After so many requests.
    pub max_requests: u64,
    /// When its own memory has grown by so much since it was forked.
    pub max_growth: ByteSize,
    /// So long after it was forked.
    #[serde(with = "time")]
    pub max_age: Duration,
}

impl Default for Recycle {
    fn default() -> Self {
        Self {
            max_requests: 100,
            max_growth: ByteSize::mib(128),
            max_age: Duration::from_secs(3600),
        }
    }
}

/// The keys of [`Recycle`], each optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecycleOverride {
    max_requests: Option<u64>,
    max_growth: Option<ByteSize>,
    max_age: Option<Time>,
}

impl RecycleOverride {
    /// These keys over `base`.
    pub fn over(&self, base: Recycle) -> Recycle {
        Recycle {
            max_requests: self.max_requests.unwrap_or(base.max_requests),
            max_growth: self.max_growth.unwrap_or(base.max_growth),
            max_age: self.max_age.map_or(base.max_age, |t| t.0),
        }
    }
}
