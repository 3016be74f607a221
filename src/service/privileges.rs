//! Reduces the rights of the supervisor itself, and prevents that it runs as root by accident.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid},
};

use super::error::ServeError;
use crate::isolation::sandbox::privileges;

/// Give up every capability. Call this first, while the process has one thread, because
/// capabilities belong to threads.
///
/// The remaining rights are enough: cgroups, sockets and files are accessed as their owner, jobs
/// are signalled by their parent, and `/proc/self` stays open to the process itself although it is
/// not dumpable.
pub(super) fn give_up(allow_root: bool) -> Result<(), ServeError> {
    if geteuid().is_root() && !allow_root {
        return Err(ServeError::Root);
    }
    Ok(privileges::give_up()?)
}

/// Open files that are enough for `http.max_connections` of 512 and all jobs: as in the unit.
const ENOUGH_FILES: u64 = 16_384;

/// Let this process open as many files as it may. The usual soft limit of 1024 is for programs that
/// use `select`.
pub(super) fn open_more_files() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let more = hard.min(ENOUGH_FILES);
    if more > soft {
        setrlimit(Resource::RLIMIT_NOFILE, more, hard)?;
    }
    Ok(())
}

/// The user and the group "nobody" of every distribution, who own no files.
const NOBODY: u32 = 65_534;

/// If this is root: become the owner of `folder`, or nobody if root owns it. In the models
/// directory this is the service's own user. Call it while the process has one thread.
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
