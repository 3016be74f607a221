//! Memory files that nobody can change any more.

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Seek, Write},
};

use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};

/// The seals of such a file. They also tell our files from any other descriptor.
pub(super) const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

/// Make an empty memory file that can be sealed later. `/proc/PID/fd` shows `name`.
///
/// # Errors
/// Out of descriptors or memory.
pub fn unsealed(name: &CStr) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    Ok(memfd_create(name, flags)?.into())
}

/// Seal `file`, a memfd that allows it and is not mapped for writing.
///
/// # Errors
/// `file` is not such a memfd.
pub fn seal(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_ADD_SEALS(SEALS))?;
    Ok(())
}

/// Make a sealed file of these bytes, positioned at its beginning. `/proc/PID/fd` shows `name`.
///
/// # Errors
/// Out of descriptors or memory.
pub fn file(name: &CStr, bytes: &[u8]) -> io::Result<File> {
    let mut file = unsealed(name)?;
    file.write_all(bytes)?;
    file.rewind()?;
    seal(&file)?;
    Ok(file)
}
