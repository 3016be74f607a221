//! Who may ask the service for something, and how much of it one of them may have, as the file says it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `[clients]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clients {
    /// Users, by name or number, who may ask. With `allow_groups` empty as well: whoever can connect.
    pub allow_users: Vec<String>,
    /// Groups, by name or number, whose members may ask.
    pub allow_groups: Vec<String>,
    /// Jobs that one user may have running at once; 0: as many as there may be altogether.
    pub max_running: usize,
    /// Requests of one user that may wait; 0: as many as may wait altogether.
    pub max_queued: usize,
    /// What differs for members of a group, by its name or number.
    pub groups: BTreeMap<String, ShareOverride>,
    /// What differs for a user, by name or number; comes before the groups.
    pub users: BTreeMap<String, ShareOverride>,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            allow_users: Vec::new(),
            allow_groups: Vec::new(),
            max_running: 0,
            // Half of what may wait altogether: one user must not fill the queue.
            max_queued: 128,
            groups: BTreeMap::new(),
            users: BTreeMap::new(),
        }
    }
}

/// The caps of [`Clients`], each optional.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShareOverride {
    /// Jobs running at once.
    pub max_running: Option<usize>,
    /// Requests that wait.
    pub max_queued: Option<usize>,
}

/// How much one client may have at once; 0: no cap of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Jobs running.
    pub max_running: usize,
    /// Requests that wait.
    pub max_queued: usize,
}
