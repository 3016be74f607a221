//! Checks that a model's files exist, before a library looks for them in its own way.

use std::{fs::File, io::Read as _, path::Path};

/// Check that `path` is a file that is not empty and that this process may read.
///
/// # Errors
/// The reason, with the path.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let mut byte = [0];
    // A folder opens like a file, but it cannot be read.
    match File::open(path).and_then(|mut file| file.read(&mut byte)) {
        Ok(0) => Err(format!("{} is empty", path.display())),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}
