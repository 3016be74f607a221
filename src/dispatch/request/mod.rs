//! One request as every part of the dispatcher knows it: its sender, its limits, its recording's
//! arrival and the events that its client gets.

pub mod client;
pub mod events;
pub mod feed;
pub mod submission;
