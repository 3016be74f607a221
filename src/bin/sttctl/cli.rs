//! The command line: what can be asked for, and its defaults.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::endpoint::Endpoint;

/// Talk to the stt-isolated service.
#[derive(Debug, Parser)]
#[command(
    name = "sttctl",
    version,
    after_help = "Exit status: 0 when everything asked for was done, 1 when not, 2 for a wrong command line."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the text spoken in audio files
    Transcribe(Transcribe),
    /// List the models that can be asked for
    Models(Models),
}

/// Arguments of `sttctl transcribe`.
#[derive(Debug, Args)]
pub struct Transcribe {
    /// Audio files, in any format that the service decodes
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The model to use [default: the service's own]
    #[arg(long)]
    pub model: Option<String>,
    /// The language spoken, as an ISO 639-1 code such as "en"
    #[arg(long)]
    pub language: Option<String>,
    /// What to print: the text alone, or the service's whole answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Tell on standard error what each file took: memory, processor and waiting time
    #[arg(short, long)]
    pub verbose: bool,
    /// Where and for how long.
    #[command(flatten)]
    pub server: Server,
}

/// Arguments of `sttctl models`.
#[derive(Debug, Args)]
pub struct Models {
    /// Print the service's whole answer instead of one name per line
    #[arg(long)]
    pub json: bool,
    /// Where and for how long.
    #[command(flatten)]
    pub server: Server,
}

/// Arguments of every command that asks the service.
#[derive(Debug, Args)]
pub struct Server {
    /// The service's socket: a path, tcp:HOST:PORT or http://HOST:PORT
    #[arg(
        long,
        value_name = "PATH",
        env = "STT_ISOLATED_SOCKET",
        default_value = "/run/stt-isolated/http.sock"
    )]
    pub socket: Endpoint,
    /// Give up on one request, retries included, after this long ("90s", "10m") [default: never]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
}

/// What `sttctl transcribe` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The text and a newline.
    Text,
    /// The body of the answer.
    Json,
}

impl Format {
    /// The value of the API's `response_format` field.
    pub fn field(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
        }
    }
}
