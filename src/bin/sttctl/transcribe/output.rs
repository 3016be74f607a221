//! Writes results to standard output, or to files that did not exist before.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    io::{self, ErrorKind, IsTerminal, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::inputs::Found;
use crate::{cli::Format, error::Error, shown};

/// Prints one result. If there are several, `name` is shown: before each line of a text (like
/// grep), as `file` in JSON, and otherwise as a heading (like head).
///
/// # Errors
///
/// Standard output cannot be written.
pub fn print(format: Format, name: Option<&Path>, body: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let shown = out.is_terminal().then(|| shown::words(body));
    let body = shown.as_ref().map_or(body, |shown| shown.as_bytes());
    write(&mut out, format, name, body).map_err(Error::Write)
}

fn write(out: &mut impl Write, format: Format, name: Option<&Path>, body: &[u8]) -> io::Result<()> {
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    let shown = name.map(shown::name);
    match (format, shown) {
        (Format::Json | Format::VerboseJson | Format::DiarizedJson, Some(_)) => {
            out.write_all(&named(body, name))?;
        }
        (Format::Text, Some(name)) => {
            let line = |line: &[u8]| [name.as_bytes(), b": ", line].concat();
            let lines: Vec<_> = body.split(|byte| *byte == b'\n').map(line).collect();
            out.write_all(&lines.join(&b'\n'))?;
        }
        (Format::Srt | Format::Vtt, Some(name)) => {
            writeln!(out, "==> {name} <==")?;
            out.write_all(body)?;
        }
        (_, None) => out.write_all(body)?,
    }
    out.write_all(b"\n")?;
    out.flush()
}

/// The JSON object with the name as `file`. An answer that has no name or is not an object is
/// returned unchanged.
pub fn named(json: &[u8], name: Option<&Path>) -> Vec<u8> {
    let object = name.and_then(|name| {
        let mut object: Map<String, Value> = serde_json::from_slice(json).ok()?;
        let text = name.to_str().map(str::to_owned);
        let text = text.unwrap_or_else(|| shown::name(name));
        object.insert("file".into(), text.into());
        serde_json::to_vec(&object).ok()
    });
    object.unwrap_or_else(|| json.to_vec())
}

/// Where the result of each recording goes: `DIR/NAME.txt`, with the folders of the recording below
/// the folder that was named. Recordings whose names differ only in their extension keep it:
/// `DIR/NAME.wav.txt`. Decided before any work, so that it does not depend on what is done first.
///
/// # Errors
///
/// An earlier recording has that place already.
pub fn targets(folder: &Path, found: &[Found], format: Format) -> Vec<Result<PathBuf, Error>> {
    let plain = |found: &Found| folder.join(&found.below).with_extension(format.extension());
    let mut sharing: BTreeMap<PathBuf, BTreeSet<&Path>> = BTreeMap::new();
    for one in found {
        sharing.entry(plain(one)).or_default().insert(&one.below);
    }
    let mut taken: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    let target = |one| {
        let mut target = plain(one);
        if sharing.get(&target).is_some_and(|names| names.len() > 1) {
            let mut name = folder.join(&one.below).into_os_string();
            name.push(".");
            name.push(format.extension());
            target = name.into();
        }
        if let Some(other) = taken.get(&target) {
            let other = (*other).to_owned();
            return Err(Error::Shared { target, other });
        }
        taken.insert(target.clone(), &one.name);
        Ok(target)
    };
    found.iter().map(target).collect()
}

/// Whether a result is there already.
///
/// # Errors
///
/// Something is there that is no result, as an empty file; or a result is there, but it may not
/// be: `may_exist` is false. It is better to learn this before the work than after it.
pub fn is_there(path: &Path, may_exist: bool) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        // No result is empty: that of silence has a line end.
        Ok(there) if may_exist && there.is_file() && there.len() > 0 => Ok(true),
        Ok(_) => Err(Error::Exists(path.to_owned())),
        Err(_) => Ok(false),
    }
}

/// Writes a result completely or not at all, and never over another file. It has its name only when
/// all of it is safe on the disk.
///
/// # Errors
///
/// The file exists already or cannot be written.
pub fn save(path: &Path, body: &[u8]) -> Result<(), Error> {
    let wrong = |source: io::Error| match source.kind() {
        ErrorKind::AlreadyExists => Error::Exists(path.to_owned()),
        _ => Error::Save {
            path: path.to_owned(),
            source,
        },
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(wrong)?;
    // The usual mode of a new file: limited only by the umask.
    let mut file = tempfile::Builder::new()
        .prefix(".sttctl-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(wrong)?;
    file.write_all(body).map_err(wrong)?;
    if !body.ends_with(b"\n") {
        file.write_all(b"\n").map_err(wrong)?;
    }
    file.as_file().sync_all().map_err(wrong)?;
    file.persist_noclobber(path)
        .map(drop)
        .map_err(|error| wrong(error.error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcribe::inputs::Input;

    /// The targets of recordings with these names below `in/`.
    fn of(names: &[&str]) -> Vec<Result<String, String>> {
        let found = names.iter().map(|name| Found {
            name: Path::new("in").join(name),
            below: name.into(),
            input: Ok(Input::Stdin),
        });
        let targets = targets(Path::new("out"), &found.collect::<Vec<_>>(), Format::Text);
        let text = |path: PathBuf| path.display().to_string();
        let all = targets.into_iter();
        all.map(|target| target.map(text).map_err(|error| error.to_string()))
            .collect()
    }

    #[test]
    fn no_two_results_share_a_file() {
        let path = |path: &str| Ok(path.to_owned());
        assert_eq!(
            of(&["a.wav", "b.c.wav", "x/a.wav", "-d.wav", "e"]),
            [
                "out/a.txt",
                "out/b.c.txt",
                "out/x/a.txt",
                "out/-d.txt",
                "out/e.txt"
            ]
            .map(path)
        );
        // The same whatever comes first.
        assert_eq!(
            of(&["a.mp3", "a.wav"]),
            ["out/a.mp3.txt", "out/a.wav.txt"].map(path)
        );
        assert_eq!(
            of(&["a.wav", "a.mp3"]),
            ["out/a.wav.txt", "out/a.mp3.txt"].map(path)
        );
        let twice = of(&["a.wav", "a.wav"]);
        assert_eq!(twice[0], path("out/a.txt"));
        let refused =
            "its result would be out/a.txt, which is that of in/a.wav: give it another --output";
        assert_eq!(twice[1], Err(refused.into()));
    }
}
