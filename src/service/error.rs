//! Reasons why the service does not run, with the exit status for each.

use std::io;

use crate::isolation::{cgroup::CgroupError, sandbox::privileges::PrivilegeError};

/// Reasons why the service does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The service was started as root.
    #[error(
        "the service does not run as root: start it as a user of its own (`User=stt-isolated` in its unit), \
         or allow it for development with --allow-root"
    )]
    Root,
    /// Privileges cannot be given up.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// systemd passed no socket.
    #[error(
        "no listening socket was passed to the service; start it with `systemctl start stt-isolated.socket`, \
         or by hand with `systemd-socket-activate --fdname=http -l /tmp/stt.sock stt-isolated`"
    )]
    NoSocket,
    /// A passed socket cannot be used.
    #[error("the socket `{name}` cannot be used: {reason}")]
    Socket {
        /// Name of the socket (`FileDescriptorName=`).
        name: String,
        /// The problem with the socket.
        reason: String,
    },
    /// Jobs cannot be confined, but the configuration requires it.
    #[error(
        "{0}; or set isolation.require_cgroup = false to run jobs without memory limits (development only)"
    )]
    Unconfined(#[from] CgroupError),
    /// No model can serve.
    #[error("no model can serve:\n{0}")]
    NoModel(String),
    /// The system refuses a basic step.
    #[error("cannot run: {0}")]
    System(#[from] io::Error),
}

impl ServeError {
    /// Exit status from sysexits.h: 78 if the administrator must fix something.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Root | Self::NoSocket | Self::Socket { .. } | Self::Unconfined(_) => 78,
            Self::Privileges(_) | Self::NoModel(_) | Self::System(_) => 1,
        }
    }
}
