//! A file of `/proc` or of a cgroup that is opened once and read repeatedly.

use std::{fs::File, io, mem::MaybeUninit};

/// Larger than any file that is read this way, in bytes. The longest, a status file and
/// `memory.stat`, have about 1.5 KiB; only lists of CPUs, memory nodes and groups make a status
/// file longer.
const LARGEST: usize = 16 * 1024;

/// Read `file` from its beginning, where the kernel produces its text anew, in one system call.
///
/// # Errors
/// The process or cgroup that it describes is gone.
pub(super) fn read<T>(file: &File, parse: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
    // Uninitialised, because a job reads its own status before it is ready: stack pages that are
    // not written stay shared.
    let mut space = [MaybeUninit::uninit(); LARGEST];
    let (text, _) = rustix::io::pread(file, &mut space, 0)?;
    Ok(parse(text))
}
