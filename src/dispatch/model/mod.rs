//! What keeps each model ready: its zygote and spares, its replacement, its proofs of life.

pub(super) mod canary;
mod forking;
pub(super) mod keeper;
mod reload;
pub(super) mod renewal;
pub(super) mod thread;
pub(super) mod zygote;
