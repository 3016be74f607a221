//! Writes results to standard output, or to files that did not exist before.

use std::{
    fs::{self, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::{cli::Format, error::Error};

/// Prints one result. If there are several, `name` is shown: before each line of a text (like
/// grep), as `file` in JSON, and otherwise as a heading (like head).
///
/// # Errors
///
/// Standard output cannot be written.
pub fn print(format: Format, name: Option<&Path>, body: &[u8]) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    write(&mut out, format, name, body).map_err(Error::Write)
}

fn write(out: &mut impl Write, format: Format, name: Option<&Path>, body: &[u8]) -> io::Result<()> {
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    let bytes = name.map(|name| name.as_os_str().as_bytes());
    match (format, bytes) {
        (Format::Json | Format::VerboseJson, Some(_)) => out.write_all(&named(body, name))?,
        (Format::Text, Some(bytes)) => {
            let line = |line: &[u8]| [bytes, b": ", line].concat();
            let lines: Vec<_> = body.split(|byte| *byte == b'\n').map(line).collect();
            out.write_all(&lines.join(&b'\n'))?;
        }
        (Format::Srt | Format::Vtt, Some(bytes)) => {
            out.write_all(&[b"==> ", bytes, b" <==\n", body].concat())?;
        }
        (_, None) => out.write_all(body)?,
    }
    out.write_all(b"\n")?;
    out.flush()
}

/// An answer that has no name or is not an object is returned unchanged.
/// name or it is not an object.
pub fn named(json: &[u8], name: Option<&Path>) -> Vec<u8> {
    let object = name.and_then(|name| {
        let mut object: Map<String, Value> = serde_json::from_slice(json).ok()?;
        object.insert("file".into(), name.to_string_lossy().into());
        serde_json::to_vec(&object).ok()
    });
    object.unwrap_or_else(|| json.to_vec())
}

/// Path of the file for a result.
///
/// # Errors
///
/// The file exists already. It is better to learn this before the work than after it.
pub fn target(folder: &Path, name: &Path, format: Format) -> Result<PathBuf, Error> {
    let name = name.file_name().unwrap_or(name.as_os_str());
    let path = folder.join(name).with_extension(format.extension());
    match fs::symlink_metadata(&path) {
        Ok(_) => Err(Error::Exists(path)),
        Err(_) => Ok(path),
    }
}

/// Writes a result completely or not at all, and never over another file.
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
    file.persist_noclobber(path)
        .map(drop)
        .map_err(|error| wrong(error.error))
}
