//! Whether a file is still the one that it was.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// Which file or folder was at a path, and in which state; of a folder, what is in it by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// When it was written last: seconds and nanoseconds.
    written: (i64, i64),
}

impl Stamp {
    /// That of what is at `path` now; `None` if nothing can be seen there.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            written: (file.mtime(), file.mtime_nsec()),
        })
    }
}
