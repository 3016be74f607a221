//! One request and its job, from hand-over to the answer and the end of the process.

pub(super) mod lifecycle;
pub(super) mod recycle;
pub(super) mod run;
pub(super) mod talk;
