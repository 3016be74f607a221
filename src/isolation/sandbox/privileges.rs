//! Giving up what a process does not need: capabilities, a new start as somebody else, core files, resources.
#![allow(unsafe_code)]

use std::io;

use caps::{CapSet, Capability, errors::CapsError};
use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};

use crate::config::Profile;

/// Descriptors that a program may have open: many libraries, helpers and temporary files.
const PROGRAM_DESCRIPTORS: u64 = 1024;

/// The largest file that a program may write, in bytes: where its scratch directory is no memory, nothing else bounds it.
const PROGRAM_FILE: u64 = 1 << 30;

/// Descriptors that a zygote may have open: its control socket, one job's socket, log and cgroup, a model's files.
const ZYGOTE_DESCRIPTORS: u64 = 64;

/// Bits of linux/securebits.h: user 0 has no capabilities by its number alone (NOROOT), changing users changes none
/// (NO_SETUID_FIXUP), ambient ones cannot be raised (NO_CAP_AMBIENT_RAISE), none are kept (not KEEP_CAPS); each locked.
const SECUREBITS: libc::c_ulong = 1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7;

/// Why privileges cannot be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The kernel refuses to take capabilities away.
    #[error("cannot give up capabilities: {0}")]
    Capabilities(#[from] CapsError),
    /// The kernel refuses something else.
    #[error("cannot give up privileges: {0}")]
    System(#[from] io::Error),
}

impl From<nix::Error> for PrivilegeError {
    fn from(errno: nix::Error) -> Self {
        Self::System(errno.into())
    }
}

/// Give up every capability and every way to regain one, and be unreadable: no core file, no tracer of the same user.
/// Holds for the calling thread and what it starts from now on, so it must come before any other thread.
///
/// # Errors
/// The kernel refuses.
pub fn give_up() -> Result<(), PrivilegeError> {
    // Only who has CAP_SETPCAP can take these away. Who has not is no worse off: with no_new_privs no program that
    // is executed can give a capability, whatever the bounding set would permit.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        // SAFETY: PR_SET_SECUREBITS takes a plain number.
        if unsafe { libc::prctl(libc::PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0) } != 0 {
            return Err(io::Error::last_os_error().into());
        }
        caps::clear(None, CapSet::Bounding)?;
    }
    // The effective ones go with the permitted ones. What is empty already is left alone: the service's own unit
    // forbids the system call that would empty it.
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

/// In a zygote: what it and its jobs can never exceed.
///
/// # Errors
/// The kernel refuses.
pub(super) fn limit(profile: Profile) -> io::Result<()> {
    // Not one byte into any file, but for a program in its scratch directory.
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
