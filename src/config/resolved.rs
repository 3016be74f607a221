//! The configuration as the service uses it, with every name resolved and every value possible.

use std::collections::BTreeSet;

use super::{
    access::Access, audio::Converter, breaker::Breaker, health::Health, hints::Hints, http::Http,
    isolation::Isolation, jobs::Jobs, limits::Limits, memory::Memory, mode::Mode, recycle::Recycle,
    service::Service, spares::Spares, speakers::Speakers, stamp::Stamp, zygote::Zygote,
};
use crate::{engine::EngineSettings, isolation::Company};

/// A validated configuration: every name resolves, and every value is possible.
#[derive(Clone, Debug)]
pub struct Config {
    /// The model for requests that name none; always one of `models`.
    pub default_model: String,
    /// The log level, and when the service exits.
    pub service: Service,
    /// Clients' connections and uploads.
    pub http: Http,
    /// How jobs are isolated from each other.
    pub isolation: Isolation,
    /// How many jobs run, and how many requests wait for one; `max_running` is at least 1.
    pub jobs: Jobs,
    /// How much memory all jobs together may use.
    pub memory: Memory,
    /// Which clients may ask, and how much each may have.
    pub clients: Access,
    /// How models are loaded and reloaded.
    pub zygote: Zygote,
    /// How models prove that they still work.
    pub health: Health,
    /// When a model that crashes repeatedly is no longer tried.
    pub breaker: Breaker,
    /// The models, ordered by name; at least one.
    pub models: Vec<Model>,
    /// Names of the catalogue's models: an answer to a client that asks for one of them says how
    /// to get it.
    pub pullable: BTreeSet<String>,
    /// Warnings for the log: entries of the models directory that are not served, and users and
    /// groups of `[clients]` that are unknown, each with the reason; mistakes in the catalogue.
    pub remarks: Vec<String>,
}

/// One model, with the general tables already applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The name that clients use.
    pub name: String,
    /// Other names that clients may use.
    pub aliases: Vec<String>,
    /// Treatment of hints that it cannot use.
    pub hints: Hints,
    /// How speakers are told apart in requests that do not say it.
    pub speakers: Speakers,
    /// How its requests are served.
    pub mode: Mode,
    /// The engine, its settings and its files.
    pub engine: EngineSettings,
    /// The program that converts recordings which the service cannot decode, if jobs may use one.
    pub converter: Option<Converter>,
    /// The state of these files when the configuration was read.
    pub files: Vec<Option<Stamp>>,
    /// The limits of one job of this model.
    pub limits: Limits,
    /// Numbers and lifetime of jobs that are forked ahead of their request.
    pub spares: Spares,
    /// When a job that serves several requests ends (mode `hybrid`).
    pub recycle: Recycle,
}

impl Model {
    /// True if the processes or thread of `other` can serve this model too: it has the same
    /// engine, mode and converter, and was loaded from the same files.
    pub fn loads_like(&self, other: &Self) -> bool {
        self.mode == other.mode
            && self.engine == other.engine
            && self.converter == other.converter
            && self.files == other.files
    }

    /// The other programs in the cgroup of each of its jobs.
    pub fn company(&self) -> Company {
        if self.engine.needs().profile.has_program() {
            Company::Program
        } else if self.converter.is_some() {
            Company::Standby
        } else {
            Company::None
        }
    }
}

impl Config {
    /// The model with this name or alias.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models
            .iter()
            .find(|model| model.name == name || model.aliases.iter().any(|alias| alias == name))
    }

    /// A sentence that says that there is no model `name`, and how to get it if the catalogue has
    /// it.
    pub fn no_model(&self, name: &str) -> String {
        let way = match self.pullable.contains(name) {
            true => format!("; to install it, run `sudo sttctl model pull {name} --reload`"),
            false => String::new(),
        };
        format!("the model `{name}` does not exist{way}")
    }

    /// The environment variables that hold secrets of engines, for all models that use such a
    /// variable.
    pub fn secret_variables(&self) -> Vec<&str> {
        let models = self.models.iter();
        models
            .filter_map(|model| model.engine.secret_variable())
            .collect()
    }

    /// Split `MODEL:FAULT` if a request can ask the engine of `MODEL` to misbehave, which is
    /// possible only in test builds. Every other name stays unchanged, because the name of a model
    /// has no colon.
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
