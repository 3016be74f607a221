//! The command-line client: uses the public API and the journal's entries.

mod advise;
mod cli;
mod client;
mod endpoint;
mod error;
mod figures;
mod histogram;
mod journal;
mod key;
mod line;
mod listen;
mod model;
mod models;
mod problems;
mod progress;
mod raw;
mod report;
mod shown;
mod stats;
mod status;
mod stdin;
mod text;
mod top;
mod transcribe;
mod upload;

use std::process::ExitCode;

use crate::cli::{Cli, Command, Key};

fn main() -> ExitCode {
    let cli = Cli::read();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            error::report(None, &format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let status = runtime.block_on(async {
        match &cli.command {
            Command::Transcribe(arguments) => transcribe::run(arguments).await,
            Command::Listen(arguments) => listen::run(arguments).await,
            Command::Models(arguments) => success(models::run(arguments).await),
            Command::Model(arguments) => model::run(arguments).await,
            Command::Key(Key::New(arguments)) => success(key::run(&arguments.name.0)),
            Command::Status(arguments) => status::run(arguments).await,
            Command::Top(arguments) => success(top::run(arguments).await),
            Command::Advise(arguments) => success(advise::run(arguments)),
            Command::Report(arguments) => success(report::run(arguments)),
        }
    });
    // Without this, an abandoned name look-up or read would delay the exit, and time-outs would be
    // pointless.
    runtime.shutdown_background();
    status
}

fn success(done: bool) -> ExitCode {
    if done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
