//! systemd's side: sockets, readiness, watchdog, journal, signals, and the order of start and stop.

mod check;
mod confinement;
mod error;
mod journal;
mod log;
mod network;
mod notify;
mod pressure;
mod privileges;
mod reload;
mod run;
mod signals;
mod sockets;
mod stop;
mod watchdog;

pub use check::{CheckError, check_model};
pub use error::ServeError;
pub use reload::Load;
pub use run::serve;
