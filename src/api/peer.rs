//! Who is at the other end of a connection.

use std::{net::SocketAddr, sync::Arc};

use crate::config::{Access, Share};

/// The other end, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this machine; the kernel vouches for all numbers (`SO_PEERCRED`, `SO_PEERGROUPS`, taken at connect
    /// time).
    Local {
        /// Its effective user.
        uid: u32,
        /// Its effective group.
        gid: u32,
        /// Its other groups; empty unless the configuration asks for them.
        groups: Arc<[u32]>,
        /// Its process id, where it is visible from here.
        pid: Option<i32>,
    },
    /// Somebody on the network.
    Remote(SocketAddr),
}

impl Peer {
    /// The user whom the kernel vouches for.
    pub fn uid(&self) -> Option<u32> {
        match self {
            Self::Local { uid, .. } => Some(*uid),
            Self::Remote(_) => None,
        }
    }

    /// How much of the service it may have; `None`: nothing at all.
    pub fn share(&self, access: &Access) -> Option<Share> {
        match self {
            Self::Local {
                uid, gid, groups, ..
            } => access.of_user(*uid, *gid, groups),
            Self::Remote(_) => access.of_network(),
        }
    }
}
