//! How much one client may have at once.

use serde::{Deserialize, Serialize};

/// The caps of `[clients]`, each optional.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShareOverride {
    /// Jobs of one client that run at once.
    pub max_running: Option<usize>,
    /// Requests of one client that wait.
    pub max_queued: Option<usize>,
}

/// How much one client may have at once; 0: no separate cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Jobs of one client that run at once.
    pub max_running: usize,
    /// Requests of one client that wait.
    pub max_queued: usize,
}
