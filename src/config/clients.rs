//! The table `[clients]` as the file says it: which clients may ask, and how much each may have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{keys::KeysTable, share::ShareOverride};

/// The table `[clients]`: access and caps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clients {
    /// Users, by name or number, that may ask. If `allow_groups` is empty too, every client that
    /// can connect may ask.
    pub allow_users: Vec<String>,
    /// Groups, by name or number, whose members may ask.
    pub allow_groups: Vec<String>,
    /// Jobs that one user may have running at once; 0: up to `jobs.max_running`.
    pub max_running: usize,
    /// Requests of one user that may wait; 0: up to `jobs.max_queued`.
    pub max_queued: usize,
    /// Caps for members of a group, by its name or number. They override the caps above.
    pub groups: BTreeMap<String, ShareOverride>,
    /// Caps for a user, by name or number. They override the caps of the user's groups.
    pub users: BTreeMap<String, ShareOverride>,
    /// The keys of clients over TCP.
    pub keys: KeysTable,
    /// Whether Wyoming, which knows no keys, also serves clients on other machines.
    pub wyoming_network: bool,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            allow_users: Vec::new(),
            allow_groups: Vec::new(),
            max_running: 0,
            // Half of `jobs.max_queued`: one user must not fill the queue.
            max_queued: 128,
            groups: BTreeMap::new(),
            users: BTreeMap::new(),
            keys: KeysTable::default(),
            wyoming_network: false,
        }
    }
}
