//! systemd's side: sockets, readiness, watchdog, journal, signals, and the order of start and stop.

mod error;
mod log;
mod notify;
mod privileges;
mod run;
mod sockets;

pub use error::ServeError;
pub use run::serve;
