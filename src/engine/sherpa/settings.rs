//! The engine `sherpa` as the configuration knows it, and what the model's files tell without being
//! loaded.

use std::{
    fs::FileType,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::kind::{self, Kind, Model};
use crate::{
    engine::{Capabilities, Circumstances, EngineConfig, EngineError, LoadedModel},
    isolation::{Needs, Preload, Reach},
    language::is_language_code,
    problems::Problems,
};

/// Most beginnings of a text that may be followed at once.
const MAX_BEAM: u32 = 16;

/// Most languages of a model that are taken from its file. Whisper has 100.
const MAX_LANGUAGES: usize = 200;

/// Languages of the models that do not list them in their files.
const CANARY: [&str; 4] = ["en", "es", "de", "fr"];
const SENSE_VOICE: [&str; 5] = ["zh", "en", "ja", "ko", "yue"];

/// The name of ONNX Runtime's library, which sherpa-onnx looks for in its own folder.
const RUNTIME: &str = "libonnxruntime.so";

/// The table `[models.NAME.sherpa]` with its defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SherpaSettings {
    /// The shared library: a path, or a name by which the dynamic linker finds it.
    pub library: PathBuf,
    /// The folder of the model.
    pub model: PathBuf,
    /// The model's kind; `None`: its files tell.
    pub kind: Option<Kind>,
    /// Language code. Whisper and Canary: the language of requests that name none. SenseVoice: the
    /// only one that it may hear. Other kinds: the model's own.
    pub language: String,
    /// Threads of each job. With more than one the model is loaded by each job for itself.
    pub threads: u32,
    /// Beginnings of a text that transducers follow at once; 1: only the likeliest.
    pub beam_size: u32,
    /// How transducers cut words into tokens, which they must know to expect words; `None`: they
    /// take no words to expect.
    pub modeling_unit: Option<Unit>,
    /// A file of words to expect in every recording, one phrase a line; empty: none.
    pub hotwords_file: PathBuf,
    /// Bonus of each token of a word to expect.
    pub hotwords_score: f32,
    /// Taken from the likelihood that a transducer hears nothing: more words, also wrong ones.
    pub blank_penalty: f32,
    /// Whether SenseVoice writes numbers as digits, and punctuation.
    pub itn: bool,
    /// A model that adds punctuation: its file, or its folder; empty: none.
    pub punctuation: PathBuf,
    /// Facts that the files of the model tell.
    #[serde(skip)]
    facts: Facts,
}

/// The tokens of a transducer's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Pieces of words, which `bpe.vocab` in the model's folder lists.
    #[serde(rename = "bpe")]
    Pieces,
    /// Chinese characters.
    #[serde(rename = "cjkchar")]
    Characters,
    /// Both.
    #[serde(rename = "cjkchar+bpe")]
    Both,
}

impl Unit {
    /// The unit's name, as in `modeling_unit = "…"`, which is also the library's.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pieces => "bpe",
            Self::Characters => "cjkchar",
            Self::Both => "cjkchar+bpe",
        }
    }

    /// Whether it needs the list of pieces.
    pub(super) fn has_pieces(self) -> bool {
        self != Self::Characters
    }
}

/// Facts that the model's files tell; none until they were looked at.
#[derive(Clone, Debug, Default, PartialEq)]
struct Facts {
    kind: Option<Kind>,
    languages: Vec<String>,
}

impl Default for SherpaSettings {
    fn default() -> Self {
        Self {
            library: "libsherpa-onnx-c-api.so".into(),
            model: PathBuf::new(),
            kind: None,
            language: String::new(),
            threads: 1,
            beam_size: 1,
            modeling_unit: None,
            hotwords_file: PathBuf::new(),
            hotwords_score: 1.5,
            blank_penalty: 0.0,
            itn: true,
            punctuation: PathBuf::new(),
            facts: Facts::default(),
        }
    }
}

impl SherpaSettings {
    /// The settings for the model in this folder, with defaults for everything else.
    pub fn of(model: PathBuf) -> Self {
        Self {
            model,
            ..Self::default()
        }
    }

