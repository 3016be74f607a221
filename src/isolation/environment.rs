//! Takes secrets out of the environment before the service does anything else.
//!
//! The environment stays in the process's memory and in `/proc/<pid>/environ` while the program
//! runs, and any library that reads one variable may copy all. So the program executes itself
//! again, in the same process, without these variables. By then their values are in memory files,
//! which are passed to the zygotes of their engines and read only there.
#![allow(unsafe_code)]

use std::{
    convert::Infallible,
    env, io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    process::Command,
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::sealed::{self, SEALS};

/// The variable that names the memory files: `NAME=DESCRIPTOR`, separated by commas.
const TAKEN: &str = "STT_TAKEN_VARIABLES";

/// Take these variables out of the environment. If any is set, this program starts again from the
/// beginning and the call does not return. Call it before anything else: descriptors and arguments
/// stay, everything else is lost.
///
/// # Errors
/// The program cannot be started again.
pub fn take(names: &[&str]) -> io::Result<()> {
    let set: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| env::var_os(name).is_some())
        .collect();
    if set.is_empty() {
        return Ok(());
    }
    match begin_again(&set)? {}
}

fn begin_again(names: &[&str]) -> io::Result<Infallible> {
    let mut places = Vec::new();
    let mut files = Vec::new();
    for name in names {
        let value = env::var_os(name).unwrap_or_default();
        let file = sealed::file(c"secret", value.as_bytes())?;
        // Without close-on-exec: the file must survive the restart.
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        places.push(format!("{name}={}", file.as_raw_fd()));
        files.push(file);
    }
    let mut program = Command::new(env::current_exe()?);
    let mut arguments = env::args_os();
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    program.args(arguments).env(TAKEN, places.join(","));
    for name in names {
        program.env_remove(name);
    }
    Err(program.exec())
}

/// The value of the variable `name`, as a file positioned at its beginning; `None` if it was not
/// set.
pub fn taken(name: &str) -> Option<io::Result<OwnedFd>> {
    let places = env::var(TAKEN).ok()?;
    let mut places = places.split(',').filter_map(|place| place.split_once('='));
    let (_, number) = places.find(|(of, _)| *of == name)?;
    let copy = |number: RawFd| {
        // SAFETY: borrowed for this one call. Nothing in this process ever closes the descriptor.
        // If the variable names another descriptor or an invalid one, the kernel says so below.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        let seals = fcntl(file, FcntlArg::F_GET_SEALS)?;
        if seals != SEALS.bits() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        file.try_clone_to_owned()
    };
    // Excludes -1, which is not a valid descriptor, and the standard streams.
    let number = number.parse().ok().filter(|number: &RawFd| *number > 2)?;
    Some(copy(number))
}
