//! Landlock: which files can be opened, and that no socket, signal or trace leaves the process.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};

/// Where shared libraries lie, and the index by which the dynamic linker finds them. Not there: skipped.
const LIBRARIES: [&str; 6] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
];

/// The newest version whose restrictions were tried with everything here.
const NEWEST: ABI = ABI::V7;

/// What Landlock can do only since a certain version of its interface, as Documentation/userspace-api/landlock.rst of
/// the kernel has it.
const SINCE: [(u32, &str); 4] = [
    (3, "truncating files (Linux 6.2)"),
    (4, "TCP (Linux 6.7)"),
    (5, "ioctl on devices (Linux 6.10)"),
    (
        6,
        "signals and abstract sockets of other processes (Linux 6.12)",
    ),
];

/// A domain in which a job can enter, made in advance: entering is one system call.
#[derive(Debug)]
pub(super) struct Domain(Option<OwnedFd>);

/// Everything that Landlock can forbid, forbidden. Older kernels forbid what they can.
fn everything() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()
}

/// Everything forbidden but to read libraries and `files`. Executing is about execve only; code of libraries is mapped
/// by the right to read.
fn but_to_read(files: &[PathBuf]) -> Result<RulesetCreated, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    everything()?
        .add_rules(path_beneath_rules(LIBRARIES, read))?
        .add_rules(path_beneath_rules(files, read))
}

/// Confine this process: it can read libraries and `files` (folders with all that is in them), and nothing else.
/// Gives the version of Landlock's interface in force, 0 for none.
///
/// # Errors
/// The kernel has Landlock and yet refuses.
pub(super) fn confine(files: &[PathBuf]) -> Result<u32, RulesetError> {
    let status = but_to_read(files)?.restrict_self()?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as u32,
        _ => 0,
    })
}

/// What the version `abi` of Landlock's interface leaves to seccomp alone.
pub(super) fn missing(abi: u32) -> Vec<&'static str> {
    let all = (abi == 0).then_some("files (CONFIG_SECURITY_LANDLOCK, and lsm= of the kernel)");
    let newer = SINCE.iter().filter(|(since, _)| *since > abi);
    all.into_iter()
        .chain(newer.map(|(_, what)| *what))
        .collect()
}

impl Domain {
    /// A domain in which nothing at all is allowed.
    ///
    /// # Errors
    /// The kernel has Landlock and yet refuses.
    pub(super) fn of_nothing() -> Result<Self, RulesetError> {
        Ok(Self(everything()?.into()))
    }

    /// A domain in which libraries and `files` can be read.
    ///
    /// # Errors
    /// The kernel has Landlock and yet refuses.
    pub(super) fn to_read(files: &[PathBuf]) -> Result<Self, RulesetError> {
        Ok(Self(but_to_read(files)?.into()))
    }

    /// Enter it, for ever. Each process that enters is alone in it: it cannot trace or signal another one that did.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn enter(&self) -> io::Result<()> {
        let Some(ruleset) = &self.0 else {
            return Ok(());
        };
        let flags: libc::c_uint = 0;
        // SAFETY: the call takes two plain numbers and touches no memory of ours.
        let result =
            unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), flags) };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_grows_with_the_age_of_the_kernel() {
        assert_eq!(missing(7), Vec::<&str>::new());
        // Debian 13 has 6, Debian 12 has 2.
        assert_eq!(missing(6), Vec::<&str>::new());
        assert_eq!(missing(2).len(), 4);
        assert!(missing(0)[0].starts_with("files"));
    }
}
