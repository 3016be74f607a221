//! The clients' side: connections, who is at their other end, and the protocols they speak.

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
