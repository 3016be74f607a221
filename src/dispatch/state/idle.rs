//! The scheduler's handle on something that is ready for a request: a forked job, or in mode
//! `thread` the engine's thread. A test can make one without either.

use tokio::sync::oneshot;

use super::accepted::Accepted;

/// Hands one request to the idle job behind it. The job ends when this is dropped unused.
#[derive(Debug)]
pub struct IdleHandle {
    /// Tells the idle jobs of one model apart.
    pub key: u64,
    hand_over: oneshot::Sender<Box<Accepted>>,
}

/// The end at which an idle job waits for its request.
pub type NextRequest = oneshot::Receiver<Box<Accepted>>;

impl IdleHandle {
    /// A handle, and the end at which the job waits.
    pub fn new(key: u64) -> (Self, NextRequest) {
        let (hand_over, next) = oneshot::channel();
        (Self { key, hand_over }, next)
    }

    /// Hand `request` over, or get it back because the job is gone.
    ///
    /// # Errors
    /// The job is gone; this is the request.
    pub fn assign(self, request: Box<Accepted>) -> Result<(), Box<Accepted>> {
        self.hand_over.send(request)
    }
}
