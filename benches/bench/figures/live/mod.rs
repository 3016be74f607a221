//! Realtime sessions: how late their text comes, and what they cost.

pub mod latency;
pub mod leaks;
pub mod silence;

mod caller;
