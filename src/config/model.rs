//! The settings of one model: which engine, with which files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
