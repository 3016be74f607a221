//! The engine `fault` as the configuration knows it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    engine::{Capabilities, Circumstances, EngineConfig, EngineError, LoadedModel},
    isolation::{Needs, Preload, Profile, Reach},
    problems::Problems,
};

/// The table `[models.NAME.fault]` with its defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultSettings {
    /// When the engine is loaded.
    pub preload: Preload,
    /// Failure during loading: `fail`, `crash`, `hang`, `escape`, or none.
    pub load: Option<String>,
    /// Its processes have sockets for this TCP port, as those of an engine that asks a remote
    /// service.
    pub network: Option<u16>,
}

impl EngineConfig for FaultSettings {
    type Table = Self;

    fn resolve(table: Self, _: &Circumstances<'_>, _: &mut Problems) -> Self {
        table
    }

    fn load(&self, _: Option<&Path>) -> Result<LoadedModel, EngineError> {
        Ok(LoadedModel::Samples(Box::new(super::load(self)?)))
    }

    fn needs(&self) -> Needs {
        Needs {
            preload: self.preload,
            profile: match self.network {
                Some(_) => Profile::Network,
                None => Profile::Library,
            },
            reach: Reach {
                files: Vec::new(),
                ports: self.network.into_iter().collect(),
            },
            ..Needs::default()
        }
    }

    fn origin(&self) -> (&'static str, &'static str) {
        ("stt-isolated", "")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            prompt: true,
            keywords: true,
            temperature: true,
            translation: true,
            ..Capabilities::default()
        }
    }

    fn languages(&self) -> Vec<&str> {
        vec!["en"]
    }

    fn language(&self) -> Option<&str> {
        None
    }

    fn understands(&self, tag: &str) -> Option<String> {
        // It is told every language, and hears none.
        Some(tag.to_owned())
    }

    fn takes_faults(&self) -> bool {
        true
    }
}
