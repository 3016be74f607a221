//! The command line: what can be asked for, and its defaults.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::endpoint::Endpoint;

/// Nobody reads faster, and the service has better things to do.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Talk to the stt-isolated service.
#[derive(Debug, Parser)]
#[command(
    name = "sttctl",
    version,
    after_help = "Exit status: 0 when everything asked for was done, 1 when not, 2 for a wrong command line. \
                  `sttctl status` has one more: see its help."
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
    /// Show how the service is: what is wrong first, then what each model does and has done
    Status(Status),
    /// Watch the jobs at work, with what each uses of its limits
    Top(Top),
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

/// Arguments of `sttctl status`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if every model is ready, 1 if the service cannot be reached or its answer not be \
                  read, 2 for a wrong command line, 3 if some model is not ready."
)]
pub struct Status {
    /// Print the service's whole answer instead
    #[arg(long)]
    pub json: bool,
    /// Where and for how long.
    #[command(flatten)]
    pub server: Server,
}

/// Arguments of `sttctl top`.
#[derive(Debug, Args)]
#[command(
    after_help = "Keys: m, c, a: sort by memory, CPU, age; h or ?: help; q, Esc or Ctrl-C: quit."
)]
pub struct Top {
    /// The time from one look to the next ("500ms", "5s")
    #[arg(long, value_name = "TIME", value_parser = interval, default_value = "1s")]
    pub interval: Duration,
    /// Look twice, print what is seen without any escape sequence, and end; so without a terminal
    #[arg(long)]
    pub once: bool,
    /// Where and for how long.
    #[command(flatten)]
    pub server: Server,
}

/// Arguments of every command that asks the service.
#[derive(Clone, Debug, Args)]
pub struct Server {
    /// The service's socket: a path, tcp:HOST:PORT or http://HOST:PORT
    #[arg(
        long,
        value_name = "PATH",
        env = "STT_ISOLATED_SOCKET",
        default_value = "/run/stt-isolated/http.sock"
    )]
    pub socket: Endpoint,
    /// Give up on one request, retries included, after this long ("90s", "10m") [default: never; status and top: 10s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < SHORTEST_INTERVAL {
        let shortest = humantime::format_duration(SHORTEST_INTERVAL);
        return Err(format!("at least {shortest}"));
    }
    Ok(interval)
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
