//! Children that nobody knows: a zygote that is killed between its fork and its word about it leaves one behind.

use std::{io, time::Duration};

use nix::{
    errno::Errno,
    sys::wait::{Id, WaitPidFlag, WaitStatus, waitid},
    unistd::Pid,
};

/// Look so many times, `patience` apart, and reap what are orphans; gives how many there were.
///
/// To be called where a zygote was lost. Every known child is awaited by a task of the same runtime, which has its turn
/// within an instant: so what stays unreaped from one look to the next is an orphan. It ends by itself, for nobody is at
/// the other end of its channel.
///
/// # Errors
/// The kernel refuses to wait.
pub async fn reap(looks: u32, patience: Duration) -> io::Result<usize> {
    let mut reaped = 0;
    let mut before = None;
    for _ in 0..looks {
        let now = ended_child()?;
        match now {
            Some(pid) if now == before => {
                waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG)?;
                reaped += 1;
                before = None;
            }
            _ => before = now,
        }
        tokio::time::sleep(patience).await;
    }
    Ok(reaped)
}

/// A child that has ended and was not reaped, if there is one; it stays as it is.
fn ended_child() -> io::Result<Option<Pid>> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::All, flags) {
        Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => Ok(None),
        Ok(status) => Ok(status.pid()),
        Err(error) => Err(error.into()),
    }
}
