//! Finds the recordings to transcribe: files, the audio files of folders, and standard input.

use std::{
    fs,
    path::{Path, PathBuf},
};

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

/// The source of one recording.
#[derive(Debug)]
pub enum Input {
    /// The recording comes through standard input.
    Stdin,
    /// The path of an audio file.
    File(PathBuf),
}

/// Expands the arguments of the command line. Each input comes with its name for people; a folder
/// is replaced by its files, sorted. If a folder gives no file, the reason is in its place.
pub fn expand(named: &[PathBuf]) -> Vec<(PathBuf, Result<Input, Error>)> {
    let each = named.iter().flat_map(|path| {
        if path.as_os_str() == "-" {
            return vec![("standard input".into(), Ok(Input::Stdin))];
        }
        if !path.is_dir() {
            return vec![(path.clone(), Ok(Input::File(path.clone())))];
        }
        match audio_in(path) {
            Ok(files) => {
                let file = |file: PathBuf| (file.clone(), Ok(Input::File(file)));
                files.into_iter().map(file).collect()
            }
            Err(error) => vec![(path.clone(), Err(error))],
        }
    });
    each.collect()
}

/// The audio files directly in a folder. Links are left out, because they may lead anywhere.
fn audio_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::Read)? {
        let entry = entry.map_err(Error::Read)?;
        let path = entry.path();
        if entry.file_type().map_err(Error::Read)?.is_file() && is_audio(&path) {
            files.push(path);
        }
        if files.len() > MOST_FILES {
            return Err(Error::TooMany(MOST_FILES));
        }
    }
    if files.is_empty() {
        return Err(Error::NoAudio(EXTENSIONS.join(", ")));
    }
    files.sort();
    Ok(files)
}

fn is_audio(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        EXTENSIONS
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}
