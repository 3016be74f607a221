//! The models directory: names that are free or taken, and models that get or lose a name.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::error::Error;
use crate::cli::Remove;

/// Extension of a model's file.
pub const EXTENSION: &str = "bin";

/// The path of a model: `NAME.bin`, or `NAME` if it is a folder.
pub fn target(directory: &Path, name: &str, folder: bool) -> PathBuf {
    match folder {
        true => directory.join(name),
        false => directory.join(format!("{name}.{EXTENSION}")),
    }
}

/// Fails if the name belongs to another model, or to something that is none. With `force`, it may
/// belong to a model of the same kind.
///
/// # Errors
///
/// The reason why the name is not free.
pub fn refuse_taken(directory: &Path, name: &str, folder: bool, force: bool) -> Result<(), Error> {
    let fits = |there: &fs::Metadata, folder: bool| match folder {
        true => there.is_dir(),
        false => there.is_file(),
    };
    let other = target(directory, name, !folder);
    if fs::symlink_metadata(&other).is_ok_and(|there| fits(&there, !folder)) {
        return Err(Error::Other(other));
    }
    let target = target(directory, name, folder);
    match fs::symlink_metadata(&target) {
        Ok(there) if !fits(&there, folder) => Err(Error::Other(target)),
        Ok(_) if !force => Err(Error::Taken(name.into())),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Gives the file or folder at `from`, which is in the same directory, its name. With `force`, an
/// earlier model of that name is then at `from` or gone.
///
/// # Errors
///
/// The name is taken, or the directory cannot be written.
pub fn give_name(
    directory: &Path,
    from: &Path,
    name: &str,
    folder: bool,
    force: bool,
) -> Result<PathBuf, Error> {
    let target = target(directory, name, folder);
    let flags = match (force, folder) {
        (false, _) => RenameFlags::NOREPLACE,
        // A folder cannot replace one with files in it.
        (true, true) if target.exists() => RenameFlags::EXCHANGE,
        (true, _) => RenameFlags::empty(),
    };
    let unwritable = Error::in_directory(directory);
    renameat_with(CWD, from, CWD, &target, flags).map_err(|error| {
        match io::Error::from(error) {
            error if error.kind() == io::ErrorKind::AlreadyExists => Error::Taken(name.into()),
            error => unwritable(error),
        }
    })?;
    // Make the name survive a loss of power.
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(unwritable)?;
    Ok(target)
}

/// Removes a model's file, and says so.
///
/// # Errors
///
/// There is no such file, or it cannot be removed.
pub fn remove(arguments: &Remove) -> Result<String, Error> {
    let Remove { name, place } = arguments;
    let [file, folder] = [false, true].map(|folder| target(&place.directory, name, folder));
    let there = [&file, &folder].map(|path| fs::symlink_metadata(path).ok());
    match there {
        [Some(kind), _] if kind.is_file() => {}
        [Some(_), _] => return Err(Error::Other(file)),
        [None, Some(_)] => return Err(Error::Other(folder)),
        [None, None] => return Err(Error::Missing(file)),
    }
    fs::remove_file(&file).map_err(Error::in_directory(&place.directory))?;
    Ok(format!("{} is removed.", file.display()))
}
