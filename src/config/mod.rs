//! What the administrator can set, and nothing else: schema, defaults, where it comes from, validation.

mod access;
mod clients;
mod error;
mod found;
#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used, clippy::panic)]
pub(crate) mod fuzzing;
mod identity;
pub(crate) mod limits;
mod load;
mod memory;
pub(crate) mod mode;
mod names;
mod recycle;
mod resolved;
pub(crate) mod rules;
mod schema;
mod source;
mod spares;
mod stamp;
#[cfg(test)]
mod tests;
mod validate;

pub use access::Access;
pub use clients::{Clients, Share, ShareOverride};
pub use error::{ConfigError, Problem};
pub use limits::{Limits, MIN_JOB_MEMORY};
pub use load::DEFAULT_PATH;
pub use memory::{Memory, MemoryBudget};
pub use mode::Mode;
pub use recycle::Recycle;
pub use resolved::{Config, Model};
pub use schema::{Breaker, File, Health, Http, Isolation, Jobs, LogLevel, Service, Zygote};
pub use source::DEFAULT_STATE;
pub use spares::Spares;
pub use stamp::Stamp;
