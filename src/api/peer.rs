//! The client at the other end of a connection.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    config::{Access, Share},
    dispatch::Client,
};

/// Identity of the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process on this machine. The kernel guarantees all numbers (`SO_PEERCRED`,
    /// `SO_PEERGROUPS`, read when it connected).
    Local {
        /// Effective user of the process.
        uid: u32,
        /// Effective group of the process.
        gid: u32,
        /// Supplementary groups; empty unless the configuration asks for them.
        groups: Arc<[u32]>,
        /// Process id, if it is visible from here.
        pid: Option<i32>,
    },
    /// A client on the network.
    Remote(SocketAddr),
}

impl Peer {
    /// The client, as far as the connection tells.
    pub fn client(&self) -> Client {
        match self {
            Self::Local { uid, .. } => Client::User(*uid),
            Self::Remote(_) => Client::Network,
        }
    }

    /// Whether the client is on another machine.
    pub fn is_elsewhere(&self) -> bool {
        match self {
            Self::Local { .. } => false,
            Self::Remote(address) => !address.ip().to_canonical().is_loopback(),
        }
    }

    /// The client's share of the service, if it shows no key; `None` if it may not use the service.
    pub fn share(&self, access: &Access) -> Option<Share> {
        match self {
            Self::Local {
                uid, gid, groups, ..
            } => access.of_user(*uid, *gid, groups),
            Self::Remote(_) => access.of_network(),
        }
    }
}
