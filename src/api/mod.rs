//! The clients' side: connections, clients' identities, and the protocols.

mod app;
mod connections;
mod error;
pub mod http;
mod linger;
mod listener;
mod patience;
mod peer;
mod server;
mod spool;
mod word;
pub mod wyoming;

pub use app::App;
pub use connections::Connections;
pub use listener::Listener;
pub use peer::Peer;
