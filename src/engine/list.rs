//! The engines of this build: their settings, and everything that is known of each from these alone.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[cfg(feature = "fault-engine")]
use super::fault::FaultSettings;
#[cfg(feature = "whisper")]
use super::whisper::WhisperSettings;
use super::{
    azure::{AzureKey, AzureSettings},
    capabilities::Capabilities,
    exec::ExecSettings,
    pocketsphinx::PocketsphinxSettings,
    vosk::VoskSettings,
};
use crate::{
    isolation::{Preload, Profile},
    language::primary_language,
};

/// The engines that this build knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// CMU PocketSphinx from the distribution's packages.
    #[default]
    Pocketsphinx,
    /// Vosk, from the shared library of its Python package.
    Vosk,
    /// Any program.
    Exec,
    /// OpenAI's Whisper, run by whisper.cpp.
    #[cfg(feature = "whisper")]
    Whisper,
    /// Microsoft's speech service, by its own library.
    Azure,
    /// Answers at once with no text: for benchmarks of everything but the engine.
    #[cfg(feature = "fault-engine")]
    Null,
    /// Misbehaves as it is told: for tests.
    #[cfg(feature = "fault-engine")]
    Fault,
}

/// One model's engine with that engine's own settings: all that a zygote needs to load it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EngineSettings {
    /// CMU PocketSphinx.
    Pocketsphinx(PocketsphinxSettings),
    /// Vosk.
    Vosk(VoskSettings),
    /// A program.
    Exec(ExecSettings),
    /// Whisper.
    #[cfg(feature = "whisper")]
    Whisper(WhisperSettings),
    /// Microsoft's speech service.
    Azure(Box<AzureSettings>),
    /// The engine that does nothing.
    #[cfg(feature = "fault-engine")]
    Null,
    /// The engine that misbehaves.
    #[cfg(feature = "fault-engine")]
    Fault(FaultSettings),
}

impl EngineSettings {
    /// When the model is loaded.
    pub fn preload(&self) -> Preload {
        match self {
            #[cfg(feature = "fault-engine")]
            Self::Fault(settings) => settings.preload,
            Self::Exec(_) => Preload::AfterFork,
            // The library starts threads as soon as it is used.
            Self::Azure(_) => Preload::AfterFork,
            _ => Preload::BeforeFork,
        }
    }

    /// What its processes must be allowed.
    pub fn profile(&self) -> Profile {
        match self {
            Self::Exec(settings) => Profile::Program {
                network: settings.network,
                jit: settings.jit,
            },
            Self::Azure(_) => Profile::Network,
            #[cfg(feature = "fault-engine")]
            Self::Fault(settings) if settings.network.is_some() => Profile::Network,
            _ => Profile::Library,
        }
    }

    /// The TCP ports that its jobs may connect to, where their profile has sockets.
    pub fn ports(&self) -> Vec<u16> {
        match self {
            Self::Azure(settings) => settings.ports(),
            #[cfg(feature = "fault-engine")]
            Self::Fault(settings) => settings.network.into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The environment variable that holds a secret of the engine's, which nobody else may see.
    pub fn secret_variable(&self) -> Option<&str> {
        match self {
            Self::Azure(settings) => match &settings.key {
                AzureKey::Environment(name) => Some(name),
                _ => None,
            },
            _ => None,
        }
    }

    /// The engine's name, as in `engine = "…"`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pocketsphinx(_) => "pocketsphinx",
            Self::Vosk(_) => "vosk",
            Self::Exec(_) => "exec",
            #[cfg(feature = "whisper")]
            Self::Whisper(_) => "whisper",
            Self::Azure(_) => "azure",
            #[cfg(feature = "fault-engine")]
            Self::Null => "null",
            #[cfg(feature = "fault-engine")]
            Self::Fault(_) => "fault",
        }
    }

    /// Who made the engine, and where it is from.
    pub fn origin(&self) -> (&'static str, &'static str) {
        match self {
            Self::Pocketsphinx(_) => ("CMU Sphinx", "https://cmusphinx.github.io"),
            Self::Vosk(_) => ("Alpha Cephei", "https://alphacephei.com/vosk/"),
            Self::Exec(_) => ("a program of this machine", ""),
            #[cfg(feature = "whisper")]
            Self::Whisper(_) => ("OpenAI", "https://github.com/openai/whisper"),
            Self::Azure(_) => (
                "Microsoft",
                "https://azure.microsoft.com/products/ai-services/ai-speech",
            ),
            #[cfg(feature = "fault-engine")]
            Self::Null | Self::Fault(_) => ("stt-isolated", ""),
        }
    }