    /// Take kind and languages from the model's files. Files that cannot be used cannot be loaded
    /// later either, and that is reported then.
    fn look_at_files(&mut self) {
        self.facts.kind = self.kind;
        if let Ok(model) = kind::look(&self.model, self.kind) {
            self.facts = Facts {
                kind: Some(model.kind),
                languages: languages(&model),
            };
        }
    }

    fn is_transducer(&self) -> bool {
        let kind = self.facts.kind;
        kind.is_none_or(|kind| matches!(kind, Kind::Transducer | Kind::NemoTransducer))
    }

    /// Check the keys that only some kinds of models obey.
    fn check_kind(&self, problems: &mut Problems) {
        if !(1..=MAX_BEAM).contains(&self.beam_size) {
            problems.add("beam_size", format!("must be between 1 and {MAX_BEAM}"));
        }
        if !(self.hotwords_score.is_finite() && (0.0..=100.0).contains(&self.hotwords_score)) {
            problems.add("hotwords_score", "must be between 0 and 100");
        }
        if !(self.blank_penalty.is_finite() && (0.0..=100.0).contains(&self.blank_penalty)) {
            problems.add("blank_penalty", "must be between 0 and 100");
        }
        let hotwords = !self.hotwords_file.as_os_str().is_empty();
        for (key, is_set) in [
            ("beam_size", self.beam_size != 1),
            ("modeling_unit", self.modeling_unit.is_some()),
            ("hotwords_file", hotwords),
            ("blank_penalty", self.blank_penalty != 0.0),
        ] {
            if is_set && !self.is_transducer() {
                let kind = self.facts.kind.map_or("", Kind::name);
                problems.add(
                    key,
                    format!("only transducers obey it, and the model is of the kind {kind}"),
                );
            }
        }
        if hotwords && !self.hotwords_file.is_file() {
            let what = format!("there is no file {}", self.hotwords_file.display());
            problems.add("hotwords_file", what);
        }
        if hotwords && self.modeling_unit.is_none() {
            problems.add("modeling_unit", "must be set if words are to be expected");
        }
        if self.modeling_unit.is_some() && self.beam_size < 2 {
            let what = "must be at least 2 if modeling_unit is set: only a search that follows several texts can expect words";
            problems.add("beam_size", what);
        }
    }

    fn check_language(&self, problems: &mut Problems) {
        if self.language.is_empty() {
            return;
        }
        problems.language("language", &self.language);
        let known = &self.facts.languages;
        if !known.is_empty() && !known.contains(&self.language) {
            let what = format!("the model does not know the language `{}`", self.language);
            problems.add("language", what);
        }
    }
}

/// The languages that a model can be told, or that it is known to hear; none if nobody knows.
fn languages(model: &Model) -> Vec<String> {
    let list =
        |codes: &[&str]| -> Vec<String> { codes.iter().map(|code| (*code).to_owned()).collect() };
    let says = |key: &str| model.metadata.get(key).map_or("", String::as_str);
    match model.kind {
        Kind::Whisper if says("is_multilingual") == "0" => list(&["en"]),
        Kind::Whisper => says("all_language_codes")
            .split(',')
            .map(str::trim)
            .filter(|code| is_language_code(code))
            .take(MAX_LANGUAGES)
            .map(str::to_owned)
            .collect(),
        Kind::Canary => list(&CANARY),
        Kind::SenseVoice => list(&SENSE_VOICE),
        _ => Vec::new(),
    }
}

impl EngineConfig for SherpaSettings {
    type Table = Self;

