//! stt-isolated runs every transcription in a transient process, confined by cgroup v2.
//!
//! ARCHITECTURE.md says which module may import which. From the top floor down: `service`, `api`,
//! `dispatch`, `job`, then `isolation`, `audio` and `engine`, and on the ground `config`,
//! `transcript` and `events`.

pub mod api;
pub mod audio;
pub mod catalogue;
pub mod config;
pub mod detector;
pub mod dispatch;
pub mod engine;
pub mod events;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod isolation;
pub mod job;
pub mod language;
pub mod names;
pub mod problems;
pub mod request;
pub mod service;
pub mod transcript;
pub mod units;
