//! The configuration file as a whole: its tables, and the keys outside any table.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    audio::Audio, breaker::Breaker, clients::Clients, health::Health, http::Http,
    isolation::Isolation, jobs::Jobs, limits::Limits, memory::Memory, model::ModelTable,
    recycle::Recycle, service::Service, spares::Spares, zygote::Zygote,
};
use crate::problems::Problems;

/// Names of OpenAI's models. Programs ask for one of them unless they are told another.
const OPENAI: [&str; 5] = [
    "whisper-1",
    "gpt-4o-mini-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-transcribe-diarize",
    "gpt-transcribe",
];

/// The whole file. `config/stt-isolated.toml` gives the reason for each default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// The model for requests that name none. Empty: the only model, or the one named `default`.
    pub default_model: String,
    /// Folder whose models are served under their files' names. Empty: `models` in
    /// `$STATE_DIRECTORY`, or in [`super::DEFAULT_STATE`] without systemd.
    pub models_directory: PathBuf,
    /// Further names of models: each key is an alias, and its value is the model's name.
    pub aliases: BTreeMap<String, String>,
    /// The log level, and when the service exits.
    pub service: Service,
    /// Clients' connections and uploads.
    pub http: Http,
    /// How recordings are decoded.
    pub audio: Audio,
    /// How jobs are isolated from each other.
    pub isolation: Isolation,
    /// How many jobs run, and how many requests wait for one.
    pub jobs: Jobs,
    /// How much memory all jobs together may use.
    pub memory: Memory,
    /// Which clients may ask, and how much each may have.
    pub clients: Clients,
    /// The limits of one job, for every model that sets no other ones.
    pub limits: Limits,
    /// How many forked jobs wait for a request, for every model that sets no other number.
    pub spares: Spares,
    /// When a job that serves several requests ends, for every model that sets nothing else.
    pub recycle: Recycle,
    /// How models are loaded and reloaded.
    pub zygote: Zygote,
    /// How models prove that they still work.
    pub health: Health,
    /// When a model that crashes repeatedly is no longer tried.
    pub breaker: Breaker,
    /// The models, by the names that clients use.
    pub models: BTreeMap<String, ModelTable>,
}

impl Default for File {
    fn default() -> Self {
        let model = ModelTable {
            aliases: OPENAI.map(str::to_owned).to_vec(),
            ..ModelTable::default()
        };
        Self {
            default_model: String::new(),
            models_directory: PathBuf::new(),
            aliases: BTreeMap::new(),
            service: Service::default(),
            http: Http::default(),
            audio: Audio::default(),
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

impl File {
    /// Check the rules of every table that can be checked without the others.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.within(&["jobs"], |problems| self.jobs.check(problems));
        problems.within(&["service"], |problems| self.service.check(problems));
        problems.within(&["health"], |problems| self.health.check(problems));
        problems.within(&["breaker"], |problems| self.breaker.check(problems));
        problems.within(&["memory"], |problems| self.memory.check(problems));
        problems.within(&["http"], |problems| self.http.check(problems));
        problems.within(&["audio"], |problems| self.audio.check(problems));
        problems.within(&["zygote"], |problems| self.zygote.check(problems));
        let directory = &self.models_directory;
        if !directory.as_os_str().is_empty() && !directory.is_dir() {
            let what = format!("{} is not a folder", directory.display());
            problems.add("models_directory", what);
        }
    }
}
