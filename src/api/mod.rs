//! The clients' side: connections, clients' identities, and the protocols.

mod app;
mod connections;
mod conversation;
mod deltas;
mod error;
pub mod http;
mod keyless;
mod linger;
mod listener;
mod live;
mod patience;
mod peer;
mod server;
mod sessions;
mod socket;
mod spool;
pub mod vosk;
mod word;
pub mod wyoming;

pub use app::App;
pub use connections::Connections;
pub use listener::Listener;
pub use peer::Peer;
pub use sessions::Sessions;
