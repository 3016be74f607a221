//! Something that is ready to take a request: a forked job, or in mode `thread` the engine's thread.

use tokio::sync::oneshot;

use super::queue::Waiting;

/// The scheduler's hold on something that is ready to take a request.
#[derive(Debug)]
pub(super) struct SpareHandle {
    /// Tells spares of one model apart.
    pub(super) key: u64,
    hand_over: oneshot::Sender<Box<Waiting>>,
}

impl SpareHandle {
    /// A handle, and the end at which the spare waits.
    pub(super) fn new(key: u64) -> (Self, oneshot::Receiver<Box<Waiting>>) {
        let (hand_over, receiver) = oneshot::channel();
        (Self { key, hand_over }, receiver)
    }

    /// Hand the request over, or get it back because the spare is gone.
    pub(super) fn assign(self, waiting: Box<Waiting>) -> Result<(), Box<Waiting>> {
        self.hand_over.send(waiting)
    }
}
