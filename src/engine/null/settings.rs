//! The engine `null` as the configuration knows it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Null;
use crate::{
    engine::{Capabilities, Circumstances, EngineConfig, EngineError, LoadedModel},
    isolation::Needs,
    problems::Problems,
};

/// The table `[models.NAME.null]`, which has no keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NullSettings {}

impl EngineConfig for NullSettings {
    type Table = Self;

    fn resolve(table: Self, _: &Circumstances<'_>, _: &mut Problems) -> Self {
        table
    }

    fn load(&self, _: Option<&Path>) -> Result<LoadedModel, EngineError> {
        Ok(LoadedModel::Samples(Box::new(Null)))
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn origin(&self) -> (&'static str, &'static str) {
        ("stt-isolated", "")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn languages(&self) -> Vec<&str> {
        vec!["en"]
    }

    fn language(&self) -> Option<&str> {
        None
    }

    fn understands(&self, tag: &str) -> Option<String> {
        // It accepts every language.
        Some(tag.to_owned())
    }
}
