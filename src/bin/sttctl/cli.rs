//! The command line: commands, options and their defaults.

use std::{path::PathBuf, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};

use crate::{
    endpoint::Endpoint,
    key::{Name, Shown},
    raw::Raw,
};

/// Shortest interval: faster updates cannot be read, and would burden the service.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Talk to the stt-isolated service.
#[derive(Debug, Parser)]
#[command(
    name = "sttctl",
    version,
    after_help = "Exit status: 0 when everything asked for was done, 1 when not, 2 for a wrong command line. \
                  Some commands have more: see their help."
)]
pub struct Cli {
    /// The command with its arguments.
    #[command(subcommand)]
    pub command: Command,
}

/// All commands of the program.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the text spoken in audio files
    Transcribe(Transcribe),
    /// Print words while they are spoken into the microphone
    Listen(Listen),
    /// List the models: whether each can serve, or why not, and its use of memory
    Models(Models),
    /// Download a model, put a file into the models directory, list models, or remove one
    #[command(subcommand)]
    Model(Model),
    /// Make a key for clients that come over TCP
    #[command(subcommand)]
    Key(Key),
    /// Show the state of the service: problems first, then the activity of each model
    Status(Status),
    /// Watch the running jobs, with the use of their limits
    Top(Top),
    /// Make an HTML page from the journal's entries about the requests of a day
    Report(Report),
    /// Propose each model's memory limit from the recorded peaks of its requests
    Advise(Advise),
}

/// Arguments of `sttctl transcribe`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 when every recording was transcribed, 1 when some was not (a line on standard error \
                  says which and why; the others are done all the same), 2 for a wrong command line, 130 after Ctrl-C, \
                  141 when nobody reads the result any more. A result that is there already (--skip-existing) counts \
                  as transcribed.\n\n\
                  A microphone: arecord -f S16_LE -r 16000 -c 1 | sttctl transcribe -\n\
                  Ctrl-C ends the recording, which is then transcribed; a second one gives up."
)]
pub struct Transcribe {
    /// Audio files in any format that the service decodes; folders, for all files in them that are
    /// named like audio; "-" for standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The model to use [default: the service's own]
    #[arg(long)]
    pub model: Option<String>,
    /// The language spoken, as an ISO 639-1 code such as "en"
    #[arg(long)]
    pub language: Option<String>,
    /// Words to expect and the style to write in, for models that accept a prompt
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// Translate the speech into English, with models that can
    #[arg(long, conflicts_with_all = ["language", "stream"])]
    pub translate: bool,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Longest line of subtitles, in characters [default: 42]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub max_line_width: Option<u16>,
    /// Most lines of a subtitle [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub max_line_count: Option<u16>,
    /// Tell speakers apart: "channels" takes each channel of the recording for one of them
    #[arg(long, value_name = "WAY")]
    pub speakers: Option<String>,
    /// Name of a speaker, for --format diarized_json; may be repeated, in the order of the speakers
    #[arg(long, value_name = "NAME")]
    pub speaker_name: Vec<String>,
    /// Print words as they are understood; with --format json, each event as a line
    #[arg(long, conflicts_with_all = ["output", "jobs"])]
    pub stream: bool,
    /// The recordings are samples without a header, as from `arecord -t raw`:
    /// format=S16_LE,rate=16000,channels=1 (the defaults of parts that are left out)
    #[arg(long, value_name = "WHAT")]
    pub raw: Option<Raw>,
    /// Transcribe this many at the same time; results stay in order
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: u8,
    /// Write each result into this folder as NAME.txt, .json, .srt or .vtt; a file that exists is
    /// never overwritten
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Leave out recordings whose result is in --output already
    #[arg(long, requires = "output")]
    pub skip_existing: bool,
    /// Also take the recordings in the folders within folders
    #[arg(short, long)]
    pub recursive: bool,
    /// Of folders, leave out files that were changed more recently than this ("10s"): perhaps they
    /// are still being written
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "0s")]
    pub min_age: Duration,
    /// Print the cost of each file on standard error: memory, processor and waiting time
    #[arg(short, long)]
    pub verbose: bool,
    /// Address of the service, and time-out.
    #[command(flatten)]
    pub server: Server,
}

