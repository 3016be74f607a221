//! Reaps unknown children: a zygote that is killed after its fork but before its message leaves one
//! behind.

use std::{io, time::Duration};

use nix::{
    errno::Errno,
    sys::wait::{Id, WaitPidFlag, WaitStatus, waitid},
    unistd::Pid,
};

/// Look `looks` times, `patience` apart, and reap orphans. Returns how many there were.
///
/// Call it after a zygote was lost. A task of the same runtime awaits each known child and runs
/// within an instant. So a child that stays unreaped from one look to the next is an orphan. An
/// orphan ends by itself, because nobody holds the other end of its channel.
///
/// # Errors
/// The kernel refuses to wait.
pub async fn reap(looks: u32, patience: Duration) -> io::Result<usize> {
    #[cfg(test)]
    if super::simulated::is_on() {
        return Ok(0);
    }
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

/// A child that has ended and is not reaped, if there is one. This call does not reap it.
fn ended_child() -> io::Result<Option<Pid>> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::All, flags) {
        Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => Ok(None),
        Ok(status) => Ok(status.pid()),
        Err(error) => Err(error.into()),
    }
}
