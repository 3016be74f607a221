//! How jobs are kept apart: `[isolation]`.

use serde::{Deserialize, Serialize};

use super::mode::Mode;

/// `[isolation]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Isolation {
    /// What serves a request, for every model that does not say otherwise.
    pub mode: Mode,
    /// Refuse to start where no memory controller is delegated to the service.
    pub require_cgroup: bool,
}

impl Default for Isolation {
    fn default() -> Self {
        Self {
            mode: Mode::Process,
            require_cgroup: true,
        }
    }
}
