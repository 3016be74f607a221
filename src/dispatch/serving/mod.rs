//! One request and its job, from hand-over to the answer and the end of the process.

pub(super) mod feed;
pub(super) mod lifecycle;
pub(super) mod recycle;
pub(super) mod run;
pub(super) mod spare;
pub(super) mod talk;
pub(super) mod thread;
pub(super) mod ticket;
