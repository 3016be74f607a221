//! The administrator's settings: their tables, defaults, rules and sources, and the result. Each
//! table is a file with its rules; the tables of engines are in `engine/`.

mod access;
mod audio;
mod breaker;
mod clients;
mod error;
mod file;
mod found;
#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used, clippy::panic)]
pub(crate) mod fuzzing;
mod health;
mod hints;
mod http;
mod identity;
mod isolation;
mod jobs;
mod keys;
mod limits;
mod load;
mod memory;
mod mode;
mod model;
mod recycle;
mod resolve;
mod resolved;
mod service;
mod share;
mod source;
mod spares;
mod speakers;
mod stamp;
#[cfg(test)]
mod tests;
mod zygote;

pub use access::Access;
pub use audio::{Audio, Converter};
pub use breaker::Breaker;
pub use clients::Clients;
pub use error::{ConfigError, Problem};
pub use file::File;
pub use health::Health;
pub use hints::Hints;
pub use http::Http;
pub use isolation::Isolation;
pub use jobs::Jobs;
pub use limits::Limits;
pub use load::DEFAULT_PATH;
pub use memory::{MIN_JOB_MEMORY, Memory, MemoryBudget};
pub use mode::Mode;
pub use model::ModelTable;
pub use recycle::Recycle;
pub use resolved::{Config, Model};
pub use service::{LogLevel, Service};
pub use share::{Share, ShareOverride};
pub use source::DEFAULT_STATE;
pub use spares::Spares;
pub use speakers::Speakers;
pub use stamp::Stamp;
pub use zygote::Zygote;
