//! The clients' side: connections, who is at their other end, and the protocols they speak.

mod connections;
pub mod http;
mod listener;
mod peer;
mod spool;

pub use connections::Connections;
pub use listener::Listener;
pub use peer::Peer;
