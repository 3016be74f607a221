//! Checks that files of a model exist, before a library looks for them in its own way, and that
//! programs can be run.

use std::{fs::File, io::Read as _, os::unix::fs::PermissionsExt as _, path::Path};

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

/// The reason why `program` cannot be run, with its path; `None` if it can.
pub fn cannot_run(program: &Path) -> Option<String> {
    let path = program.display();
    if !program.is_absolute() {
        return Some(format!("{path} is no absolute path"));
    }
    match program.metadata() {
        Ok(about) if about.is_file() && about.permissions().mode() & 0o111 != 0 => None,
        Ok(_) => Some(format!("{path} is no executable file")),
        Err(error) => Some(format!("{path} cannot be run: {error}")),
    }
}
