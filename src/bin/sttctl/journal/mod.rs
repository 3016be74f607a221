//! Reads the service's entries about requests, from the journal or from exported lines.

mod entry;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
};

use stt_isolated::events;

pub use self::entry::Entry;
use crate::{cli::Journal, error::Error};

/// Longest line that is parsed; the journal's own have about 2 KiB.
const MAX_LINE: usize = 64 * 1024;

/// The kinds of entries that are about a single request.
const KINDS: [&str; 8] = [
    events::REQUEST_OK,
    events::REQUEST_FAILED,
    events::REQUEST_MEMORY_LIMIT,
    events::REQUEST_CRASHED,
    events::REQUEST_MISBEHAVED,
    events::REQUEST_TIMEOUT,
    events::REQUEST_CANCELLED,
    events::REQUEST_REFUSED,
];

/// Passes each entry about a request to `take`, in the journal's order. Returns the number of lines
/// that were not entries. Only one line is held in memory.
///
/// # Errors
///
/// The journal or the file cannot be read, or it contains no journal entry at all.
pub fn read(
    arguments: &Journal,
    default_since: &str,
    mut take: impl FnMut(Entry),
) -> Result<u64, Error> {
    match &arguments.input {
        Some(path) if path == Path::new("-") => lines(io::stdin().lock(), &mut take),
        Some(path) => {
            let file = File::open(path).map_err(Error::Read)?;
            lines(BufReader::new(file), &mut take)
        }
        None => journalctl(arguments, default_since, &mut take),
    }
}

fn journalctl(
    arguments: &Journal,
    default_since: &str,
    take: &mut impl FnMut(Entry),
) -> Result<u64, Error> {
    let mut command = Command::new("journalctl");
    command.args(["--no-pager", "--output=json"]);
    command.arg(format!("--output-fields={}", entry::FIELDS.join(",")));
    let since = arguments.since.as_deref().unwrap_or(default_since);
    command.arg(format!("--since={}", moment(since)));
    if let Some(until) = &arguments.until {
        command.arg(format!("--until={}", moment(until)));
    }
    // Any program may write to the journal, but only the journal itself sets the unit of an entry.
    command.arg(format!("_SYSTEMD_UNIT={}", arguments.unit));
    command.args(KINDS.map(|kind| format!("MESSAGE_ID={kind}")));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::NoJournal)?;
    let skipped = match child.stdout.take() {
        Some(stdout) => lines(BufReader::new(stdout), take),
        None => Ok(0),
    };
    // journalctl has printed its own error message.
    let status = child.wait().map_err(Error::NoJournal)?;
    if !status.success() {
        return Err(Error::Journalctl(status));
    }
    skipped
}

/// Converts "24h" to a form that journalctl understands; other text is passed on unchanged.
fn moment(text: &str) -> String {
    match humantime::parse_duration(text) {
        Ok(ago) => format!("-{}s", ago.as_secs()),
        Err(_) => text.to_owned(),
    }
}

fn lines(mut input: impl BufRead, take: &mut impl FnMut(Entry)) -> Result<u64, Error> {
    let (mut understood, mut skipped) = (0, 0);
    let mut line = Vec::new();
    while next(&mut input, &mut line).map_err(Error::Read)? {
        match entry::parse(&line) {
            // Remarks of journalctl, such as "-- No entries --".
            _ if line.is_empty() || line.starts_with(b"-- ") => {}
            Some(entry) => {
                understood += 1;
                if KINDS.contains(&entry.kind.as_str()) {
                    take(entry);
                }
            }
            None => skipped += 1,
        }
    }
    if understood == 0 && skipped > 0 {
        return Err(Error::NoEntries);
    }
    Ok(skipped)
}

/// Reads the next line without its end, and cuts it if it is too long. Returns false at the end of
/// the input.
fn next(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = input.take(MAX_LINE as u64).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if read == MAX_LINE {
        input.skip_until(b'\n')?;
    }
    Ok(read > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> (Vec<Entry>, Result<u64, Error>) {
        let mut entries = Vec::new();
        let skipped = lines(text, &mut |entry| entries.push(entry));
        (entries, skipped)
    }

    fn line(kind: &str) -> String {
        format!(r#"{{"__REALTIME_TIMESTAMP": "1700000000000000", "MESSAGE_ID": "{kind}"}}"#) + "\n"
    }

    #[test]
    fn entries_of_requests_are_taken_and_whatever_else_is_there_is_left() {
        let mut text = line(events::REQUEST_OK).into_bytes();
        text.extend(line(events::MODEL_READY).bytes());
        text.extend(b"-- No entries --\n\nnonsense\n{\"a\": 1}\n\xff\n");
        text.extend(vec![b'{'; 3 * MAX_LINE]);
        text.push(b'\n');
        text.extend(line(events::REQUEST_REFUSED).trim_end().bytes());
        let (entries, skipped) = read(&text);
        let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
        assert_eq!(kinds, [events::REQUEST_OK, events::REQUEST_REFUSED]);
        assert_eq!(skipped.unwrap(), 4);
    }

    #[test]
    fn an_empty_journal_is_no_mistake_and_another_file_is() {
        assert_eq!(read(b"").1.unwrap(), 0);
        assert_eq!(read(b"-- No entries --\n").1.unwrap(), 0);
        assert!(matches!(read(b"RIFF\0\0\0\0WAVE").1, Err(Error::NoEntries)));
    }

    #[test]
    fn times_are_given_as_people_say_them() {
        assert_eq!(moment("24h"), "-86400s");
        assert_eq!(moment("2days"), "-172800s");
        for other in ["yesterday", "2026-01-02 03:04", "-1h", ""] {
            assert_eq!(moment(other), other);
        }
    }
}
