//! All errors, each as one line that tells a person what to do.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use crate::shown;

/// Reasons why a command has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("cannot read: {0}")]
    Read(#[source] io::Error),
    /// A directory or device, whose length is unknown.
    #[error("{0}, not a regular file")]
    NotAFile(&'static str),
    /// A named pipe, or the `<(…)` of a shell.
    #[error("a pipe, not a regular file: give it as standard input (sttctl transcribe - < PIPE)")]
    Pipe,
    /// Standard input is a terminal, not a recording.
    #[error(
        "a terminal, not a recording: pipe one in, as in `arecord -f S16_LE -r 16000 | sttctl transcribe -`"
    )]
    Keyboard,
    /// No program that records is installed.
    #[error(
        "nothing records here: install pw-record (package pipewire-bin) or arecord (alsa-utils), or pipe samples into \
         `sttctl listen -`"
    )]
    NoRecorder,
    /// The program that records failed.
    #[error("{name} failed ({status}): is there a microphone? `{name}` alone tells more")]
    Recorder {
        /// Name of the program.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
    },
    /// Standard input ended at once.
    #[error("nothing came: did the program that records fail?")]
    Nothing,
    /// The folder has no file with an audio extension.
    #[error("no audio in this folder: looked for names that end in {0}")]
    NoAudio(String),
    /// The folder has too many audio files.
    #[error("more than {0} audio files in this folder: name the files instead")]
    TooMany(usize),
    /// The output file exists already.
    #[error("{} is there already: remove it, or choose another --output", shown::name(.0))]
    Exists(PathBuf),
    /// Two recordings would have one output file.
    #[error(
        "its result would be {}, which is that of {}: give it another --output",
        shown::name(target),
        shown::name(other)
    )]
    Shared {
        /// Path of the output file.
        target: PathBuf,
        /// Name of the recording that has it.
        other: PathBuf,
    },
    /// The result cannot be saved.
    #[error("cannot write {}: {source}", shown::name(path))]
    Save {
        /// Path of the output file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// Nothing listens on the Unix socket.
    #[error("{}: {source}; is the service's socket up? Try: systemctl start stt-isolated.socket", path.display())]
    NoService {
        /// Path of the socket.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The socket exists, but this user may not use it.
    #[error("{}: {source}; only the group that owns the socket{} may use it: become a member and log in again", path.display(), group.as_deref().map(|name| format!(" ({name})")).unwrap_or_default())]
    NotAllowed {
        /// Path of the socket.
        path: PathBuf,
        /// Name of the socket's group, if it can be found.
        group: Option<String>,
        /// Error of the system.
        source: io::Error,
    },
    /// The connection failed for another reason.
    #[error("cannot connect to {to}: {source}")]
    Connect {
        /// Address of the server.
        to: String,
        /// Error of the system.
        source: io::Error,
    },
    /// The server ended the connection too early.
    #[error("the server closed the connection {0}")]
    Closed(&'static str),
    /// The exchange with the server failed in another way.
    #[error("talking to the server failed: {0}")]
    Http(String),
    /// The answer is too long.
    #[error("the server's answer is longer than {} MiB", limit >> 20)]
    TooLong {
        /// Longest accepted answer, in bytes.
        limit: usize,
    },
    /// The server refused the request or failed.
    #[error("{message} ({reason}{})", request.as_deref().map(|id| format!(", request {id}")).unwrap_or_default())]
    Refused {
        /// The server's own message.
        message: String,
        /// The error's code, or the HTTP status without one.
        reason: String,
        /// Request id, for a search in the server's journal.
        request: Option<String>,
    },
    /// The terminal cannot be used, or is gone.
    #[error("cannot use the terminal: {0}")]
    Terminal(#[source] io::Error),
    /// The result cannot be written.
    #[error("cannot write the result: {0}")]
    Write(#[source] io::Error),
    /// The kernel gives no random numbers.
    #[error("cannot make a key: the system gives no random numbers: {0}")]
    Random(#[source] io::Error),
    /// The answer does not follow the API.
    #[error("the server's answer makes no sense: {0}")]
    Nonsense(String),
    /// Service and sttctl have different versions.
    #[error("the service's statistics have {}, this sttctl reads schema {expected}: {}", found.map_or("no schema".into(), |found| format!("schema {found}")), if *found > Some(*expected) { "use the sttctl of the service's own version" } else { "the service is of an older version; was it restarted since the upgrade?" })]
    Schema {
        /// Schema of the answer, if it names one.
        found: Option<u64>,
        /// Schema that this program understands.
        expected: u64,
    },
    /// journalctl cannot be started.
    #[error(
        "cannot run journalctl: {0}; where it runs, its output will do: journalctl -o json > FILE, and --input FILE"
    )]
    NoJournal(#[source] io::Error),
    /// journalctl failed, and has printed the reason.
    #[error("journalctl failed ({0})")]
    Journalctl(ExitStatus),
    /// The file is not an export of the journal.
    #[error(
        "no line of it is an entry of the journal: make it with `journalctl -u stt-isolated -o json`"
    )]
    NoEntries,
    /// A page of HTML would be written to a terminal.
    #[error("a page of HTML is nothing for a terminal: name a file, as in --output report.html")]
    PageOnTerminal,
    /// The time of `--timeout` has passed.
    #[error("no result within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
}

/// Prints one line about `file`, or about the whole command, on standard error.
pub fn report(file: Option<&Path>, message: &str) {
    let mut line = String::from("sttctl: ");
    if let Some(file) = file {
        line.push_str(&shown::name(file));
        line.push_str(": ");
    }
    line.push_str(&one_line(message));
    line.push('\n');
    // If standard error is closed, nobody can be told.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// `text` without control characters: neither a server nor a file name may control the terminal.
pub fn one_line(text: &str) -> String {
    let visible = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.trim_end().chars().map(visible).collect()
}
