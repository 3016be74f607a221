//! The number of a model, by which the scheduler tells models apart.

/// Number of one model for as long as the service knows it. No two models ever have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolId(pub u32);

impl PoolId {
    /// The number of no model: that of requests that never wait in the queue.
    pub const NONE: Self = Self(0);
}
