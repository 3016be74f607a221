//! Whether a model's files are there, before a library looks for them in its own way.

use std::{fs::File, io::Read as _, path::Path};

/// Whether `path` is a file with something in it that this process may read.
///
/// # Errors
/// Why not, with the path.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let mut byte = [0];
    // Reading also finds out folders, which open like files.
    match File::open(path).and_then(|mut file| file.read(&mut byte)) {
        Ok(0) => Err(format!("{} is empty", path.display())),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}
