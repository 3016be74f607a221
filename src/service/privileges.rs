//! What the supervisor itself may do: as little as possible, and never as root by accident.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

use super::error::ServeError;
use crate::isolation::sandbox::privileges;

/// Give up every capability. Must come first of all, while this process has one thread: capabilities belong to threads.
///
/// What remains is enough: cgroups, sockets and files are reached by their owner, jobs are signalled by their parent,
/// and `/proc/self` stays open to the process itself though it is not dumpable.
pub(super) fn give_up(allow_root: bool) -> Result<(), ServeError> {
    if geteuid().is_root() && !allow_root {
        return Err(ServeError::Root);
    }
    Ok(privileges::give_up()?)
}

/// The user and the group "nobody" of every distribution: who has no files.
const NOBODY: u32 = 65_534;

/// If this is root: become the user who owns `folder`, or nobody if that is root as well. In the models directory this is
/// the service's own user. Must come while the process has one thread.
pub(super) fn become_owner(folder: &Path) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let (user, group) = match fs::metadata(folder)? {
        folder if folder.uid() == 0 => (NOBODY, NOBODY),
        folder => (folder.uid(), folder.gid()),
    };
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    setgroups(&[group])?;
    setresgid(group, group, group)?;
    Ok(setresuid(user, user, user)?)
}