    fn resolve(mut table: Self, around: &Circumstances<'_>, problems: &mut Problems) -> Self {
        let folder = &table.model;
        if folder.as_os_str().is_empty() {
            let what = "the model's folder must be named \
                        (\"/var/lib/stt-isolated/models/sherpa-onnx-nemo-parakeet-tdt-0.6b-v3-int8\")";
            problems.add("model", what);
        } else if !folder.is_dir() {
            problems.add("model", format!("there is no folder {}", folder.display()));
        }
        if table.library.as_os_str().is_empty() {
            let what = "must be the path of libsherpa-onnx-c-api.so, or a name by which the dynamic linker finds it";
            problems.add("library", what);
        }
        table.look_at_files();
        if table.threads == 0 {
            problems.add("threads", "must be at least 1");
        } else if table.threads > around.pids {
            let what = format!(
                "{} threads are more than limits.pids, {}, allows",
                table.threads, around.pids
            );
            problems.add("threads", what);
        }
        let punctuation = &table.punctuation;
        if !punctuation.as_os_str().is_empty() && !punctuation.exists() {
            let what = format!("there is no {}", punctuation.display());
            problems.add("punctuation", what);
        }
        table.check_kind(problems);
        table.check_language(problems);
        table
    }

    fn find(path: &Path, kind: FileType) -> Option<Result<Self, String>> {
        if !kind.is_dir() {
            return None;
        }
        Some(match kind::files(path) {
            Ok(_) => Ok(Self::of(path.into())),
            Err(reason) => Err(format!("for sherpa {reason}")),
        })
    }

    fn load(&self, _: Option<&Path>) -> Result<LoadedModel, EngineError> {
        Ok(LoadedModel::Samples(Box::new(super::load(self)?)))
    }

    fn needs(&self) -> Needs {
        // A name without a folder is looked up among the system's libraries, which can be read
        // anyway.
        let is_path = self.library.components().count() > 1;
        let own = is_path.then(|| [self.library.clone(), self.library.with_file_name(RUNTIME)]);
        let more = [&self.hotwords_file, &self.punctuation];
        let files = own
            .into_iter()
            .flatten()
            .chain([self.model.clone()])
            .chain(
                more.into_iter()
                    .filter(|path| !path.as_os_str().is_empty())
                    .cloned(),
            )
            .collect();
        Needs {
            // With more threads the library starts them when it loads the model, and they would not
            // be in a forked job.
            preload: match self.threads {
                1 => Preload::BeforeFork,
                _ => Preload::AfterFork,
            },
            reach: Reach {
                files,
                ports: Vec::new(),
            },
            ..Needs::default()
        }
    }

    fn origin(&self) -> (&'static str, &'static str) {
        ("k2-fsa", "https://k2-fsa.github.io/sherpa/onnx/")
    }

    fn capabilities(&self) -> Capabilities {
        let kind = self.facts.kind;
        Capabilities {
            words: kind.is_some_and(tells_times),
            // The search of NeMo's transducers keeps no probabilities.
            logprobs: kind == Some(Kind::Transducer)
                || kind == Some(Kind::NemoTransducer) && self.beam_size == 1,
            keywords: self.modeling_unit.is_some(),
            translation: match kind {
                Some(Kind::Whisper) => self.facts.languages.len() > 1,
                kind => kind == Some(Kind::Canary),
            },
            ..Capabilities::default()
        }
    }

    fn languages(&self) -> Vec<&str> {
        let own = Some(self.language.as_str()).filter(|language| !language.is_empty());
        match (self.facts.kind, own) {
            (Some(Kind::Whisper | Kind::Canary), _) | (_, None) => {
                self.facts.languages.iter().map(String::as_str).collect()
            }
            (_, Some(own)) => vec![own],
        }
    }
}

/// Whether models of this kind tell the times of their tokens, all of them.
fn tells_times(kind: Kind) -> bool {
    match kind {
        // Whisper does in an export with attention, Paraformer in some.
        Kind::Whisper | Kind::Paraformer => false,
        Kind::Moonshine | Kind::Canary | Kind::FireRedAsr => false,
        Kind::Transducer
        | Kind::NemoTransducer
        | Kind::SenseVoice
        | Kind::NemoCtc
        | Kind::ZipformerCtc
        | Kind::WenetCtc
        | Kind::TelespeechCtc
        | Kind::Dolphin
        | Kind::Omnilingual
        | Kind::FireRedAsrCtc
        | Kind::MedasrCtc => true,
    }
}
