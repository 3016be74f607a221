//! The supervisor without its privileges: what it still has to be able to do, as root and as
//! anybody.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::fd::AsRawFd,
    process::{Command, ExitCode},
};

use libtest_mimic::Failed;
use nix::sys::memfd::{MFdFlags, memfd_create};
use procfs::process::Process;
use stt_isolated::isolation::sandbox::privileges;

pub(super) fn test() -> Result<(), Failed> {
    let output = Command::new("/proc/self/exe").arg("supervisor").output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
}

/// In a process of its own: what was given up does not come back.
pub(crate) fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<(), String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    privileges::give_up().map_err(|e| text(&e))?;
    let status = Process::myself()
        .and_then(|p| p.status())
        .map_err(|e| text(&e))?;
    let capabilities = status.capinh | status.capprm | status.capeff | status.capamb.unwrap_or(0);
    if capabilities != 0 || status.nonewprivs != Some(1) {
        return Err(format!("{status:?}"));
    }
    if nix::unistd::geteuid().is_root() && status.capbnd != Some(0) {
        return Err("the bounding set is not empty".into());
    }
    if nix::sys::prctl::get_dumpable() != Ok(false) {
        return Err("it is dumpable".into());
    }
    // A child by exec has none either.
    let child = Command::new("/bin/sh")
        .args(["-c", "grep -E '^Cap(Prm|Eff|Inh|Amb):' /proc/self/status"])
        .output()
        .map_err(|e| text(&e))?;
    let child = String::from_utf8_lossy(&child.stdout).into_owned();
    if child.lines().count() != 4 || !child.lines().all(|l| l.ends_with("0000000000000000")) {
        return Err(child);
    }
    // How an upload becomes read-only: its descriptor, opened anew through /proc, in memory and on
    // disk.
    let memory = File::from(memfd_create(c"upload", MFdFlags::MFD_CLOEXEC).map_err(|e| text(&e))?);
    let disk = tempfile::tempfile().map_err(|e| text(&e))?;
    for mut file in [memory, disk] {
        file.write_all(b"audio").map_err(|e| text(&e))?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let mut again = File::open(path).map_err(|e| text(&e))?;
        let mut content = String::new();
        again.read_to_string(&mut content).map_err(|e| text(&e))?;
        if content != "audio" {
            return Err(content);
        }
    }
    // How a zygote is started, and how the journal is recognised.
    fs::metadata("/proc/self/exe").map_err(|e| text(&e))?;
    fs::metadata("/proc/self/fd/2").map_err(|e| text(&e))?;
    let me = Process::myself().map_err(|e| text(&e))?;
    me.cgroups().map_err(|e| text(&e))?;
    me.mountinfo().map_err(|e| text(&e))?;
    Ok(())
}
