//! How speakers are told apart in requests that do not say it.

use serde::{Deserialize, Serialize};

/// How speakers are told apart in requests that do not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speakers {
    /// Only if the format of the answer has speakers.
    #[default]
    Auto,
    /// Always: each channel is transcribed by a job of its own.
    Channels,
}
