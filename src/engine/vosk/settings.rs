//! The engine `vosk` as the configuration knows it.

use std::{
    fs::{self, FileType},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    engine::{Capabilities, Circumstances, EngineConfig, EngineError, LoadedModel},
    isolation::Needs,
    problems::Problems,
};

/// The folders of a model. They tell a model from any other folder.
const FOLDERS: [&str; 3] = ["am", "conf", "graph"];

/// The table `[models.NAME.vosk]` with its defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VoskSettings {
    /// The shared library: a path, or a name by which the dynamic linker finds it.
    pub library: PathBuf,
    /// The folder in which the model's folders `am`, `conf` and `graph` are.
    pub model: PathBuf,
    /// ISO 639-1 code of the model's language; empty: it is not known, and requests may name any.
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
    /// The settings for the model in this folder, with defaults for everything else.
    pub fn of(model: PathBuf) -> Self {
        Self {
            model,
            ..Self::default()
        }
    }
}

impl EngineConfig for VoskSettings {
    type Table = Self;

    fn resolve(table: Self, _: &Circumstances<'_>, problems: &mut Problems) -> Self {
        let folder = &table.model;
        if folder.as_os_str().is_empty() {
            let what = "the model's folder must be named \
                        (\"/var/lib/stt-isolated/models/vosk-model-small-en-us-0.15\")";
            problems.add("model", what);
        } else if !folder.is_dir() {
            problems.add("model", format!("there is no folder {}", folder.display()));
        }
        if table.library.as_os_str().is_empty() {
            let what =
                "must be the path of libvosk.so, or a name by which the dynamic linker finds it";
            problems.add("library", what);
        }
        if !table.language.is_empty() {
            problems.language("language", &table.language);
        }
        table
    }

    fn find(path: &Path, kind: FileType) -> Option<Result<Self, String>> {
        if !kind.is_dir() {
            return None;
        }
        let has = |part: &&str| fs::symlink_metadata(path.join(part)).is_ok_and(|it| it.is_dir());
        if FOLDERS.iter().all(has) {
            return Some(Ok(Self::of(path.into())));
        }
        let folders = FOLDERS.join(", ");
        Some(Err(format!(
            "a folder that is a model (for vosk) has the folders {folders}"
        )))
    }

    fn load(&self, _: Option<&Path>) -> Result<LoadedModel, EngineError> {
        Ok(LoadedModel::Samples(Box::new(super::load(self)?)))
    }

    fn needs(&self) -> Needs {
        // A name without a folder is looked up among the system's libraries, which can be read
        // anyway.
        let is_path = self.library.components().count() > 1;
        let library = is_path.then(|| self.library.clone());
        Needs::of_library(library.into_iter().chain([self.model.clone()]).collect())
    }

    fn origin(&self) -> (&'static str, &'static str) {
        ("Alpha Cephei", "https://alphacephei.com/vosk/")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            words: true,
            logprobs: true,
            ..Capabilities::default()
        }
    }

    fn languages(&self) -> Vec<&str> {
        let language = Some(self.language.as_str()).filter(|language| !language.is_empty());
        language.into_iter().collect()
    }
}
