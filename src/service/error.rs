//! Why the service does not run, and the exit status that says so.

use std::io;

use crate::isolation::{cgroup::CgroupError, sandbox::privileges::PrivilegeError};

/// Why the service does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody started it as root.
    #[error(
        "the service does not run as root: start it as a user of its own (`User=stt-isolated` in its unit), \
         or allow it for development with --allow-root"
    )]
    Root,
    /// Privileges remain.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// Nobody passed a socket.
    #[error(
        "no listening socket was passed to the service; start it with `systemctl start stt-isolated.socket`, \
         or by hand with `systemd-socket-activate --fdname=http -l /tmp/stt.sock stt-isolated`"
    )]
    NoSocket,
    /// A socket was passed that cannot be used.
    #[error("the socket `{name}` cannot be used: {reason}")]
    Socket {
        /// Its name (`FileDescriptorName=`).
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Jobs cannot be confined, and the configuration demands it.
    #[error(
        "{0}; or set isolation.require_cgroup = false to run jobs without memory limits (development only)"
    )]
    Unconfined(#[from] CgroupError),
    /// Not one model can serve.
    #[error("no model can serve:\n{0}")]
    NoModel(String),
    /// The system refuses something basic.
    #[error("cannot run: {0}")]
    System(#[from] io::Error),
}

impl ServeError {
    /// Exit status as sysexits.h has it: 78 for what the administrator has to mend.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Root | Self::NoSocket | Self::Socket { .. } | Self::Unconfined(_) => 78,
            Self::Privileges(_) | Self::NoModel(_) | Self::System(_) => 1,
        }
    }
}
