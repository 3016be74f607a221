//! `sttctl report`: makes one page from the journal's entries of a period.

mod chart;
mod escaped;
mod page;
mod tally;
mod thinned;
mod timeline;

use std::{
    fs::Permissions,
    io::{self, IsTerminal, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use self::tally::Tally;
use crate::{
    cli::Report,
    error::{Error, report},
    journal,
};

/// Default begin of the period.
const SINCE: &str = "24h";

/// Makes the page; returns true on success.
pub fn run(arguments: &Report) -> bool {
    match make(arguments) {
        Ok(()) => true,
        Err(error) => {
            report(arguments.journal.input.as_deref(), &error.to_string());
            false
        }
    }
}

fn make(arguments: &Report) -> Result<(), Error> {
    let output = arguments
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    // Check this before the journal is read.
    if output.is_none() && io::stdout().is_terminal() {
        return Err(Error::PageOnTerminal);
    }
    let mut tally = Tally::default();
    let skipped = journal::read(&arguments.journal, SINCE, |entry| tally.add(entry))?;
    let page =
        page::write(&tally, skipped).map_err(|error| Error::Write(io::Error::other(error)))?;
    match output {
        Some(path) => save(path, page.as_bytes()),
        None => {
            let mut out = io::stdout().lock();
            let written = out.write_all(page.as_bytes()).and_then(|()| out.flush());
            written.map_err(Error::Write)
        }
    }
}

/// Writes the page completely or not at all, so that a reader of an hourly report never sees half a
/// page.
fn save(path: &Path, page: &[u8]) -> Result<(), Error> {
    let wrong = |source: io::Error| Error::Save {
        path: path.to_owned(),
        source,
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // The usual mode of a new file: limited only by the umask.
    let mut file = tempfile::Builder::new()
        .prefix(".sttctl-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(wrong)?;
    file.write_all(page).map_err(wrong)?;
    file.persist(path)
        .map(drop)
        .map_err(|error| wrong(error.error))
}
