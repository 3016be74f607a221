//! A child process of the supervisor: it never outlives its handle.

use std::io;

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::io::unix::AsyncFd;

use super::{exit::Exit, pidfd::PidFd};

/// A child process, killed and reaped when dropped: no process that we started outlives its handle.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: i32,
    pidfd: AsyncFd<PidFd>,
    /// True if the process leads a group that holds all processes that it starts, and that ends
    /// with it.
    pub(super) leads: bool,
    /// The exit, once the process is reaped.
    pub(super) exit: Option<Exit>,
}

impl Child {
    pub(super) fn new(pid: i32, pidfd: PidFd) -> io::Result<Self> {
        Ok(Self {
            pid,
            pidfd: pidfd.watch()?,
            leads: false,
            exit: None,
        })
    }

    pub(super) fn kill(&self) {
        if let Err(error) = self.pidfd.get_ref().signal(Signal::SIGKILL) {
            tracing::error!(
                pid = self.pid,
                "process {} cannot be killed: {error}",
                self.pid
            );
        }
    }

    /// Kill all that a dead process has left in its group. It must not be reaped yet: until then no
    /// other process can get its number, which is also the group's.
    fn kill_group(&self) {
        if self.leads && self.pidfd.get_ref().has_ended() {
            // This fails if nothing was left, or if the process died before it made its group.
            let _ = killpg(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }

    /// Wait for the end of the process and reap it; later calls return the same answer.
    /// Cancel-safe.
    pub(super) async fn ended(&mut self) -> io::Result<Exit> {
        loop {
            if let Some(exit) = self.exit {
                return Ok(exit);
            }
            // Ask the kernel only when the descriptor says that there is an answer.
            let mut readable = self.pidfd.readable().await?;
            self.kill_group();
            match self.pidfd.get_ref().try_reap()? {
                Some(exit) => self.exit = Some(exit),
                None => readable.clear_ready(),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit.is_none() {
            self.kill();
            if self.leads {
                let _ = self.pidfd.get_ref().until_ended();
                self.kill_group();
            }
            // A killed process ends in microseconds; without this it would stay a zombie.
            let _ = self.pidfd.get_ref().reap();
        }
    }
}
