//! `sttctl transcribe`: one request per file, one after the other.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::Bytes;

use crate::cli::{Format, Transcribe};
use crate::error::{Error, report};
use crate::progress::Progress;
use crate::{client, figures, upload};

/// Transcribes every file and prints the results; tells whether all of them succeeded.
pub async fn run(arguments: &Transcribe) -> bool {
    let mut all = true;
    for file in &arguments.files {
        match one(arguments, file).await {
            Ok(body) => {
                if let Err(error) = print(arguments, file, &body) {
                    // Whatever comes next could not be printed either.
                    report(None, &format!("cannot write the result: {error}"));
                    return false;
                }
            }
            Err(error) => {
                report(Some(file), &error.to_string());
                all = false;
            }
        }
    }
    all
}

async fn one(arguments: &Transcribe, file: &Path) -> Result<Bytes, Error> {
    let progress = Progress::new(file);
    let fields: Vec<(&str, &str)> = [
        ("model", arguments.model.as_deref()),
        ("language", arguments.language.as_deref()),
        ("response_format", Some(arguments.format.field())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    let answer = client::ask(
        &arguments.server,
        async || upload::request(&arguments.server.socket, file, &fields, &progress).await,
        |line| progress.report(file, line),
    )
    .await;
    progress.end();
    let answer = answer?;
    if arguments.verbose {
        let line = figures::line(&answer);
        report(
            Some(file),
            line.as_deref().unwrap_or("no figures in the answer"),
        );
    }
    answer.into_body()
}

/// Prints one result; each line of a text names its file, as grep does, if there are several.
fn print(arguments: &Transcribe, file: &Path, body: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    for line in body.split(|byte| *byte == b'\n') {
        if arguments.format == Format::Text && arguments.files.len() > 1 {
            out.write_all(file.as_os_str().as_bytes())?;
            out.write_all(b": ")?;
        }
        out.write_all(line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
