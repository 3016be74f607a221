//! Landlock: which files can be opened and which TCP ports connected to, and that no signal or trace leaves the process.
#![allow(unsafe_code)]

use std::{
    io,
    ops::Range,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, NetPort, Ruleset,
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

/// What any program needs of the system: programs and libraries, and facts about the machine. Not there: skipped.
const SYSTEM: [&str; 12] = [
    // Programs, libraries, interpreters and their modules, time zones.
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    // The index of libraries, and the choices among programs (`/usr/bin/awk` is a link to there).
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/python3",
    // How many CPUs there are, and of what kind.
    "/sys/devices/system/cpu",
    "/dev/urandom",
    "/dev/random",
];

/// Minor versions of Python 3 whose `/etc/python3.N` a program can read: Debian has sitecustomize.py there.
const PYTHONS: Range<u32> = 9..30;

/// What it can read and write: nothing that keeps it.
const NOTHING: [&str; 1] = ["/dev/null"];

/// How hosts are found and certificates checked, on Debian and on Fedora. A file that is replaced by another one later
/// on is not among them any more; the folders of systemd-resolved and NetworkManager stay what they are.
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

/// What a process may reach beside shared libraries.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Files, and folders with all that is in them, to be read.
    pub files: Vec<PathBuf>,
    /// TCP ports to connect to; without any, no more files than these are of use.
    pub ports: Vec<u16>,
}

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
    without_files()?
        .handle_access(AccessNet::from_all(NEWEST))?
        .create()
}

/// All files, signals and abstract sockets forbidden; what is said of TCP comes on top.
fn without_files() -> Result<Ruleset, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))
}

/// What a program may reach: the system's programs, libraries and a few facts and `files` to read and execute, `scratch`
/// to write; other machines, if it may have `network`.
fn for_program(
    files: &[PathBuf],
    scratch: &Path,
    network: bool,
) -> Result<RulesetCreated, RulesetError> {
    let run = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    let forbidden =
        AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    let write = AccessFs::from_all(NEWEST) & !forbidden;
    let created = match network {
        true => without_files()?.create()?,
        false => everything()?,
    };
    let more: &[&str] = if network { &NETWORK } else { &[] };
    created
        .add_rules(path_beneath_rules(SYSTEM.iter().chain(more), run))?
        .add_rules(path_beneath_rules(
            PYTHONS.map(|minor| format!("/etc/python3.{minor}")),
            run,
        ))?
        .add_rules(path_beneath_rules(files, run))?
        .add_rules(path_beneath_rules(
            NOTHING,
            AccessFs::ReadFile | AccessFs::WriteFile,
        ))?
        .add_rules(path_beneath_rules([scratch], write))
}

/// Everything forbidden but to read libraries and to reach what is within `reach`. Executing is about execve only; code
/// of libraries is mapped by the right to read.
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

/// Confine this process: it can read libraries and reach what is within `reach`, and nothing else.
/// Gives the version of Landlock's interface in force, 0 for none.
///
/// # Errors
/// The kernel has Landlock and yet refuses.
pub(super) fn confine(reach: &Reach) -> Result<u32, RulesetError> {
    put_in_force(but(reach)?)
}

/// Confine this process to what programs may reach whose scratch directories are in the folder `scratches`.
///
/// # Errors
/// As [`confine`].
pub(super) fn confine_for_programs(
    files: &[PathBuf],
    scratches: &Path,
    network: bool,
) -> Result<u32, RulesetError> {
    put_in_force(for_program(files, scratches, network)?)
}

fn put_in_force(ruleset: RulesetCreated) -> Result<u32, RulesetError> {
    let status = ruleset.restrict_self()?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as u32,
        _ => 0,
    })
}

/// Whether this kernel's Landlock keeps signals in.
pub(super) fn keeps_signals_in() -> bool {
    /// `LANDLOCK_CREATE_RULESET_VERSION` of linux/landlock.h.
    const VERSION: libc::c_uint = 1;
    let (attributes, size): (*const libc::c_void, libc::size_t) = (std::ptr::null(), 0);
    // SAFETY: with this flag the call takes no attributes, makes nothing and gives a plain number.
    let abi =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, attributes, size, VERSION) };
    abi >= 6
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

    /// A domain in which libraries can be read, and what is within `reach` can be reached.
    ///
    /// # Errors
    /// The kernel has Landlock and yet refuses.
    pub(super) fn of(reach: &Reach) -> Result<Self, RulesetError> {
        Ok(Self(but(reach)?.into()))
    }

    /// A domain in which a program can reach what it is meant to.
    ///
    /// # Errors
    /// The kernel has Landlock and yet refuses.
    pub(super) fn for_program(
        files: &[PathBuf],
        scratch: &Path,
        network: bool,
    ) -> Result<Self, RulesetError> {
        Ok(Self(for_program(files, scratch, network)?.into()))
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
