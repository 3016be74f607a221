//! Who may wait, who is next, and how much memory there is for their jobs.

pub(super) mod budget;
pub(super) mod queue;
pub(super) mod retry;
pub(super) mod turns;
