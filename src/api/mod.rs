//! The clients' side: connections, clients' identities, and the protocols.

mod app;
mod connections;
mod conversation;
mod deltas;
mod error;
pub mod http;
mod linger;
mod listener;
mod live;
mod patience;
mod peer;
mod server;
mod socket;
mod spool;
pub mod vosk;
mod word;
pub mod wyoming;

pub use app::App;
pub use connections::{Connections, Sessions};
pub use listener::Listener;
pub use peer::Peer;
