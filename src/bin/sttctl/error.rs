//! What can go wrong, each in one line that a person can act on.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("cannot read: {0}")]
    Read(#[source] io::Error),
    /// A directory, pipe or device: its length cannot be told beforehand.
    #[error("{0}, not a regular file")]
    NotAFile(&'static str),
    /// There is a keyboard where a recording should come from.
    #[error(
        "a terminal, not a recording: pipe one in, as in `arecord -f S16_LE -r 16000 | sttctl transcribe -`"
    )]
    Keyboard,
    /// Standard input ended at once.
    #[error("nothing came: did the program that records fail?")]
    Nothing,
    /// A folder in which nothing is named like audio.
    #[error("no audio in this folder: looked for names that end in {0}")]
    NoAudio(String),
    /// A folder with more files than anybody wants to have transcribed.
    #[error("more than {0} audio files in this folder: name the files instead")]
    TooMany(usize),
    /// What would be overwritten.
    #[error("{} is there already: remove it, or choose another --output", .0.display())]
    Exists(PathBuf),
    /// A result that cannot be stored.
    #[error("cannot write {}: {source}", path.display())]
    Save {
        /// Where it was to be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing listens on the Unix socket.
    #[error("{}: {source}; is the service's socket up? Try: systemctl start stt-isolated.socket", path.display())]
    NoService {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket is there but not for this user.
    #[error("{}: {source}; only the group that owns the socket{} may use it: become a member and log in again", path.display(), group.as_deref().map(|name| format!(" ({name})")).unwrap_or_default())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// The name of the group that owns it, where it can be seen.
        group: Option<String>,
        /// What the system said.
        source: io::Error,
    },
    /// Any other reason why there is no connection.
    #[error("cannot connect to {to}: {source}")]
    Connect {
        /// The server's address.
        to: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server ended the connection too early.
    #[error("the server closed the connection {0}")]
    Closed(&'static str),
    /// The connection or what came over it broke in another way.
    #[error("talking to the server failed: {0}")]
    Http(String),
    /// The answer is larger than any that makes sense.
    #[error("the server's answer is longer than {} MiB", limit >> 20)]
    TooLong {
        /// The most that is accepted, in bytes.
        limit: usize,
    },
    /// The server did not do it, and said why.
    #[error("{message} ({reason}{})", request.as_deref().map(|id| format!(", request {id}")).unwrap_or_default())]
    Refused {
        /// The server's own words.
        message: String,
        /// Its code, or the HTTP status if it gave none.
        reason: String,
        /// Its identifier of the request, to be found in its journal.
        request: Option<String>,
    },
    /// The terminal cannot be had, or is gone.
    #[error("cannot use the terminal: {0}")]
    Terminal(#[source] io::Error),
    /// Nobody takes the result.
    #[error("cannot write the result: {0}")]
    Write(#[source] io::Error),
    /// The answer is not what the API promises.
    #[error("the server's answer makes no sense: {0}")]
    Nonsense(String),
    /// The service and this program are not of the same time.
    #[error("the service's statistics have {}, this sttctl reads schema {expected}: {}", found.map_or("no schema".into(), |found| format!("schema {found}")), if *found > Some(*expected) { "use the sttctl of the service's own version" } else { "the service is of an older version; was it restarted since the upgrade?" })]
    Schema {
        /// What the service says, if it does.
        found: Option<u64>,
        /// What is understood here.
        expected: u64,
    },
    /// journalctl cannot be run.
    #[error(
        "cannot run journalctl: {0}; where it runs, its output will do: journalctl -o json > FILE, and --input FILE"
    )]
    NoJournal(#[source] io::Error),
    /// journalctl did not do what it was asked, and has said why.
    #[error("journalctl failed ({0})")]
    Journalctl(ExitStatus),
    /// What should be an export of the journal is something else.
    #[error(
        "no line of it is an entry of the journal: make it with `journalctl -u stt-isolated -o json`"
    )]
    NoEntries,
    /// Nobody reads HTML on a terminal.
    #[error("a page of HTML is nothing for a terminal: name a file, as in --output report.html")]
    PageOnTerminal,
    /// `--timeout` has passed.
    #[error("no result within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
}

/// Prints one line about `file`, or about the whole command, on standard error.
pub fn report(file: Option<&Path>, message: &str) {
    let mut line = String::from("sttctl: ");
    if let Some(file) = file {
        line.push_str(&one_line(&file.to_string_lossy()));
        line.push_str(": ");
    }
    line.push_str(&one_line(message));
    line.push('\n');
    // Nobody is left to be told that standard error is closed.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// `text` without control characters: neither a server nor a file's name may steer the terminal.
pub fn one_line(text: &str) -> String {
    let visible = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.trim_end().chars().map(visible).collect()
}