/// Arguments of `sttctl listen`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 after Ctrl-C or at the end of the input, 1 if something failed (a line on standard error \
                  says what), 2 for a wrong command line, 130 after a second Ctrl-C.\n\n\
                  It records with pw-record or arecord, whichever is installed. Each turn ends at a pause, and is a line \
                  of its own.\n\n\
                  ffmpeg -loglevel error -i talk.mp3 -f s16le -ar 24000 -ac 1 - | sttctl listen -"
)]
pub struct Listen {
    /// "-": samples from standard input instead of the microphone: 16 bits, low byte first, mono,
    /// 24 kHz
    #[arg(value_name = "-", value_parser = only_stdin)]
    pub input: Option<PathBuf>,
    /// The model to use [default: the service's own]
    #[arg(long)]
    pub model: Option<String>,
    /// The language spoken, as an ISO 639-1 code such as "en"
    #[arg(long)]
    pub language: Option<String>,
    /// Words to expect and the style to write in, for models that accept a prompt
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// Print words before they are sure, with models that can: dim until they are; a few more of
    /// them are wrong in the end
    #[arg(long)]
    pub early: bool,
    /// Pause that ends a turn ("300ms", "1s")
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "500ms")]
    pub silence: Duration,
    /// Also append the text of each turn to this file, as a line
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Run this command of the shell for each turn, with its text as standard input
    #[arg(long, value_name = "COMMAND")]
    pub command: Option<String>,
    /// Address of the service, and time-out.
    #[command(flatten)]
    pub server: Server,
}

fn only_stdin(path: &str) -> Result<PathBuf, &'static str> {
    match path == "-" {
        true => Ok(path.into()),
        false => Err("only `-` can be given: sttctl transcribe takes files"),
    }
}

/// Arguments of `sttctl models`.
#[derive(Debug, Args)]
pub struct Models {
    /// Print names only, one per line, aliases included
    #[arg(short, long)]
    pub quiet: bool,
    /// Print the service's whole list instead
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
    /// Address of the service, and time-out.
    #[command(flatten)]
    pub server: Server,
}

/// `sttctl key`: makes keys for clients over TCP.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Print a new key, and below it the line for the file that `clients.keys` names
    #[command(
        after_help = "The key is shown only this once: the line has only its hash.\n\n\
                      sttctl key new phone | (read -r key; echo \"$key\" >&2; sudo tee -a /etc/stt-isolated/keys)\n\
                      sudo systemctl reload stt-isolated"
    )]
    New(NewKey),
}

/// Arguments of `sttctl key new`.
#[derive(Debug, Args)]
pub struct NewKey {
    /// The name under which the service knows the key, in its journal and statistics
    #[arg(value_name = "NAME")]
    pub name: Name,
}

/// `sttctl model`: manages the models directory.
#[derive(Debug, Subcommand)]
pub enum Model {
    /// Download a model of the catalogue, try it in the service's own sandbox, and put it into the
    /// models directory if it is good
    #[command(
        after_help = "Exit status: 0 if it is installed, 1 if not, 2 for a wrong command line, 130 after Ctrl-C. What has \
                      been downloaded is kept, and the next pull goes on from there.\n\n\
                      Variables: https_proxy, all_proxy and no_proxy name a proxy. HF_ENDPOINT is an address that replaces \
                      https://huggingface.co. STT_ISOLATED_MIRROR is the address of a mirror with a folder for each host \
                      (as `wget -x` makes them). SSL_CERT_FILE has the certificates to trust instead of the system's. \
                      STT_ISOLATED_CATALOGUE has the catalogue's files and folders, separated by colons [default: \
                      /usr/share/stt-isolated/models.toml:/etc/stt-isolated/models.d].\n\n\
                      sudo sttctl model pull base --reload"
    )]
    Pull(Pull),
    /// List the models that are installed, or that can be pulled
    List(List),
    /// Try a file of whisper.cpp in the service's own sandbox, and put it into the models directory
    /// if it is good
    #[command(
        after_help = "Exit status: 0 if it was installed, 1 if not (nothing is left behind then), 2 for a wrong command \
                      line, 130 after Ctrl-C.\n\n\
                      The service serves it under its name after a reload. A file of the catalogue is recognised by its \
                      SHA-256.\n\n\
                      sudo sttctl model install ggml-small.bin --reload"
    )]
    Install(Install),
    /// Remove a model's file from the models directory
    Remove(Remove),
}

