//! Gives up rights that a process does not need: capabilities, other users' rights, core files,
//! resources.
#![allow(unsafe_code)]

use std::io;

use caps::{CapSet, Capability, errors::CapsError};
use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};

use crate::isolation::Profile;

/// Number of descriptors that a program may have open: enough for many libraries, child processes
/// and temporary files.
const PROGRAM_DESCRIPTORS: u64 = 1024;

/// Largest file that a program may write, in bytes. If its scratch directory is on a disk, this is
/// the only bound.
const PROGRAM_FILE: u64 = 1 << 30;

/// Number of descriptors that a zygote may have open: its control socket, one job's socket, log and
/// cgroup, and a model's files.
const ZYGOTE_DESCRIPTORS: u64 = 64;

/// Bits of linux/securebits.h: user 0 gets no capabilities by its number (NOROOT), changing users
/// changes none (NO_SETUID_FIXUP), ambient ones cannot be raised (NO_CAP_AMBIENT_RAISE), and none
/// are kept (not KEEP_CAPS). Each bit is locked.
const SECUREBITS: libc::c_ulong = 1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7;

/// Reasons why privileges cannot be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The kernel refuses to remove capabilities.
    #[error("cannot give up capabilities: {0}")]
    Capabilities(#[from] CapsError),
    /// The kernel refuses another step.
    #[error("cannot give up privileges: {0}")]
    System(#[from] io::Error),
}

impl From<nix::Error> for PrivilegeError {
    fn from(errno: nix::Error) -> Self {
        Self::System(errno.into())
    }
}

/// Give up every capability and every way to regain one, and make the process unreadable: no core
/// file, no tracer of the same user. This holds for the calling thread and all that it starts from
/// now on, so call it before starting other threads.
///
/// # Errors
/// The kernel refuses.
pub fn give_up() -> Result<(), PrivilegeError> {
    // Only a process with CAP_SETPCAP can empty the bounding set. Without that capability it stays,
    // but does no harm: with no_new_privs no executed program can gain a capability.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        // SAFETY: PR_SET_SECUREBITS takes a plain number.
        if unsafe { libc::prctl(libc::PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0) } != 0 {
            return Err(io::Error::last_os_error().into());
        }
        caps::clear(None, CapSet::Bounding)?;
    }
    // The effective capabilities go with the permitted ones. Leave empty sets alone: the service's
    // own unit forbids the system call that would empty them.
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Permitted] {
        if !caps::read(None, set)?.is_empty() {
            caps::clear(None, set)?;
        }
    }
    prctl::set_no_new_privs()?;
    prctl::set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(())
}

/// In a zygote: set the limits that it and its jobs can never exceed.
///
/// # Errors
/// The kernel refuses.
pub(super) fn limit(profile: Profile) -> io::Result<()> {
    // No process may write a byte to any file, except a program in its scratch directory.
    let (descriptors, file) = match profile {
        Profile::Library | Profile::Network => (ZYGOTE_DESCRIPTORS, 0),
        Profile::Program { .. } => (PROGRAM_DESCRIPTORS, PROGRAM_FILE),
    };
    setrlimit(Resource::RLIMIT_NOFILE, descriptors, descriptors)?;
    setrlimit(Resource::RLIMIT_FSIZE, file, file)?;
    setrlimit(Resource::RLIMIT_MSGQUEUE, 0, 0)?;
    // Locked memory cannot be reclaimed when the machine is short of it.
    setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0)?;
    Ok(())
}
