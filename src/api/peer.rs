//! Who is at the other end of a connection.

use std::net::SocketAddr;

/// The other end, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this machine; the kernel vouches for both numbers (`SO_PEERCRED`, taken at connect time).
    Local {
        /// Its effective user.
        uid: u32,
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
}
