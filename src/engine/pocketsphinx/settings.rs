//! The engine `pocketsphinx` as the configuration knows it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    engine::{Capabilities, Circumstances, EngineConfig, EngineError, LoadedModel},
    isolation::Needs,
    problems::Problems,
};

/// The table `[models.NAME.pocketsphinx]`. The defaults are the paths of Debian's
/// `pocketsphinx-en-us`.
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

impl EngineConfig for PocketsphinxSettings {
    type Table = Self;

    fn resolve(table: Self, _: &Circumstances<'_>, problems: &mut Problems) -> Self {
        let default = Self::default();
        let files = [
            (
                "acoustic_model",
                &table.acoustic_model,
                &default.acoustic_model,
            ),
            (
                "language_model",
                &table.language_model,
                &default.language_model,
            ),
            ("dictionary", &table.dictionary, &default.dictionary),
        ];
        for (key, path, default) in files {
            if !path.exists() {
                let remedy = if path == default {
                    "; install the Debian package pocketsphinx-en-us"
                } else {
                    ""
                };
                problems.add(key, format!("{} does not exist{remedy}", path.display()));
            }
        }
        problems.language("language", &table.language);
        table
    }

    fn load(&self, _: Option<&Path>) -> Result<LoadedModel, EngineError> {
        Ok(LoadedModel::Samples(Box::new(super::load(self)?)))
    }

    fn needs(&self) -> Needs {
        Needs::of_library(vec![
            self.acoustic_model.clone(),
            self.language_model.clone(),
            self.dictionary.clone(),
        ])
    }

    fn origin(&self) -> (&'static str, &'static str) {
        ("CMU Sphinx", "https://cmusphinx.github.io")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            words: true,
            logprobs: true,
            ..Capabilities::default()
        }
    }

    fn languages(&self) -> Vec<&str> {
        vec![&self.language]
    }
}
