//! The clients that the scheduler tells apart: each of them has its own turns and caps.

/// The client that a request comes from, for turns and caps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// A user of this machine, for whom the kernel vouches.
    User(u32),
    /// All clients over TCP together: nobody vouches for any of them.
    Network,
    /// The service itself, which asks now and then whether its models still work.
    Service,
}

impl Client {
    /// The client of a connection on which the kernel vouches for `uid`.
    pub fn of(uid: Option<u32>) -> Self {
        uid.map_or(Self::Network, Self::User)
    }

    /// The user id, if the client is a user of this machine.
    pub fn uid(self) -> Option<u32> {
        match self {
            Self::User(uid) => Some(uid),
            Self::Network | Self::Service => None,
        }
    }
}
