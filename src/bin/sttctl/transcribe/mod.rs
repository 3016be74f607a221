//! `sttctl transcribe`: sends one request per recording, and shows the results in the order of the
//! arguments.

mod events;
mod inputs;
mod live;
mod output;
mod summary;
mod watch;

use std::{
    cell::Cell,
    fs,
    io::{self, ErrorKind},
    os::fd::AsFd,
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    future::{self, Either},
    stream,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use self::{
    inputs::{Found, Input, Inputs, Search},
    live::Live,
    summary::Summary,
    watch::Watch,
};
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

/// How often to look whether somebody still reads the results.
const LOOK: Duration = Duration::from_millis(500);

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
    let search = Search {
        recursive: arguments.recursive,
        min_age: arguments.min_age,
        may_be_empty: arguments.skip_existing,
    };
    let Inputs {
        found,
        left_out,
        has_folder,
    } = Inputs::expand(&arguments.files, search);
    let several = found.len() > 1;
    // Draw no progress if words are printed while it runs.
    let shown = if arguments.stream { 1 } else { found.len() };
    let display = Display::new(shown);
    let watch = Watch::default();
    let work = Work {
        arguments,
        interrupt,
        several,
        display: &display,
        watch: &watch,
    };
    let mut summary = Summary::default();
    let ended = {
        let work = pin!(work.every(found, &mut summary));
        let watching = pin!(watch.run(&arguments.server, &display));
        let unread = pin!(unread(arguments));
        let others = future::select(watching, unread);
        match future::select(work, others).await {
            Either::Left((ended, _)) => ended,
            // Nobody reads the results. The requests are dropped, and the service ends their jobs.
            Either::Right(_) => Err(ErrorKind::BrokenPipe.into()),
        }
    };
    display.end();
    match ended {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return ExitCode::from(UNREAD),
        Err(error) => {
            report(None, &Error::Write(error).to_string());
            return ExitCode::FAILURE;
        }
    }
    let wanted = arguments.recursive || arguments.skip_existing || !left_out.is_empty();
    if (several || has_folder) && (wanted || summary.is_mixed()) {
        report(None, &summary.line(&left_out));
    }
    match summary.is_good() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Returns when nobody can read standard output any more, if the results go there. A pipe whose
/// reader has gone does not tell before something is written to it.
async fn unread(arguments: &Transcribe) {
    if arguments.output.is_some() {
        return future::pending().await;
    }
    let stdout = io::stdout();
    loop {
        tokio::time::sleep(LOOK).await;
        let mut polled = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let answered = poll(&mut polled, PollTimeout::ZERO).unwrap_or(0);
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        let [polled] = polled;
        if answered > 0 && polled.revents().is_some_and(|flags| flags.intersects(gone)) {
            return;
        }
    }
}

/// Result of one recording.
enum Done {
    /// It was there already.
    Old,
    Streamed,
    Print(Bytes),
    Save(PathBuf, Bytes),
}

struct Work<'a> {
    arguments: &'a Transcribe,
    interrupt: &'a Interrupt,
    several: bool,
    display: &'a Display,
    watch: &'a Watch,
}

impl Work<'_> {
    /// Transcribes all that was found, and counts how each ended.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written: no later result could be printed either.
    async fn every(&self, found: Vec<Found>, summary: &mut Summary) -> io::Result<()> {
        let arguments = self.arguments;
        let folder = arguments.output.as_ref();
        let targets = match folder {
            Some(folder) => output::targets(folder, &found, arguments.format),
            None => Vec::new(),
        };
        let targets = targets
            .into_iter()
            .map(Some)
            .chain(std::iter::repeat_with(|| None));
        let results = stream::iter(found.into_iter().zip(targets)).map(async |(found, target)| {
            let Found { name, input, .. } = found;
            let result = match (input, target.transpose()) {
                (Ok(input), Ok(target)) => self.one(&name, input, target).await,
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
            self.display.next();
            (name, result)
        });
        let mut results = pin!(results.buffered(arguments.jobs.into()));
        while let Some((name, result)) = results.next().await {
            let is_old = matches!(result, Ok(Done::Old));
            let put = result.and_then(|result| self.display.suspend(|| self.put(&name, result)));
            match put {
                Ok(()) if is_old => summary.old(),
                Ok(()) => summary.done(),
                Err(Error::Write(error)) => return Err(error),
                Err(error) => {
                    let message = error.to_string();
                    self.display.suspend(|| report(Some(&name), &message));
                    summary.failed(&name);
                }
            }
        }
        Ok(())
    }

    async fn one(&self, name: &Path, input: Input, target: Option<PathBuf>) -> Result<Done, Error> {
        if let Some(target) = &target
            && output::is_there(target, self.arguments.skip_existing)?
        {
            return Ok(Done::Old);
        }
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
        let names = arguments.speaker_name.iter();
        let names = names.map(|name| ("known_speaker_names[]", Some(name.as_str())));
        let fields: Vec<(&str, &str)> = [
            ("model", arguments.model.as_deref()),
            ("language", arguments.language.as_deref()),
            ("prompt", arguments.prompt.as_deref()),
            ("response_format", Some(arguments.format.field())),
            ("stream", arguments.stream.then_some("true")),
            ("max_line_width", width.as_deref()),
            ("max_line_count", count.as_deref()),
            ("speakers", arguments.speakers.as_deref()),
        ]
        .into_iter()
        .chain(names)
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
        let followed = self.watch.follow(progress);
        let form = Form {
            endpoint: &arguments.server.socket,
            page: if arguments.translate {
                "/v1/audio/translations"
            } else {
                "/v1/audio/transcriptions"
            },
            fields: &fields,
            media_type: media_type.as_deref().unwrap_or("application/octet-stream"),
            label: &followed.label,
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
            Done::Old | Done::Streamed => Ok(()),
            Done::Print(body) => {
                let name = self.several.then_some(name);
                output::print(self.arguments.format, name, &body)
            }
            Done::Save(path, body) => output::save(&path, &body),
        }
    }
}
