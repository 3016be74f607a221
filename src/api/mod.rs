//! The clients' side: connections, who is at their other end, and the protocols they speak.

pub mod http;
mod listener;
mod peer;
mod spool;

pub use listener::Listener;
pub use peer::Peer;
