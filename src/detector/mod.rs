//! Tells when somebody speaks in recordings that arrive live. The samples are hostile, so they are
//! judged in one confined process for all of them; it is started when the first one comes.

mod hub;
mod process;
mod wire;

pub use crate::audio::{Change, Coding, Judgement, LATEST_NEWS_MS, LiveFormat, Rule};

pub use hub::{Detection, Detector, News};
pub use process::main;
