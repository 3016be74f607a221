//! Everything that keeps a model ready: its zygote or thread, its replacement, its proofs of life.

pub mod canary;
pub mod forking;
pub mod keeper;
pub mod reload;
pub mod renewal;
pub mod server;
pub mod thread;
pub mod threading;
pub mod zygote;
