//! Tells whether a file is still the same as before.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// Identity and state of the file or folder at a path. For a folder, the state changes when an
/// entry is added, removed or renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Time of the last write: seconds and nanoseconds.
    written: (i64, i64),
}

impl Stamp {
    /// The stamp of the file or folder now at `path`; `None` if nothing can be seen there.
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
