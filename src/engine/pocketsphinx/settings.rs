//! Settings of the engine `pocketsphinx`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::rules;

/// `[models.NAME.pocketsphinx]`. The defaults are where Debian's `pocketsphinx-en-us` puts its files.
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

/// Check every rule that types cannot say.
pub(crate) fn validate(settings: &PocketsphinxSettings, wrong: &mut impl FnMut(&[&str], String)) {
    let default = PocketsphinxSettings::default();
    let files = [
        (
            "acoustic_model",
            &settings.acoustic_model,
            &default.acoustic_model,
        ),
        (
            "language_model",
            &settings.language_model,
            &default.language_model,
        ),
        ("dictionary", &settings.dictionary, &default.dictionary),
    ];
    for (key, path, default) in files {
        if !path.exists() {
            let remedy = if path == default {
                "; install the Debian package pocketsphinx-en-us"
            } else {
                ""
            };
            let what = format!("{} does not exist{remedy}", path.display());
            wrong(&["pocketsphinx", key], what);
        }
    }
    rules::language(&settings.language, &["pocketsphinx", "language"], wrong);
}
