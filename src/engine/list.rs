//! The list of engines. A new engine is one line here, next to its folder.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::{EngineConfig, EngineError};

/// Hand the list to the macro `$then`: for each engine its documentation, the feature that builds
/// it (if it is not always built), its name as a type, its name in the configuration (which is also
/// its module), and the type of its settings.
macro_rules! engines {
    ($then:ident) => {
        $then! {
            /// CMU PocketSphinx from the distribution's packages.
            Pocketsphinx: pocketsphinx::PocketsphinxSettings,
            /// Vosk, from the shared library of its Python package.
            Vosk: vosk::VoskSettings,
            /// Models in ONNX, run by sherpa-onnx.
            Sherpa: sherpa::SherpaSettings,
            /// A program that the administrator provides.
            Exec: exec::ExecSettings,
            /// OpenAI's Whisper, run by whisper.cpp.
            #[cfg(feature = "whisper")]
            Whisper: whisper::WhisperSettings,
            /// Microsoft's speech service, by its own library.
            Azure: azure::AzureSettings,
            /// Answers at once with no text: for benchmarks of everything but the engine.
            #[cfg(feature = "fault-engine")]
            Null: null::NullSettings,
            /// Misbehaves as it is told: for tests.
            #[cfg(feature = "fault-engine")]
            Fault: fault::FaultSettings,
        }
    };
}
pub(crate) use engines;

macro_rules! kinds_and_settings {
    ($(
        $(#[doc = $doc:literal])* $(#[cfg($cfg:meta)])?
        $kind:ident: $name:ident::$settings:ident,
    )*) => {
        /// The engines that this build knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum EngineKind {
            $($(#[doc = $doc])* $(#[cfg($cfg)])? $kind,)*
        }

        impl EngineKind {
            /// The engine's name, as in `engine = "…"`.
            pub fn name(self) -> &'static str {
                match self {
                    $($(#[cfg($cfg)])? Self::$kind => stringify!($name),)*
                }
            }
        }

        /// One model's engine with that engine's own settings: all that a zygote needs to load the
        /// model. It dereferences to [`EngineConfig`], which all engines have in common.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum EngineSettings {
            $($(#[doc = $doc])* $(#[cfg($cfg)])? $kind(super::$name::$settings),)*
        }

        impl EngineSettings {
            /// The engine whose settings these are.
            pub fn kind(&self) -> EngineKind {
                match self {
                    $($(#[cfg($cfg)])? Self::$kind(_) => EngineKind::$kind,)*
                }
            }
        }

        impl Deref for EngineSettings {
            type Target = dyn EngineConfig;

            fn deref(&self) -> &Self::Target {
                match self {
                    $($(#[cfg($cfg)])? Self::$kind(settings) => settings,)*
                }
            }
        }
    };
}
engines!(kinds_and_settings);

impl Default for EngineKind {
    /// The engine that works out of the box.
    fn default() -> Self {
        Self::Pocketsphinx
    }
}

impl EngineSettings {
    /// The engine's name, as in `engine = "…"`.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// The settings as bytes, for another process of this very binary.
    ///
    /// # Errors
    /// They cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>, EngineError> {
        postcard::to_stdvec(self).map_err(|error| {
            EngineError::Unavailable(format!("its settings cannot be sent: {error}"))
        })
    }

    /// The settings that [`Self::encode`] made `bytes` of.
    ///
    /// # Errors
    /// Other bytes, or bytes from another build.
    pub fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        postcard::from_bytes(bytes).map_err(|error| {
            EngineError::Unavailable(format!("its settings are malformed: {error}"))
        })
    }
}
