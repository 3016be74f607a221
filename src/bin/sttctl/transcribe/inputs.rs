//! Finds the recordings to transcribe: files, those in folders that are named like audio, and
//! standard input.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use walkdir::{DirEntry, WalkDir};

use crate::error::Error;

/// Extensions of audio files.
const EXTENSIONS: [&str; 40] = [
    "3gp", "aac", "aif", "aifc", "aiff", "amr", "au", "avi", "awb", "caf", "flac", "flv", "gsm",
    "m2ts", "m4a", "m4b", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpeg", "mpg", "mts", "nist",
    "oga", "ogg", "opus", "rf64", "snd", "sph", "ts", "voc", "vob", "w64", "wav", "wave", "webm",
    "weba",
];

/// Largest number of audio files in a folder. More are probably a mistake.
const MOST_FILES: usize = 10_000;

/// The same with the folders in it.
const MOST_FILES_BELOW: usize = 100_000;

/// The source of one recording.
#[derive(Debug)]
pub enum Input {
    /// The recording comes through standard input.
    Stdin,
    /// The path of an audio file.
    File(PathBuf),
}

/// One recording to transcribe, or the reason why a folder gives none.
#[derive(Debug)]
pub struct Found {
    /// Its name for people.
    pub name: PathBuf,
    /// Its name within the folder that was named; without one, its file name.
    pub below: PathBuf,
    /// Its source.
    pub input: Result<Input, Error>,
}

/// Why something in a folder is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// A link, which may lead anywhere.
    Link,
    /// Its name begins with a dot: it is not for people, such as `._x.wav` of macOS.
    Hidden,
    /// A folder, without `--recursive`.
    Folder,
    /// It was changed just now: it is perhaps still being written.
    Young,
    /// Its name does not end like audio, or it is no file.
    Other,
}

/// How to look for recordings in folders.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Also look in the folders within folders.
    pub recursive: bool,
    /// Leave out files that were changed more recently than this.
    pub min_age: Duration,
    /// A folder without recordings is no mistake.
    pub may_be_empty: bool,
}

/// Everything that the arguments of the command line name.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The recordings, in the order of the arguments; those of a folder are sorted by name.
    pub found: Vec<Found>,
    /// How many things in folders were left out, by the reason.
    pub left_out: BTreeMap<Why, u64>,
    /// Whether any argument is a folder.
    pub has_folder: bool,
}

impl Inputs {
    /// Expands the arguments of the command line. A file that is named is always taken. If a folder
    /// gives no file, the reason is in its place.
    pub fn expand(named: &[PathBuf], search: Search) -> Inputs {
        let mut all = Inputs::default();
        for path in named {
            if path.as_os_str() == "-" {
                all.found.push(Found {
                    name: "standard input".into(),
                    below: "stdin".into(),
                    input: Ok(Input::Stdin),
                });
            } else if path.is_dir() {
                all.has_folder = true;
                all.add_folder(path, search);
            } else {
                let file_name = path.file_name().unwrap_or(path.as_os_str());
                all.found.push(Found {
                    name: path.clone(),
                    below: file_name.into(),
                    input: Ok(Input::File(path.clone())),
                });
            }
        }
        all
    }

    fn add_folder(&mut self, folder: &Path, search: Search) {
        let before = self.found.len();
        let most = match search.recursive {
            true => MOST_FILES_BELOW,
            false => MOST_FILES,
        };
        let depth = if search.recursive { usize::MAX } else { 1 };
        let walk = WalkDir::new(folder).min_depth(1).max_depth(depth);
        let mut walk = walk.sort_by_file_name().into_iter();
        while let Some(entry) = walk.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let name = error.path().unwrap_or(folder).to_owned();
                    // The path is in the name already.
                    let reason = error.into_io_error();
                    let reason = reason.unwrap_or_else(|| io::Error::other("a loop of folders"));
                    self.fail(name, Error::Read(reason));
                    continue;
                }
            };
            match left_out(&entry, search) {
                Some(why) => {
                    *self.left_out.entry(why).or_default() += 1;
                    if entry.file_type().is_dir() && search.recursive {
                        walk.skip_current_dir();
                    }
                }
                None if entry.file_type().is_dir() => {}
                None => {
                    let path = entry.into_path();
                    let below = path.strip_prefix(folder).unwrap_or(&path).to_owned();
                    self.found.push(Found {
                        name: path.clone(),
                        below,
                        input: Ok(Input::File(path)),
                    });
                }
            }
            if self.found.len() - before > most {
                self.found.truncate(before);
                return self.fail(folder.to_owned(), Error::TooMany(most));
            }
        }
        if self.found.len() == before && !search.may_be_empty {
            let reason = Error::NoAudio(EXTENSIONS.join(", "));
            self.fail(folder.to_owned(), reason);
        }
    }

    fn fail(&mut self, name: PathBuf, reason: Error) {
        self.found.push(Found {
            below: name.clone(),
            name,
            input: Err(reason),
        });
    }
}

/// Why this thing in a folder is neither a recording nor a folder to look into, if so.
fn left_out(entry: &DirEntry, search: Search) -> Option<Why> {
    let kind = entry.file_type();
    if kind.is_symlink() {
        Some(Why::Link)
    } else if entry.file_name().as_bytes().starts_with(b".") {
        Some(Why::Hidden)
    } else if kind.is_dir() {
        (!search.recursive).then_some(Why::Folder)
    } else if !kind.is_file() || !is_audio(entry.path()) {
        Some(Why::Other)
    } else {
        is_younger(entry.path(), search.min_age).then_some(Why::Young)
    }
}

fn is_audio(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        EXTENSIONS
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

/// Whether the file was changed more recently than this. A time in the future does not count: it
/// would leave the file out for ever.
fn is_younger(path: &Path, age: Duration) -> bool {
    let changed = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    let since = changed
        .ok()
        .and_then(|at| SystemTime::now().duration_since(at).ok());
    since.is_some_and(|since| since < age)
}