    /// ISO 639-1 codes of the languages that the model can transcribe, as far as they can be told.
    pub fn languages(&self) -> Vec<&str> {
        match self {
            Self::Pocketsphinx(settings) => vec![&settings.language],
            Self::Vosk(settings) => settings.known_language().into_iter().collect(),
            Self::Exec(settings) => settings.languages.iter().map(String::as_str).collect(),
            #[cfg(feature = "whisper")]
            Self::Whisper(settings) => settings.languages().to_vec(),
            Self::Azure(settings) => settings.primary_languages(),
            // They are told all, and hear none.
            #[cfg(feature = "fault-engine")]
            Self::Null | Self::Fault(_) => vec!["en"],
        }
    }

    /// The model's own files and folders: all that may be read to load it, beside shared libraries.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Pocketsphinx(settings) => vec![
                settings.acoustic_model.clone(),
                settings.language_model.clone(),
                settings.dictionary.clone(),
            ],
            Self::Vosk(settings) => settings.files(),
            Self::Exec(settings) => settings.files(),
            #[cfg(feature = "whisper")]
            Self::Whisper(settings) => vec![settings.file.clone()],
            Self::Azure(settings) => settings.files(),
            #[cfg(feature = "fault-engine")]
            Self::Null | Self::Fault(_) => Vec::new(),
        }
    }

    /// The only language that the model can transcribe, by its ISO 639-1 code; `None` if there are more, or if it is not
    /// known.
    pub fn language(&self) -> Option<&str> {
        match self {
            Self::Pocketsphinx(settings) => Some(&settings.language),
            Self::Vosk(settings) => settings.known_language(),
            Self::Exec(settings) => match settings.languages.as_slice() {
                [only] => Some(only),
                _ => None,
            },
            #[cfg(feature = "whisper")]
            Self::Whisper(settings) => settings.only_language(),
            Self::Azure(settings) => match settings.primary_languages().as_slice() {
                [only] => Some(only),
                _ => None,
            },
            #[cfg(feature = "fault-engine")]
            Self::Null | Self::Fault(_) => None,
        }
    }

    /// What a request may ask of the model beside a transcript.
    pub fn capabilities(&self) -> Capabilities {
        match self {
            Self::Pocketsphinx(_) | Self::Vosk(_) => Capabilities {
                words: true,
                logprobs: true,
                ..Capabilities::default()
            },
            Self::Exec(settings) => settings.capabilities(),
            #[cfg(feature = "whisper")]
            Self::Whisper(settings) => Capabilities {
                words: true,
                logprobs: true,
                prompt: true,
                temperature: true,
                translation: settings.only_language().is_none(),
                ..Capabilities::default()
            },
            Self::Azure(_) => Capabilities {
                words: true,
                logprobs: true,
                prompt: true,
                keywords: true,
                ..Capabilities::default()
            },
            #[cfg(feature = "fault-engine")]
            Self::Null => Capabilities::default(),
            #[cfg(feature = "fault-engine")]
            Self::Fault(_) => Capabilities {
                prompt: true,
                keywords: true,
                temperature: true,
                translation: true,
                ..Capabilities::default()
            },
        }
    }

    /// Whether the model can transcribe the language with this ISO 639-1 code (a region after it is ignored).
    pub fn speaks(&self, language: &str) -> bool {
        let primary = primary_language(language);
        match self {
            Self::Pocketsphinx(settings) => settings.language.eq_ignore_ascii_case(primary),
            Self::Vosk(settings) => settings
                .known_language()
                .is_none_or(|known| known.eq_ignore_ascii_case(primary)),
            Self::Exec(settings) => settings.speaks(primary),
            #[cfg(feature = "whisper")]
            Self::Whisper(settings) => settings.speaks(&primary.to_ascii_lowercase()),
            Self::Azure(settings) => settings.language(Some(language)).is_some(),
            #[cfg(feature = "fault-engine")]
            Self::Null | Self::Fault(_) => true,
        }
    }
}
