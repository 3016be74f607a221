//! The engine `whisper` as the configuration knows it, and what the model's file tells without
//! being loaded.

use std::{
    fs::{FileType, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::kernels;
use crate::{
    engine::{Capabilities, Circumstances, EngineConfig, EngineError, LoadedModel},
    isolation::Needs,
    problems::Problems,
};

/// Most beginnings of a text that whisper.cpp can follow at once.
const MAX_BEAM: u32 = 8;

/// The `language` with which the model finds the language of each piece.
const EACH: &str = "each";

/// The ending of the name of a model's file.
const EXTENSION: &str = "bin";

/// Codes of the languages that multilingual models know, in the order of their tokens.
const LANGUAGES: [&str; 100] = [
    "en", "zh", "de", "es", "ru", "ko", "fr", "ja", "pt", "tr", "pl", "ca", "nl", "ar", "sv", "it",
    "id", "hi", "fi", "vi", "he", "uk", "el", "ms", "cs", "ro", "da", "hu", "ta", "no", "th", "ur",
    "hr", "bg", "lt", "la", "mi", "ml", "cy", "sk", "te", "fa", "lv", "bn", "sr", "az", "sl", "kn",
    "et", "mk", "br", "eu", "is", "hy", "ne", "mn", "bs", "kk", "sq", "sw", "gl", "mr", "pa", "si",
    "km", "sn", "yo", "so", "af", "oc", "ka", "be", "tg", "sd", "gu", "am", "yi", "lo", "uz", "fo",
    "ht", "ps", "tk", "nn", "mt", "sa", "lb", "my", "bo", "tl", "mg", "as", "tt", "haw", "ln",
    "ha", "ba", "jw", "su", "yue",
];

/// The table `[models.NAME.whisper]` with its defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WhisperSettings {
    /// The model: a file in the format of whisper.cpp (`ggml-small.bin`).
    pub file: PathBuf,
    /// Threads of each job. 0 in the file: one.
    pub threads: u32,
    /// Language code for requests that name none; empty: the model detects the language in the
    /// first piece of the recording, and [`EACH`]: in each piece.
    pub language: String,
    /// Beginnings of a text that are followed at once; 1: only the likeliest.
    pub beam_size: u32,
    /// Number of [`LANGUAGES`] that the model knows. A model that knows one can only transcribe
    /// English.
    #[serde(skip)]
    languages: Languages,
    /// The number of threads in the file.
    #[serde(skip)]
    wanted: Wanted,
}

/// A number of threads that makes no difference: a job has as many as `threads` says.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted(u32);

impl PartialEq for Wanted {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Wanted {}

/// A number of languages; all of them until the model's file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Languages(usize);

impl Default for Languages {
    fn default() -> Self {
        Self(LANGUAGES.len())
    }
}

impl Default for WhisperSettings {
    fn default() -> Self {
        Self {
            file: PathBuf::new(),
            threads: 0,
            language: String::new(),
            beam_size: 1,
            languages: Languages::default(),
            wanted: Wanted::default(),
        }
    }
}

impl WhisperSettings {
    /// The settings for the model in this file, with defaults for everything else.
    pub fn of(file: PathBuf) -> Self {
        Self {
            file,
            ..Self::default()
        }
    }

    /// The language of requests that name none, if it is always the same.
    pub(super) fn told(&self) -> Option<&str> {
        Some(self.language.as_str()).filter(|code| !code.is_empty() && *code != EACH)
    }

    /// Whether each piece of a recording may have a language of its own.
    pub(super) fn each_piece(&self) -> bool {
        self.language == EACH
    }

    /// Take the number of languages from the model's file. A file that cannot be read cannot be
    /// loaded later either.
    fn look_at_file(&mut self) {
        if let Some(tokens) = vocabulary(&self.file) {
            let known = match tokens {
                ..=51_864 => 1,
                51_865 => LANGUAGES.len() - 1,
                _ => LANGUAGES.len(),
            };
            self.languages = Languages(known);
        }
    }
}

/// The size of the vocabulary, which is the file's second word.
fn vocabulary(file: &Path) -> Option<i32> {
    let mut head = [0; 8];
    // Opening a FIFO must not block the service.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(file)
        .ok()?;
    file.read_exact(&mut head).ok()?;
    let [_, _, _, _, tokens @ ..] = head;
    Some(i32::from_le_bytes(tokens))
}

impl EngineConfig for WhisperSettings {
    type Table = Self;

    fn resolve(mut table: Self, around: &Circumstances<'_>, problems: &mut Problems) -> Self {
        let file = &table.file;
        if file.as_os_str().is_empty() {
            let what = "the model's file must be named (\"/var/lib/stt-isolated/ggml-small.bin\")";
            problems.add("file", what);
        } else if !file.is_file() {
            problems.add("file", format!("there is no file {}", file.display()));
        }
        table.look_at_file();
        if table.threads > around.pids {
            let what = format!(
                "{} threads are more than limits.pids, {}, allows",
                table.threads, around.pids
            );
            problems.add("threads", what);
        }
        table.wanted = Wanted(table.threads);
        table.threads = table.threads.clamp(1, cpus(around));
        if let Some(language) = table.told()
            && !table.languages().contains(&language)
        {
            problems.add(
                "language",
                format!("the model does not know the language `{language}`"),
            );
        }
        if !(1..=MAX_BEAM).contains(&table.beam_size) {
            problems.add("beam_size", format!("must be between 1 and {MAX_BEAM}"));
        }
        table
    }

    fn find(path: &Path, kind: FileType) -> Option<Result<Self, String>> {
        if !kind.is_file() {
            return None;
        }
        Some(match path.extension() {
            Some(extension) if extension == EXTENSION => Ok(Self::of(path.into())),
            _ => Err(format!(
                "the name of a model's file ends in .{EXTENSION} (whisper.cpp's format, which is \
                 not GGUF)"
            )),
        })
    }

    fn remark(&self) -> Option<String> {
        let bounded = if self.wanted.0 > self.threads {
            format!(
                "whisper.threads = {} is more than its jobs have CPUs, so they have {}",
                self.wanted.0, self.threads
            )
        } else if self.threads > 1 {
            format!(
                "its jobs have {} threads each (whisper.threads)",
                self.threads
            )
        } else {
            return None;
        };
        Some(format!(
            "{bounded}; threads wait for each other by spinning, so while the CPUs have other work \
             too, a request takes many times the CPU time of one thread"
        ))
    }

    fn load(&self, _: Option<&Path>) -> Result<LoadedModel, EngineError> {
        Ok(LoadedModel::Samples(Box::new(super::load(self)?)))
    }

    fn needs(&self) -> Needs {
        let kernels = kernels::file().map(Path::to_path_buf);
        Needs {
            small_pages: true,
            ..Needs::of_library([self.file.clone()].into_iter().chain(kernels).collect())
        }
    }

    fn origin(&self) -> (&'static str, &'static str) {
        ("OpenAI", "https://github.com/openai/whisper")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            words: true,
            logprobs: true,
            prompt: true,
            temperature: true,
            keywords: true,
            choice: self.languages.0 > 1,
            translation: self.languages.0 > 1,
            speakers: false,
        }
    }

    fn languages(&self) -> Vec<&str> {
        LANGUAGES
            .get(..self.languages.0)
            .unwrap_or(&LANGUAGES)
            .to_vec()
    }
}

/// CPUs that a job may keep busy, at least 1.
fn cpus(around: &Circumstances<'_>) -> u32 {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let all = u32::try_from(all).unwrap_or(u32::MAX);
    // It is between 0.01 and 1000; other values are refused.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let limit = match around.cpus {
        0.0 => u32::MAX,
        limit => limit.ceil() as u32,
    };
    all.min(limit).max(1)
}
