//! What the scheduler knows, changed in steps that never wait: queue, memory, models, idle jobs.

pub(super) mod accepted;
pub(super) mod breaker;
pub(super) mod budget;
pub(super) mod idle;
pub(super) mod pool;
pub(super) mod retry;
mod stall;
pub(super) mod ticket;
pub(super) mod turns;
