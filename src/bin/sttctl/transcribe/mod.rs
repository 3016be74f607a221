//! `sttctl transcribe`: sends one request per recording, and shows the results in the order of the
//! arguments.

mod events;
mod inputs;
mod live;
mod output;

use std::{
    cell::Cell,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{self, Either},
    stream,
};
use serde_json::Value;

use self::{inputs::Input, live::Live};
use crate::{
    cli::Transcribe,
    client::{self, Answer, RETRIES, Take},
    error::{Error, report},
    figures,
    progress::{Display, Progress},
    raw::Raw,
    stdin::{Interrupt, Recording},
    upload::Form,
};

/// Exit status as if Ctrl-C had ended the program.
const INTERRUPTED: u8 = 130;

/// Exit status as if SIGPIPE had ended the program, as `| head` ends others.
const UNREAD: u8 = 141;

/// Transcribes all inputs, and prints or saves the results.
pub async fn run(arguments: &Transcribe) -> ExitCode {
    let interrupt = Interrupt::default();
    let all = pin!(all(arguments, &interrupt));
    if !arguments.files.iter().any(|file| file.as_os_str() == "-") {
        return all.await;
    }
    match future::select(all, pin!(interrupt.given())).await {
        Either::Left((status, _)) => status,
        Either::Right((Ok(()), _)) => ExitCode::from(INTERRUPTED),
        Either::Right((Err(_), all)) => all.await,
    }
}

async fn all(arguments: &Transcribe, interrupt: &Interrupt) -> ExitCode {
    if let Some(folder) = &arguments.output
        && let Err(source) = fs::create_dir_all(folder)
    {
        let path = folder.clone();
        report(None, &Error::Save { path, source }.to_string());
        return ExitCode::FAILURE;
    }
    let inputs = inputs::expand(&arguments.files);
    let several = inputs.len() > 1;
    // Draw no progress if words are printed while it runs.
    let shown = if arguments.stream { 1 } else { inputs.len() };
    let display = Display::new(shown);
    let work = Work {
        arguments,
        interrupt,
        several,
        display: &display,
    };
    let results = stream::iter(inputs).map(async |(name, input)| {
        let result = match input {
            Ok(input) => work.one(&name, input).await,
            Err(error) => Err(error),
        };
        display.next();
        (name, result)
    });
    let mut results = pin!(results.buffered(arguments.jobs.into()));
    let mut status = ExitCode::SUCCESS;
    while let Some((name, result)) = results.next().await {
        let put = result.and_then(|result| display.suspend(|| work.put(&name, result)));
        status = match put {
            Ok(()) => continue,
            // No later result could be printed either.
            Err(Error::Write(error)) => {
                display.end();
                if error.kind() == ErrorKind::BrokenPipe {
                    return ExitCode::from(UNREAD);
                }
                report(None, &Error::Write(error).to_string());
                return ExitCode::FAILURE;
            }
            Err(error) => {
                display.suspend(|| report(Some(&name), &error.to_string()));
                ExitCode::FAILURE
            }
        };
    }
    display.end();
    status
}

/// Result of one recording.
enum Done {
    Streamed,
    Print(Bytes),
    Save(PathBuf, Bytes),
}

struct Work<'a> {
    arguments: &'a Transcribe,
    interrupt: &'a Interrupt,
    several: bool,
    display: &'a Display,
}

impl Work<'_> {
    async fn one(&self, name: &Path, input: Input) -> Result<Done, Error> {
        let format = self.arguments.format;
        let target = self.arguments.output.as_ref().map(|folder| match &input {
            Input::Stdin => output::target(folder, Path::new("stdin"), format),
            Input::File(path) => output::target(folder, path, format),
        });
        let target = target.transpose()?;
        let progress = Progress::new(self.display, name);
        if self.arguments.stream {
            self.stream(name, &input, &progress).await?;
            return Ok(Done::Streamed);
        }
        let answer = self.ask(name, &input, &progress, None).await;
        progress.end();
        let answer = answer?;
        self.figures(name, &answer, None);
        let body = answer.into_body()?;
        Ok(match target {
            Some(path) => Done::Save(path, body),
            None => Done::Print(body),
        })
    }

    async fn stream(&self, name: &Path, input: &Input, progress: &Progress) -> Result<(), Error> {
        let mut live = Live::new(self.arguments.format, self.several.then_some(name));
        let mut take = |piece: &[u8]| {
            // The words must take the place of the progress line.
            progress.end();
            live.take(piece)
        };
        let answer = self.ask(name, input, progress, Some(&mut take)).await;
        progress.end();
        self.display.suspend(|| live.end_line())?;
        let answer = answer?;
        let request = answer.header("x-request-id").map(str::to_owned);
        self.figures(name, &answer, live.last(None).ok());
        answer.into_body()?;
        live.last(request).map(drop)
    }

    async fn ask(
        &self,
        name: &Path,
        input: &Input,
        progress: &Progress,
        take: Option<&mut Take<'_>>,
    ) -> Result<Answer, Error> {
        let arguments = self.arguments;
        let media_type = arguments.raw.as_ref().map(Raw::media_type);
        let [width, count] = [arguments.max_line_width, arguments.max_line_count]
            .map(|size| size.map(|size| size.to_string()));
        let fields: Vec<(&str, &str)> = [
            ("model", arguments.model.as_deref()),
            ("language", arguments.language.as_deref()),
            ("prompt", arguments.prompt.as_deref()),
            ("response_format", Some(arguments.format.field())),
            ("stream", arguments.stream.then_some("true")),
            ("max_line_width", width.as_deref()),
            ("max_line_count", count.as_deref()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
        let form = Form {
            endpoint: &arguments.server.socket,
            page: if arguments.translate {
                "/v1/audio/translations"
            } else {
                "/v1/audio/transcriptions"
            },
            fields: &fields,
            media_type: media_type.as_deref().unwrap_or("application/octet-stream"),
        };
        let notice = |line: &str| progress.report(name, line);
        let server = &arguments.server;
        match input {
            Input::File(path) => {
                let request = async || form.of_file(path, progress).await;
                client::ask(server, RETRIES, request, notice, take).await
            }
            Input::Stdin => {
                let stdin = Cell::new(Some(Recording::begin(self.interrupt).await?));
                // Standard input is used up, so there is nothing to send again.
                let request = async || match stdin.take() {
                    Some(stdin) => form.of_stdin(stdin, progress),
                    None => Err(Error::Nothing),
                };
                client::ask(server, 0, request, notice, take).await
            }
        }
    }

    /// Prints the warnings of the answer, or of the last event of its stream, and its cost if it is
    /// wanted.
    fn figures(&self, name: &Path, answer: &Answer, last: Option<&Value>) {
        let shown = self.several.then_some(name);
        let said = last.and_then(|last| last.get("stt")?.get("warnings")?.as_array());
        let of_stream = said.into_iter().flatten().filter_map(Value::as_str);
        for warning in answer.headers("x-stt-warnings").chain(of_stream) {
            let line = format!("warning: {warning}");
            self.display.suspend(|| report(shown, &line));
        }
        if self.arguments.verbose {
            let line = figures::line(answer, last);
            let line = line.as_deref().unwrap_or("no figures in the answer");
            self.display.suspend(|| report(Some(name), line));
        }
    }

    fn put(&self, name: &Path, result: Done) -> Result<(), Error> {
        match result {
            Done::Streamed => Ok(()),
            Done::Print(body) => {
                let name = self.several.then_some(name);
                output::print(self.arguments.format, name, &body)
            }
            Done::Save(path, body) => output::save(&path, &body),
        }
    }
}
