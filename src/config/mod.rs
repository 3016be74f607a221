//! What the administrator can set, and nothing else: schema, defaults, where it comes from, validation.

mod access;
mod clients;
mod engine;
mod error;
mod found;
#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used, clippy::panic)]
pub(crate) mod fuzzing;
mod identity;
mod language;
mod limits;
mod load;
mod mode;
mod names;
mod recycle;
mod resolved;
mod rules;
mod schema;
mod source;
mod spares;
mod stamp;
#[cfg(test)]
mod tests;
mod units;
mod validate;

pub use access::Access;
pub use clients::{Clients, Share, ShareOverride};
#[cfg(feature = "fault-engine")]
pub use engine::FaultSettings;
#[cfg(feature = "whisper")]
pub use engine::WhisperSettings;
pub use engine::{
    AzureKey, AzureService, AzureSettings, AzureTable, Capabilities, Capability, EngineKind,
    EngineSettings, ExecSettings, PocketsphinxSettings, Preload, Profile, VoskSettings,
};
pub use error::{ConfigError, Problem};
pub use language::{is_language_code, primary_language};
pub use limits::{Limits, MIN_JOB_MEMORY};
pub use load::DEFAULT_PATH;
pub use mode::Mode;
pub use recycle::Recycle;
pub use resolved::{Config, Model};
pub use schema::{Breaker, File, Health, Http, Isolation, Jobs, LogLevel, Memory, Service, Zygote};
pub use source::DEFAULT_STATE;
pub use spares::Spares;
pub use stamp::Stamp;
pub use units::{ByteSize, Lifetime, MemoryBudget};
