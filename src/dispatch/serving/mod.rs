//! One request and its job, from the hand-over to the answer and the end of the process.

pub mod lifecycle;
pub mod recycle;
pub mod run;
mod silence;
pub mod talk;
pub mod verdict;
pub mod words;