/// Arguments of `sttctl model pull`.
#[derive(Debug, Args)]
pub struct Pull {
    /// The model's name in the catalogue (`sttctl model list --available`)
    #[arg(value_name = "NAME", value_parser = name)]
    pub model: String,
    /// The name under which it is served [default: its name in the catalogue]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub name: Option<String>,
    /// Replace a model that has this name already
    #[arg(long)]
    pub force: bool,
    /// Break off a connection over which less than 1 KiB comes in this time ("30s", "2m")
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "30s")]
    pub timeout: Duration,
    /// Models directory, and whether to reload.
    #[command(flatten)]
    pub place: Place,
}

/// Arguments of `sttctl model list`.
#[derive(Debug, Args)]
pub struct List {
    /// List the catalogue: every model that `sttctl model pull` can download
    #[arg(long)]
    pub available: bool,
    /// Print the list as JSON, with all that the catalogue knows
    #[arg(long)]
    pub json: bool,
    /// The models directory
    #[arg(
        long,
        value_name = "DIR",
        env = "STT_ISOLATED_MODELS_DIRECTORY",
        default_value = "/var/lib/stt-isolated/models"
    )]
    pub directory: PathBuf,
}

/// Arguments of `sttctl model install`.
#[derive(Debug, Args)]
pub struct Install {
    /// The model's file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The name under which it is served [default: its name in the catalogue if its SHA-256 is
    /// known there, otherwise that of the file, without its .bin]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub name: Option<String>,
    /// Expected SHA-256 of the file, in hexadecimal
    #[arg(long, value_name = "SUM", value_parser = sum)]
    pub sha256: Option<String>,
    /// Replace a model that has this name already
    #[arg(long)]
    pub force: bool,
    /// Models directory, and whether to reload.
    #[command(flatten)]
    pub place: Place,
}

/// Arguments of `sttctl model remove`.
#[derive(Debug, Args)]
pub struct Remove {
    /// The name under which it is served
    #[arg(value_name = "NAME", value_parser = name)]
    pub name: String,
    /// Models directory, and whether to reload.
    #[command(flatten)]
    pub place: Place,
}

/// Arguments of `pull`, `install` and `remove`.
#[derive(Debug, Args)]
pub struct Place {
    /// The models directory
    #[arg(
        long,
        value_name = "DIR",
        env = "STT_ISOLATED_MODELS_DIRECTORY",
        default_value = "/var/lib/stt-isolated/models"
    )]
    pub directory: PathBuf,
    /// Make the service read it at once (systemctl try-reload-or-restart)
    #[arg(long)]
    pub reload: bool,
}

/// Checks a model name by the service's rules.
pub fn name(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if !(1..=64).contains(&text.len()) || !text.bytes().all(allowed) || text.starts_with('.') {
        return Err(
            "a model's name has 1 to 64 letters, digits, `_`, `-` and `.`, and does not start with `.`"
                .into(),
        );
    }
    Ok(text.into())
}

fn sum(text: &str) -> Result<String, String> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("it has 64 hexadecimal digits".into());
    }
    Ok(text.to_ascii_lowercase())
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
    /// Address of the service, and time-out.
    #[command(flatten)]
    pub server: Server,
}

/// Arguments of `sttctl top`.
#[derive(Debug, Args)]
#[command(
    after_help = "Keys: m, c, a: sort by memory, CPU, age; h or ?: help; q, Esc or Ctrl-C: quit."
)]
pub struct Top {
    /// Interval between two requests ("500ms", "5s")
    #[arg(long, value_name = "TIME", value_parser = interval, default_value = "1s")]
    pub interval: Duration,
    /// Print one screen without escape sequences, and end; the default without a terminal
    #[arg(long)]
    pub once: bool,
    /// Address of the service, and time-out.
    #[command(flatten)]
    pub server: Server,
}

