//! One request as the rest of the dispatcher knows it: who sent it, how its recording arrives, what its client hears.

pub(super) mod feed;
