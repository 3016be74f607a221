//! `sttctl model`: fills the models directory, completely or not at all for each model.

mod address;
mod bar;
mod error;
mod fetch;
mod install;
mod list;
mod partial;
mod place;
mod pull;
mod trial;

use std::{
    env,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use stt_isolated::catalogue::{self, Catalogue};
use tokio::{
    process::Command,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    cli::{Model, Place},
    error::report,
};

/// Unit that reads the models directory.
const UNIT: &str = "stt-isolated.service";

/// Exit status if a signal ended the program, as in a shell.
const INTERRUPTED: u8 = 130;

/// Runs the command; the exit status says whether it succeeded.
pub async fn run(arguments: &Model) -> ExitCode {
    match arguments {
        Model::Pull(arguments) => {
            let subject = Some(Path::new(&arguments.model));
            let done = unless_told(subject, pull::INTERRUPTED, pull::pull(arguments)).await;
            finish(done, &arguments.place).await
        }
        Model::Install(arguments) => {
            let file = Some(arguments.file.as_path());
            let work = install::install(arguments);
            let done = unless_told(file, "interrupted, nothing was installed", work).await;
            finish(done, &arguments.place).await
        }
        Model::List(arguments) => match list::list(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(None, &error.to_string()),
        },
        Model::Remove(arguments) => {
            let done = place::remove(arguments).map_err(|error| failure(None, &error.to_string()));
            finish(done, &arguments.place).await
        }
    }
}

/// The catalogue. What is wrong with it is reported.
fn catalogue() -> Catalogue {
    let places = catalogue::places(env::var_os(catalogue::VARIABLE).as_deref());
    let catalogue = Catalogue::read(&places);
    for remark in catalogue.remarks() {
        report(None, remark);
    }
    catalogue
}

fn failure(subject: Option<&Path>, message: &str) -> ExitCode {
    report(subject, message);
    ExitCode::FAILURE
}

/// Does `work` unless a signal comes, and reports what went wrong with `subject`.
async fn unless_told(
    subject: Option<&Path>,
    interrupted: &str,
    work: impl Future<Output = Result<String, error::Error>>,
) -> Result<String, ExitCode> {
    let mut signals =
        Signals::catch().map_err(|error| failure(None, &format!("cannot start: {error}")))?;
    tokio::select! {
        done = work => done.map_err(|error| failure(subject, &error.to_string())),
        () = signals.next() => {
            report(subject, interrupted);
            Err(ExitCode::from(INTERRUPTED))
        }
    }
}

/// Prints what was done, and reloads if that is wanted.
async fn finish(done: Result<String, ExitCode>, place: &Place) -> ExitCode {
    let message = match done {
        Ok(message) => message,
        Err(status) => return status,
    };
    // The work is done, even if the message cannot be written.
    let _ = writeln!(io::stdout(), "{message}");
    if place.reload {
        return reload().await;
    }
    let _ = writeln!(
        io::stdout(),
        "The service takes notice when it is told to: systemctl reload {UNIT}"
    );
    ExitCode::SUCCESS
}

/// Signals that end the work early. They are caught before there is anything to clean up.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn catch() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Lets systemd tell a running service; a stopped one reads the directory at its start.
async fn reload() -> ExitCode {
    let mut command = Command::new("systemctl");
    match command.args(["try-reload-or-restart", UNIT]).status().await {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => failure(None, &format!("systemctl could not reload {UNIT}")),
        Err(error) => failure(None, &format!("cannot start systemctl: {error}")),
    }
}