/// Arguments of `sttctl report`.
#[derive(Debug, Args)]
#[command(
    after_help = "Whose journal entries one may read, journalctl decides: root, and the groups adm and systemd-journal.\n\n\
                  Of another host: ssh HOST journalctl -u stt-isolated --since yesterday -o json | sttctl report --input -"
)]
pub struct Report {
    /// File for the page, which is overwritten; "-" is standard output, the default
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Source and period of the journal entries.
    #[command(flatten)]
    pub journal: Journal,
}

/// Arguments of `sttctl advise`.
#[derive(Debug, Args)]
#[command(
    after_help = "The proposal: a quarter more than 99.9 % of the transcribed requests needed, and no less than any of them \
                  did, in steps of 16 MiB. No less than the limit is now if requests were stopped by it."
)]
pub struct Advise {
    /// Print all figures as JSON instead
    #[arg(long)]
    pub json: bool,
    /// Source and period of the journal entries.
    #[command(flatten)]
    pub journal: Journal,
}

/// Arguments of every command that reads the journal.
#[derive(Debug, Args)]
pub struct Journal {
    /// Start of the period: a length of time up to now ("24h", "7d"), or any time that journalctl
    /// takes ("yesterday", "2026-11-23 08:00") [default: 24h; advise: 7d]
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// End of the period, in the same forms [default: now]
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Unit that wrote the entries
    #[arg(long, value_name = "UNIT", default_value = "stt-isolated.service")]
    pub unit: String,
    /// Read lines that `journalctl -o json` wrote instead of the journal; "-" is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["since", "until", "unit"])]
    pub input: Option<PathBuf>,
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
    /// File with the key to show, which the service may ask for over TCP
    #[arg(long = "key-file", value_name = "FILE", env = "STT_ISOLATED_KEY_FILE")]
    pub key: Option<Shown>,
    /// Give up on one request, retries included, after this long ("90s", "10m") [default: never;
    /// status and top: 10s]
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

/// Output formats of `sttctl transcribe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The text and a newline
    Text,
    /// The service's answer
    Json,
    /// Subtitles for players
    Srt,
    /// Subtitles for browsers
    Vtt,
    /// The service's answer with times and cost
    #[value(name = "verbose_json")]
    VerboseJson,
    /// The service's answer with speakers
    #[value(name = "diarized_json")]
    DiarizedJson,
}

impl Format {
    /// Value of the API's `response_format` field.
    pub fn field(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Srt => "srt",
            Format::Vtt => "vtt",
            Format::VerboseJson => "verbose_json",
            Format::DiarizedJson => "diarized_json",
        }
    }

    /// Extension of a file in this format.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Text => "txt",
            Format::Json | Format::VerboseJson | Format::DiarizedJson => "json",
            Format::Srt => "srt",
            Format::Vtt => "vtt",
        }
    }
}

impl Cli {
    /// Parses the command line; a mistake in it ends the program.
    pub fn read() -> Cli {
        let cli = Cli::parse();
        if let Command::Transcribe(arguments) = &cli.command
            && let Err(wrong) = arguments.check()
        {
            Cli::command()
                .error(ErrorKind::ArgumentConflict, wrong)
                .exit();
        }
        cli
    }
}

impl Transcribe {
    /// Checks that clap cannot express.
    fn check(&self) -> Result<(), &'static str> {
        let streams = matches!(
            self.format,
            Format::Text | Format::Json | Format::DiarizedJson
        );
        if self.stream && !streams {
            return Err("--stream goes with --format text, json or diarized_json only");
        }
        let has_lines = matches!(self.format, Format::Srt | Format::Vtt);
        if !has_lines && (self.max_line_width.is_some() || self.max_line_count.is_some()) {
            return Err("--max-line-width and --max-line-count go with --format srt or vtt only");
        }
        let stdin = self.files.iter().filter(|file| file.as_os_str() == "-");
        if stdin.count() > 1 {
            return Err("standard input can be read only once: give - once");
        }
        Ok(())
    }
}
