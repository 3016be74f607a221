//! Seams at which tests make a job misbehave. They are always there; without the feature
//! `fault-engine`, which no package has, they do nothing.

#[cfg(feature = "fault-engine")]
mod fault;

use super::wire::{JobChannel, Order};

/// Called around each request of a job.
pub(super) trait Seam {
    /// The next request has come. The one before it was number `before`.
    fn next(&mut self, _channel: &JobChannel, _before: u64) {}

    /// The request is about to be transcribed.
    fn before(&mut self, _order: &mut Order, _channel: &JobChannel) {}

    /// The request has its answer.
    fn answered(&mut self, _channel: &JobChannel, _id: u64) {}

    /// The supervisor has hung up.
    fn dismissed(&mut self) {}
}

/// Leaves every job as it is.
#[cfg(not(feature = "fault-engine"))]
struct Nothing;

#[cfg(not(feature = "fault-engine"))]
impl Seam for Nothing {}

/// The seams of this build.
pub(super) fn seam() -> impl Seam {
    #[cfg(feature = "fault-engine")]
    return fault::Afterwards::Behave;
    #[cfg(not(feature = "fault-engine"))]
    return Nothing;
}

/// Called when a zygote begins its work.
pub(super) fn zygote() {
    #[cfg(feature = "fault-engine")]
    crate::engine::fault::escape::look_around();
}
