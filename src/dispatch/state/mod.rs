//! All that the scheduler knows and decides by, changed in steps that never wait. Nothing here
//! makes a process, so tests need none.

pub mod accepted;
pub mod admission;
pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod idle;
pub mod need;
pub mod pool;
pub mod pool_id;
pub mod reservation;
pub mod retry;
pub mod schedule;
pub mod shared;
pub mod stall;
pub mod ticket;
pub mod turns;
pub mod upcoming;
