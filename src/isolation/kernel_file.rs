//! A file of `/proc` or of a cgroup that is opened once and read again and again.

use std::{fs::File, io, mem::MaybeUninit};

/// Larger than any that is read this way. The longest, a status and `memory.stat`, have some 1.5 KiB; a status is longer
/// only by lists of CPUs, memory nodes and groups.
const LARGEST: usize = 16 * 1024;

/// Read `file` from its beginning, for which the kernel makes its text anew, in one system call.
///
/// # Errors
/// What it is about is gone.
pub(super) fn read<T>(file: &File, parse: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
    // A job reads its own status before it is ready: pages of its stack that are not written to stay shared.
    let mut space = [MaybeUninit::uninit(); LARGEST];
    let (text, _) = rustix::io::pread(file, &mut space, 0)?;
    Ok(parse(text))
}
