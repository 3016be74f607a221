//! Landlock: restricts which files can be opened and which TCP ports connected to, and keeps
//! signals and traces inside the process.
#![allow(unsafe_code)]

use std::{
    io,
    ops::Range,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
    path_beneath_rules,
};

use crate::isolation::{Reach, StandbyProgram};

/// Folders of shared libraries, and the index in which the dynamic linker finds them. Missing ones
/// are skipped.
const LIBRARIES: [&str; 6] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
];

/// Paths of the system that any program needs: programs, libraries, and facts about the machine.
/// Missing ones are skipped.
const SYSTEM: [&str; 12] = [
    // Programs, libraries, interpreters and their modules, time zones.
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    // The index of libraries, and the chosen alternatives (`/usr/bin/awk` is a link to there).
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/python3",
    // Number and kind of the CPUs.
    "/sys/devices/system/cpu",
    "/dev/urandom",
    "/dev/random",
];

/// Minor versions of Python 3 for which a program can read `/etc/python3.N`: Debian keeps
/// sitecustomize.py there.
const PYTHONS: Range<u32> = 9..30;

/// Files that a program can read and write; they store nothing.
const NOTHING: [&str; 1] = ["/dev/null"];

/// Files for finding hosts and checking certificates, on Debian and Fedora. If a file is later
/// replaced by another one, it is not covered any more; the folders of systemd-resolved and
/// NetworkManager stay covered.
const NETWORK: [&str; 22] = [
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/etc/ca-certificates",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/tls/openssl.d",
    "/etc/pki/ca-trust/extracted",
    "/etc/crypto-policies/back-ends",
    "/usr/share/crypto-policies",
];

/// The newest version of Landlock's interface with which everything here was tested.
const NEWEST: ABI = ABI::V7;

/// Rights that Landlock restricts only since a certain version of its interface (the kernel's
/// Documentation/userspace-api/landlock.rst).
const SINCE: [(u32, &str); 4] = [
    (3, "truncating files (Linux 6.2)"),
    (4, "TCP (Linux 6.7)"),
    (5, "ioctl on devices (Linux 6.10)"),
    (
        6,
        "signals and abstract sockets of other processes (Linux 6.12)",
    ),
];

/// A domain that a job can enter. It is made in advance, so that entering takes one system call.
#[derive(Debug)]
pub(super) struct Domain(Option<OwnedFd>);

/// A ruleset that forbids everything that Landlock can forbid. Older kernels forbid less.
fn everything() -> Result<RulesetCreated, RulesetError> {
    without_files()?
        .handle_access(AccessNet::from_all(NEWEST))?
        .create()
}

/// A ruleset that forbids all files, signals and abstract sockets; rules for TCP are added later.
fn without_files() -> Result<Ruleset, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))
}

/// Add the rights that any program has: it can read and execute the system's programs, libraries,
/// a few facts and `files`.
fn with_programs(
    created: RulesetCreated,
    files: &[PathBuf],
) -> Result<RulesetCreated, RulesetError> {
    let run = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    created
        .add_rules(path_beneath_rules(SYSTEM, run))?
        .add_rules(path_beneath_rules(
            PYTHONS.map(|minor| format!("/etc/python3.{minor}")),
            run,
        ))?
        .add_rules(path_beneath_rules(files, run))?
        .add_rules(path_beneath_rules(
            NOTHING,
            AccessFs::ReadFile | AccessFs::WriteFile,
        ))
}

/// The rights of an engine's program: those of any program with `files`. It can write in `scratch`.
/// With `network` it can reach other machines.
fn for_program(
    files: &[PathBuf],
    scratch: &Path,
    network: bool,
) -> Result<RulesetCreated, RulesetError> {
    let forbidden =
        AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    let write = AccessFs::from_all(NEWEST) & !forbidden;
    let created = if network {
        without_files()?.create()?
    } else {
        everything()?
    };
    let more: &[&str] = if network { &NETWORK } else { &[] };
    let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    with_programs(created, files)?
        .add_rules(path_beneath_rules(more, read))?
        .add_rules(path_beneath_rules([scratch], write))
}

/// A ruleset that forbids everything but reading libraries and the rights of `reach`. The right to
/// execute is only about execve; mapping code of libraries needs only the right to read.
fn but(reach: &Reach) -> Result<RulesetCreated, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let network = (!reach.ports.is_empty()).then_some(NETWORK);
    let connect = |port: &u16| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp));
    everything()?
        .add_rules(path_beneath_rules(LIBRARIES, read))?
        .add_rules(path_beneath_rules(&reach.files, read))?
        .add_rules(path_beneath_rules(network.iter().flatten(), read))?
        .add_rules(reach.ports.iter().map(connect))
}

