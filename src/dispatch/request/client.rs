//! The clients that the scheduler tells apart: each of them has its own turns and caps.

use crate::request::KeyName;

/// The client that a request comes from, for turns, caps, statistics and the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// A user of this machine, for whom the kernel vouches.
    User(u32),
    /// All who show this key over TCP, together.
    Key(KeyName),
    /// All clients over TCP without a key together: nobody vouches for any of them.
    Network,
    /// The service itself, which asks now and then whether its models still work.
    Service,
}

impl Client {
    /// The user id, if the client is a user of this machine.
    pub fn uid(&self) -> Option<u32> {
        match self {
            Self::User(uid) => Some(*uid),
            Self::Key(_) | Self::Network | Self::Service => None,
        }
    }

    /// The name of its key, if it has one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Key(name) => Some(name.as_str()),
            Self::User(_) | Self::Network | Self::Service => None,
        }
    }
}
