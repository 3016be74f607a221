//! The configuration as the service uses it: every name resolves, every value is possible.

use super::{
    access::Access, breaker::Breaker, health::Health, http::Http, isolation::Isolation, jobs::Jobs,
    limits::Limits, memory::Memory, mode::Mode, recycle::Recycle, service::Service, spares::Spares,
    stamp::Stamp, zygote::Zygote,
};
use crate::engine::EngineSettings;

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
    /// What is in the models directory and not served, and who is named and not known, and why: for the log.
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

    /// Take `MODEL:FAULT` apart if a request can ask the engine of `MODEL` to misbehave, which is
    /// possible in test builds only. Every other name stays as it is: the name of a model has no
    /// colon.
    pub fn split_fault(&self, name: String) -> (String, Option<String>) {
        match name.split_once(':') {
            Some((model, fault))
                if self
                    .model(model)
                    .is_some_and(|model| model.engine.takes_faults()) =>
            {
                (model.into(), Some(fault.into()))
            }
            _ => (name, None),
        }
    }
}
