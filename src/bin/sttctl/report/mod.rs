//! `sttctl report`: what the journal knows of a time, as one page to look at.

mod chart;
mod escaped;
mod page;
mod tally;
mod thinned;
mod timeline;

use std::fs::Permissions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use self::tally::Tally;
use crate::cli::Report;
use crate::error::{Error, report};
use crate::journal;

/// What is reported when nobody says since when.
const SINCE: &str = "24h";

/// Makes the page; tells whether that succeeded.
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
    // Better known before the journal is read.
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

/// Writes the page all at once or not at all: who looks at a report that is made every hour never sees half of one.
fn save(path: &Path, page: &[u8]) -> Result<(), Error> {
    let wrong = |source: io::Error| Error::Save {
        path: path.to_owned(),
        source,
    };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // As any other file that a program makes: open as far as the umask lets it be.
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
