//! What keeps each model ready: its zygote and spares, its replacement, its proofs of life.

pub(super) mod breaker;
pub(super) mod canary;
mod forking;
pub(super) mod keeper;
pub(super) mod pool;
mod reload;
pub(super) mod renewal;
mod stall;
pub(super) mod zygote;
