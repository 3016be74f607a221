//! The daemon's command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Speech-to-text service that runs each transcription in its own transient, memory-limited process
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub serve: Serve,
}

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    pub common: Common,
    /// Run even as root (development only)
    #[arg(long)]
    pub allow_root: bool,
}

#[derive(Debug, Args)]
pub struct Common {
    /// Configuration file to read instead of /etc/stt-isolated/stt-isolated.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if it can be served, 1 if not (a line on standard error says why), 78 if the \
                  configuration is wrong. Started by root, it becomes the owner of the folder in which the model is."
)]
pub struct CheckModel {
    #[command(flatten)]
    pub common: Common,
    /// The file of a whisper.cpp model, or the folder of a model for Vosk or sherpa-onnx
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve clients on the sockets that systemd passes (the default)
    Serve(Serve),
    /// Check the configuration, name every mistake, and do nothing else
    CheckConfig(Common),
    /// Load one model and let it transcribe, in the sandbox in which the service would, and do
    /// nothing else
    CheckModel(CheckModel),
    /// Hold a model and fork jobs; started by the service itself
    #[command(hide = true)]
    Zygote,
    /// Tell when somebody speaks in live recordings; started by the service itself
    #[command(hide = true)]
    Detector,
}
