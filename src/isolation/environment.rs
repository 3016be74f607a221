//! Secrets that come in the environment, taken out of there before anything else is done.
//!
//! The environment of a process stays in its memory and in `/proc/<pid>/environ` for as long as the program runs, and
//! whoever asks for one variable may copy all. So the program is started anew, in the same process, without them: they
//! are in memory files by then, which are handed to the zygotes of their engines and read only there.
#![allow(unsafe_code)]

use std::{
    convert::Infallible,
    env,
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::{ffi::OsStrExt, process::CommandExt},
    },
    process::Command,
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};

use super::sealed::{SEALS, seal};

/// The variable that says where they are: `NAME=DESCRIPTOR`, with commas between.
const TAKEN: &str = "STT_TAKEN_VARIABLES";

/// Take these variables out of the environment. If any is set this program begins again from the start, and the call
/// does not return. Must come before anything of the service is begun: descriptors and arguments stay, all else is lost.
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
        // Not closed when the program is started again.
        let flags = MFdFlags::MFD_ALLOW_SEALING;
        let mut file = File::from(memfd_create(c"secret", flags)?);
        file.write_all(env::var_os(name).unwrap_or_default().as_bytes())?;
        seal(&file)?;
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

/// What was in the variable `name`, as a file to be read from its beginning; `None` if it was not set.
pub fn taken(name: &str) -> Option<io::Result<OwnedFd>> {
    let places = env::var(TAKEN).ok()?;
    let mut places = places.split(',').filter_map(|place| place.split_once('='));
    let (_, number) = places.find(|(of, _)| *of == name)?;
    let copy = |number: RawFd| {
        // SAFETY: borrowed for this one call. Nothing in this process ever closes the descriptor; if the variable names
        // another one, or none, the kernel says so below.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        let seals = fcntl(file, FcntlArg::F_GET_SEALS)?;
        if seals != SEALS.bits() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        file.try_clone_to_owned()
    };
    // -1 would be no descriptor at all.
    let number = number.parse().ok().filter(|number: &RawFd| *number > 2)?;
    Some(copy(number))
}
