//! What the supervisor itself may do: as little as possible, and never as root by accident.

use super::error::ServeError;
use crate::isolation::sandbox::privileges;

/// Give up every capability. Must come first of all, while this process has one thread: capabilities belong to threads.
///
/// What remains is enough: cgroups, sockets and files are reached by their owner, jobs are signalled by their parent,
/// and `/proc/self` stays open to the process itself though it is not dumpable.
pub(super) fn give_up(allow_root: bool) -> Result<(), ServeError> {
    if nix::unistd::geteuid().is_root() && !allow_root {
        return Err(ServeError::Root);
    }
    Ok(privileges::give_up()?)
}
