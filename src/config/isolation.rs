//! How jobs are isolated from each other: `[isolation]`.

use serde::{Deserialize, Serialize};

use super::mode::Mode;

/// The table `[isolation]`: mode and cgroups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Isolation {
    /// How requests are served, for every model that sets no other mode.
    pub mode: Mode,
    /// Refuse to start if no memory controller is delegated to the service.
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
