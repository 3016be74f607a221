//! The daemon: arguments, then configuration, then run.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use stt_isolated::{
    config::{Config, ConfigError},
    job, service,
};

/// sysexits.h: something in the configuration is wrong.
const EX_CONFIG: u8 = 78;

/// Speech-to-text service that runs each transcription in a transient, memory-limited process of its own
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, clap::Args)]
struct Serve {
    #[command(flatten)]
    common: Common,
    /// Run even as root (development only)
    #[arg(long)]
    allow_root: bool,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Configuration file to read instead of /etc/stt-isolated/stt-isolated.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 if it can be served, 1 if not (a line on standard error says why), 78 if the \
                  configuration is wrong. Started by root, it becomes the owner of the folder in which the model is."
)]
struct CheckModel {
    #[command(flatten)]
    common: Common,
    /// What could be put into the models directory: a file of whisper.cpp, or the folder of a model for Vosk
    #[arg(value_name = "MODEL")]
    model: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve clients on the sockets that systemd passes (the default)
    Serve(Serve),
    /// Check the configuration, name every mistake, and do nothing else
    CheckConfig(Common),
    /// Load one model and let it transcribe, in the sandbox in which the service would, and do nothing else
    CheckModel(CheckModel),
    /// Hold a model and fork jobs; started by the service itself
    #[command(hide = true)]
    Zygote,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Serve(serve) => match load(&serve.common) {
            Ok(config) => match service::serve(config, &|| load(&serve.common), serve.allow_root) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error, error.exit_status()),
            },
            Err(error) => fail(&error, EX_CONFIG),
        },
        Command::CheckConfig(common) => match load(&common) {
            Ok(config) => {
                config
                    .remarks
                    .iter()
                    .for_each(|remark| eprintln!("stt-isolated: {remark}"));
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error, EX_CONFIG),
        },
        Command::CheckModel(check) => check_model(&check),
        Command::Zygote => match job::zygote_main() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        },
    }
}

fn check_model(check: &CheckModel) -> ExitCode {
    let model = match std::path::absolute(&check.model) {
        Ok(model) => model,
        Err(error) => return fail(&error, 1),
    };
    match Config::load_one(check.common.config.as_deref(), environment(), &model) {
        Ok(config) => match service::check_model(config, &model) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        },
        Err(error @ ConfigError::NoModel { .. }) => fail(&error, 1),
        Err(error) => fail(&error, EX_CONFIG),
    }
}

fn load(common: &Common) -> Result<Config, ConfigError> {
    Config::load(common.config.as_deref(), environment())
}

/// The variables that are text; no other is ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn fail(error: &dyn std::error::Error, status: u8) -> ExitCode {
    eprintln!("stt-isolated: {error}");
    ExitCode::from(status)
}
