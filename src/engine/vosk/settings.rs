//! Settings of the engine `vosk`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::rules;

/// `[models.NAME.vosk]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VoskSettings {
    /// The shared library: a path, or a name by which the dynamic linker finds it.
    pub library: PathBuf,
    /// The folder in which the model's folders `am`, `conf` and `graph` are.
    pub model: PathBuf,
    /// ISO 639-1 code of the language that the model knows; empty: it is not known, and any may be named.
    pub language: String,
}

impl Default for VoskSettings {
    fn default() -> Self {
        Self {
            library: "libvosk.so".into(),
            model: PathBuf::new(),
            language: String::new(),
        }
    }
}

impl VoskSettings {
    /// Those of the model in this folder, all else as it is by default.
    pub fn of(model: PathBuf) -> Self {
        Self {
            model,
            ..Self::default()
        }
    }

    /// The files that may be read to load the model.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        // A mere name is looked for among the system's libraries, which can be read anyhow.
        let is_path = self.library.components().count() > 1;
        let library = is_path.then(|| self.library.clone());
        library.into_iter().chain([self.model.clone()]).collect()
    }

    /// The language that the model knows, if that is known.
    pub(crate) fn known_language(&self) -> Option<&str> {
        Some(self.language.as_str()).filter(|language| !language.is_empty())
    }
}

/// Check every rule that types cannot say.
pub(crate) fn validate(settings: &VoskSettings, wrong: &mut impl FnMut(&[&str], String)) {
    let folder = &settings.model;
    if folder.as_os_str().is_empty() {
        let what = "the model's folder must be named (\"/var/lib/stt-isolated/models/vosk-model-small-en-us-0.15\")";
        wrong(&["vosk", "model"], what.into());
    } else if !folder.is_dir() {
        let what = format!("there is no folder {}", folder.display());
        wrong(&["vosk", "model"], what);
    }
    if settings.library.as_os_str().is_empty() {
        let what = "must be the path of libvosk.so, or a name by which the dynamic linker finds it";
        wrong(&["vosk", "library"], what.into());
    }
    if !settings.language.is_empty() {
        rules::language(&settings.language, &["vosk", "language"], wrong);
    }
}
