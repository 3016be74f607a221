//! Reads a process's confinement back from the kernel instead of assuming it.

use std::{fmt, fs::File, io};

use procfs::{
    FromRead, ProcError,
    process::{Process, Status},
};
use serde::{Deserialize, Serialize};

use super::landlock;
use crate::isolation::kernel_file;

/// The mode `SECCOMP_MODE_FILTER` of linux/seccomp.h, as /proc shows it.
const FILTER: u32 = 2;

/// The confinement of one zygote, measured by itself. Every job inherits it and adds to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Version of Landlock's interface in force; 0 if the kernel has none.
    pub landlock: u32,
    /// True if even the bounding set holds no capability. Without `CAP_SETPCAP` it cannot be
    /// emptied, and only `no_new_privs` makes it harmless.
    pub bounding_set_empty: bool,
}

impl Confinement {
    /// The rights that this kernel's Landlock cannot forbid, so that seccomp alone does.
    pub fn missing(&self) -> Vec<&'static str> {
        landlock::missing(self.landlock)
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seccomp, no_new_privs, no capabilities, ")?;
        match self.landlock {
            0 => write!(f, "no Landlock"),
            abi => write!(f, "Landlock {abi}"),
        }
    }
}

/// Reasons why a process is not known to be confined.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// The kernel reports that the process is not confined as it should be.
    #[error("the process is not confined as it should be: {0}")]
    Missing(String),
    /// The kernel does not report the confinement.
    #[error("cannot read back how the process is confined: {0}")]
    Unreadable(String),
}

/// The file `/proc/self/status`, opened before the sandbox forbids opening it.
#[derive(Debug)]
pub(super) struct OwnStatus(File);

impl OwnStatus {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self(File::open("/proc/self/status")?))
    }

    /// Check the confinement; returns true if the bounding set is empty.
    pub(super) fn check(&self) -> Result<bool, ConfinementError> {
        let unreadable = |e: &dyn fmt::Display| ConfinementError::Unreadable(e.to_string());
        let status = kernel_file::read(&self.0, |text| Status::from_read(text));
        let status = status
            .map_err(|e| unreadable(&e))?
            .map_err(|e| unreadable(&e))?;
        check(&status)?;
        is_single(&status)?;
        Ok(status.capbnd == Some(0))
    }
}

/// Refuse a process with several threads: only one of them was confined.
fn is_single(status: &Status) -> Result<(), ConfinementError> {
    match status.threads {
        1 => Ok(()),
        _ => Err(ConfinementError::Missing("it has several threads".into())),
    }
}

/// Check the process `pid` from outside. Returns `Ok(false)` if `/proc` hides it from us, so that
/// we know only its own claim. `ProtectProc=invisible` hides it, because it is not dumpable.
///
/// # Errors
/// A part of the confinement that should be in force is not.
pub fn read_back(pid: i32) -> Result<bool, ConfinementError> {
    match Process::new(pid).and_then(|process| process.status()) {
        Ok(status) => check(&status).map(|()| true),
        Err(ProcError::NotFound(_) | ProcError::PermissionDenied(_)) => Ok(false),
        Err(error) => Err(ConfinementError::Unreadable(error.to_string())),
    }
}

fn check(status: &Status) -> Result<(), ConfinementError> {
    let capabilities =
        status.capinh | status.capprm | status.capeff | status.capamb.unwrap_or_default();
    let facts = [
        (status.seccomp == Some(FILTER), "no seccomp filter"),
        (status.nonewprivs == Some(1), "no_new_privs is not set"),
        (capabilities == 0, "it has capabilities"),
    ];
    let wrong: Vec<&str> = facts.iter().filter(|f| !f.0).map(|f| f.1).collect();
    match wrong.as_slice() {
        [] => Ok(()),
        wrong => Err(ConfinementError::Missing(wrong.join(", "))),
    }
}
