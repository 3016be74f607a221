//! `sttctl model pull`: downloads a model of the catalogue, tests it, and gives it its name.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::statvfs;
use stt_isolated::catalogue::Entry;
use tempfile::TempDir;

use super::{
    bar::Bar,
    catalogue,
    error::Error,
    fetch::{self, Event},
    partial::{self, Partial},
    place, trial,
};
use crate::cli::Pull;

/// Said after Ctrl-C.
pub const INTERRUPTED: &str =
    "interrupted, nothing was installed; what has come is kept: pull again to go on";

/// Downloads and installs, and says what was done.
///
/// # Errors
///
/// The reason why the model is not installed.
pub async fn pull(arguments: &Pull) -> Result<String, Error> {
    let catalogue = catalogue();
    let entry =
        catalogue
            .entry(&arguments.model)
            .ok_or_else(|| match catalogue.entries().next() {
                Some(_) => Error::Unknown(arguments.model.clone()),
                None => Error::NoCatalogue,
            })?;
    let (directory, force) = (&arguments.place.directory, arguments.force);
    let name = arguments.name.as_ref().unwrap_or(&entry.name);
    let folder = entry.engine.takes_folder();
    place::refuse_taken(directory, name, folder, force)?;
    let have: u64 = entry
        .files
        .iter()
        .map(|file| come(directory, file.sha256.as_str()).min(file.size))
        .sum();
    room(directory, entry.size() - have)?;
    let bar = RefCell::new(Bar::new(&entry.name, entry.size(), have));
    let partials = download(entry, arguments, &bar).await?;
    bar.borrow().trial();
    let model = Model::of(entry, &partials, directory).await?;
    let kept = |error| Error::UnfitDownload(Box::new(error), directory.clone());
    trial::try_out(model.path(), name).await.map_err(kept)?;
    let target = place::give_name(directory, model.path(), name, folder, force)?;
    if folder {
        partials.into_values().for_each(Partial::discard);
    }
    let (target, licence) = (target.display(), &entry.licence);
    Ok(format!("Model `{name}` is {target} (licence {licence})."))
}

/// Bytes of a file that an earlier run left.
fn come(directory: &Path, sum: &str) -> u64 {
    fs::symlink_metadata(partial::path(directory, sum)).map_or(0, |there| there.len())
}

/// Fails if the disk has no room for this many bytes more.
fn room(directory: &Path, needed: u64) -> Result<(), Error> {
    let disk = statvfs(directory).map_err(|error| Error::in_directory(directory)(error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < needed {
        return Err(Error::Space {
            needed,
            free,
            directory: directory.into(),
        });
    }
    Ok(())
}

/// Files that have come, by their sums.
type Partials<'a> = BTreeMap<&'a str, Partial>;

/// Gets all files, one after the other.
async fn download<'a>(
    entry: &'a Entry,
    arguments: &Pull,
    bar: &RefCell<Bar>,
) -> Result<Partials<'a>, Error> {
    let mut partials = BTreeMap::new();
    let mut done = 0;
    for file in &entry.files {
        let sum = file.sha256.as_str();
        // Two files of a folder may be equal.
        if partials.contains_key(sum) {
            done += file.size;
            continue;
        }
        let mut partial = Partial::open(&arguments.place.directory, sum).await?;
        let told = |event: Event<'_>| match event {
            Event::Have(bytes) => bar.borrow_mut().set(done + bytes),
            Event::Note(note) => bar.borrow().say(note),
        };
        match fetch::fetch(file, &mut partial, arguments.timeout, told).await {
            Ok(()) => {}
            Err(error) => {
                if partial.length() == 0 {
                    partial.discard();
                }
                return Err(error);
            }
        }
        done += file.size;
        bar.borrow_mut().set(done);
        partials.insert(sum, partial);
    }
    Ok(partials)
}

/// A whole model under a hidden name.
enum Model {
    File(PathBuf),
    Folder(TempDir),
}

impl Model {
    /// The downloaded file itself, or a folder with further names of the downloaded files.
    async fn of(entry: &Entry, partials: &Partials<'_>, directory: &Path) -> Result<Model, Error> {
        let unwritable = Error::in_directory(directory);
        if let (false, Some(file)) = (entry.engine.takes_folder(), partials.values().next()) {
            return Ok(Model::File(file.finish().await?.into()));
        }
        let folder = tempfile::Builder::new()
            .prefix(".install-")
            .tempdir_in(directory)
            .map_err(&unwritable)?;
        // Whatever the umask is, the service must be able to read them.
        let make = |path: &Path| {
            fs::create_dir_all(path)?;
            fs::set_permissions(path, Permissions::from_mode(0o755))
        };
        make(folder.path()).map_err(&unwritable)?;
        for file in &entry.files {
            let path = folder.path().join(file.name.as_str());
            for parent in path
                .ancestors()
                .skip(1)
                .take_while(|parent| *parent != folder.path())
            {
                make(parent).map_err(&unwritable)?;
            }
            let Some(partial) = partials.get(file.sha256.as_str()) else {
                continue;
            };
            let from = partial.finish().await?;
            fs::hard_link(from, path).map_err(&unwritable)?;
        }
        Ok(Model::Folder(folder))
    }

    fn path(&self) -> &Path {
        match self {
            Model::File(path) => path,
            Model::Folder(folder) => folder.path(),
        }
    }
}