/// Add the rights of `standby`, if there is one, and of its inputs.
fn with_standby(
    created: RulesetCreated,
    standby: Option<&StandbyProgram>,
) -> Result<RulesetCreated, RulesetError> {
    let Some(StandbyProgram { command, inputs }) = standby else {
        return Ok(created);
    };
    let program: Vec<PathBuf> = command.iter().take(1).map(PathBuf::from).collect();
    with_programs(created, &program)?.add_rules(path_beneath_rules([inputs], AccessFs::ReadFile))
}

/// Confine this process to reading libraries, the rights of `reach`, and those of the `standby` of
/// its jobs. Returns the version of Landlock's interface in force, 0 for none.
///
/// # Errors
/// The kernel has Landlock but refuses.
pub(super) fn confine(
    reach: &Reach,
    standby: Option<&StandbyProgram>,
) -> Result<u32, RulesetError> {
    put_in_force(with_standby(but(reach)?, standby)?)
}

/// Confine this process to the rights of programs whose scratch directories are in the folder
/// `scratches`, and to those of the `standby` of its jobs.
///
/// # Errors
/// As [`confine`].
pub(super) fn confine_for_programs(
    files: &[PathBuf],
    scratches: &Path,
    network: bool,
    standby: Option<&StandbyProgram>,
) -> Result<u32, RulesetError> {
    let ruleset = for_program(files, scratches, network)?;
    put_in_force(with_standby(ruleset, standby)?)
}

fn put_in_force(ruleset: RulesetCreated) -> Result<u32, RulesetError> {
    let status = ruleset.restrict_self()?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as u32,
        _ => 0,
    })
}

/// True if this kernel's Landlock keeps signals inside the domain.
pub(super) fn keeps_signals_in() -> bool {
    /// The flag `LANDLOCK_CREATE_RULESET_VERSION` of linux/landlock.h.
    const VERSION: libc::c_uint = 1;
    let (attributes, size): (*const libc::c_void, libc::size_t) = (std::ptr::null(), 0);
    // SAFETY: with this flag the call takes no attributes, makes nothing and returns a plain
    // number.
    let abi =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, attributes, size, VERSION) };
    abi >= 6
}

/// The rights that version `abi` of Landlock's interface leaves to seccomp alone.
pub(super) fn missing(abi: u32) -> Vec<&'static str> {
    let all = (abi == 0).then_some("files (CONFIG_SECURITY_LANDLOCK, and lsm= of the kernel)");
    let newer = SINCE.iter().filter(|(since, _)| *since > abi);
    all.into_iter()
        .chain(newer.map(|(_, what)| *what))
        .collect()
}

impl Domain {
    /// A domain in which nothing is allowed.
    ///
    /// # Errors
    /// The kernel has Landlock but refuses.
    pub(super) fn of_nothing() -> Result<Self, RulesetError> {
        Ok(Self(everything()?.into()))
    }

    /// A domain in which libraries can be read and `reach` is allowed.
    ///
    /// # Errors
    /// The kernel has Landlock but refuses.
    pub(super) fn of(reach: &Reach) -> Result<Self, RulesetError> {
        Ok(Self(but(reach)?.into()))
    }

    /// A domain with the rights of a program.
    ///
    /// # Errors
    /// The kernel has Landlock but refuses.
    pub(super) fn for_program(
        files: &[PathBuf],
        scratch: &Path,
        network: bool,
    ) -> Result<Self, RulesetError> {
        Ok(Self(for_program(files, scratch, network)?.into()))
    }

    /// A domain with the rights of any program, for `program`. It can write nothing, and reads
    /// `input` even if it opens that anew.
    ///
    /// # Errors
    /// The kernel has Landlock but refuses.
    pub(super) fn for_standby(program: &Path, input: BorrowedFd<'_>) -> Result<Self, RulesetError> {
        let mut ruleset = with_programs(everything()?, &[program.into()])?;
        // Landlock takes no rule for a file that has no path, such as a memfd, and does not forbid
        // to open it anew.
        let _ = (&mut ruleset).add_rule(PathBeneath::new(input, AccessFs::ReadFile));
        Ok(Self(ruleset.into()))
    }

    /// Enter the domain, which cannot be left again. Each process that enters is alone in it: it
    /// cannot trace or signal another process that entered.
    ///
    /// # Errors
    /// The error of the system call.
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
