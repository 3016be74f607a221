//! Treatment of hints that a model cannot use.

use serde::{Deserialize, Serialize};

/// Treatment of a request with a hint (`prompt`, `keywords`, `temperature`, several `languages`)
/// that its model cannot use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hints {
    /// It is transcribed without the hint, and its answer has a warning. Many programs send such
    /// hints by default.
    #[default]
    Take,
    /// It is refused.
    Refuse,
}
