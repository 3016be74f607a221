//! The catalogue of models that can be had by name: which files a model consists of, and from where
//! they come. It is read by `sttctl model`, and by the service, which only wants the names.

mod entry;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod parse;

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

pub use entry::{Engine, Entry, FileName, ModelFile, Sha256, Text, Url, is_loopback};

/// Variable with other places than [`PLACES`], separated by colons.
pub const VARIABLE: &str = "STT_ISOLATED_CATALOGUE";

/// The package's own file, and the folder for the administrator's files (`*.toml`). An entry of a
/// later file replaces one of the same name.
pub const PLACES: [&str; 2] = [
    "/usr/share/stt-isolated/models.toml",
    "/etc/stt-isolated/models.d",
];

/// Longest file, in bytes; the package's own has a few dozen KiB.
const MAX_FILE: u64 = 1 << 20;

/// Most files of one folder.
const MAX_FILES: usize = 100;

/// Most entries of all files.
const MAX_ENTRIES: usize = 1000;

/// Most remarks about all files; a file of another kind would have one for each of its lines.
const MAX_REMARKS: usize = 50;

/// All entries that are possible, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Catalogue {
    entries: BTreeMap<String, Entry>,
    remarks: Vec<String>,
}

/// The places that `variable` names (the value of [`VARIABLE`]), or else [`PLACES`].
pub fn places(variable: Option<&OsStr>) -> Vec<PathBuf> {
    match variable {
        Some(places) if !places.is_empty() => env::split_paths(places).collect(),
        _ => PLACES.map(PathBuf::from).into(),
    }
}

impl Catalogue {
    /// Reads the files and folders at `places`; those that do not exist have no entries. A mistake
    /// costs its entry, and becomes a remark: `FILE:LINE: KEY: sentence`.
    pub fn read(places: &[PathBuf]) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for place in places {
            match files(place) {
                Ok(files) => files.iter().for_each(|file| catalogue.add_file(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => catalogue.remark(place, &error),
            }
        }
        if catalogue.remarks.len() > MAX_REMARKS {
            catalogue.remarks.truncate(MAX_REMARKS);
            let remark = "more mistakes in the catalogue of models are not shown";
            catalogue.remarks.push(remark.into());
        }
        catalogue
    }

    /// The entry with this name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// All entries, ordered by name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The entry whose only file has this SHA-256.
    pub fn of_file(&self, sum: &str) -> Option<&Entry> {
        self.entries()
            .find(|entry| matches!(&entry.files[..], [file] if file.sha256.as_str() == sum))
    }

    /// A line for each mistake, in the order of the files.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    fn add_file(&mut self, file: &Path) {
        match text(file) {
            Ok(text) => self.add(file, &text),
            Err(error) => self.remark(file, &error),
        }
    }

    /// Adds the entries of `text`, which was read from `file`.
    fn add(&mut self, file: &Path, text: &str) {
        let (entries, remarks) = parse::parse(file, text);
        self.remarks.extend(remarks);
        for entry in entries {
            if self.entries.len() == MAX_ENTRIES && !self.entries.contains_key(&entry.name) {
                let remark = format!(
                    "{}: the catalogue has {MAX_ENTRIES} models already: `{}` and those after it are left out",
                    file.display(),
                    entry.name
                );
                self.remarks.push(remark);
                return;
            }
            self.entries.insert(entry.name.clone(), entry);
        }
    }

    fn remark(&mut self, place: &Path, error: &io::Error) {
        let remark = format!("{}: cannot be read: {error}", place.display());
        self.remarks.push(remark);
    }
}

/// The file at `place`, or the files of the folder there, ordered by name.
fn files(place: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(place)?.is_dir() {
        return Ok(vec![place.into()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        let hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
        let visible = path.file_name().is_some_and(|name| !hidden(name));
        if visible && path.extension() == Some(OsStr::new("toml")) {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            let message = format!("it has more than {MAX_FILES} files *.toml: merge some");
            return Err(io::Error::other(message));
        }
    }
    files.sort();
    Ok(files)
}

fn text(file: &Path) -> io::Result<String> {
    // A pipe would wait for a writer.
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(file)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("it is longer than 1 MiB: split it"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

#[cfg(test)]
mod tests;
