//! Every engine in every mode that it has: each way in which a request can end comes out alike, and
//! costs nobody else.
//!
//! The table is printed (`cargo nextest run matrix::`). Faults that only one engine can have are
//! in that engine's own tests; tests that need cgroups are in `tests/vm/`.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    thread,
};

use crate::common::{
    LONG,
    azure::{self, Service},
    clips::{GOFORWARD, TEN_OF_CLUBS, wav},
    daemon::{Daemon, Setup},
    ggml::{Ggml, segment},
    http::{Answer, Form},
    kaldi, onnx,
    process::Seen,
    user::{self, User},
    wait_until,
    wyoming::{Client, chunk, event, start, stop},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use stt_isolated::engine::fault::TEXT;
use tempfile::TempDir;

/// An engine with a model that works.
struct Engine {
    name: &'static str,
    /// The lines of `[models.default]` that name it and, after a blank line, its own table.
    config: (String, String),
    modes: &'static [&'static str],
    /// The text that it hears in [`TEN_OF_CLUBS`].
    text: &'static str,
}

/// The text that the speech service hears in anything.
const PHRASE: &str = "Ten of clubs.";

const ALL: &[&str] = &["process", "hybrid", "thread"];

/// All engines, with their models in `folder`; `service` is whom `azure` asks.
fn engines(folder: &Path, service: &Service) -> Vec<Engine> {
    let file = folder.join("ggml-test.bin");
    Ggml::english(segment(0.0, "ten of clubs", 1.2)).write(&file);
    kaldi::write(folder, &[("go", 10), ("forward", 20)]);
    let own = |name: &str, table: &str| (format!("engine = \"{name}\"\n"), table.to_owned());
    let (transducer, sense_voice) = (folder.join("transducer"), folder.join("sense-voice"));
    onnx::transducer(
        &transducer,
        &["<blk>", "<unk>", "▁go", "▁for", "ward"],
        &[(10, "▁go"), (20, "▁for"), (22, "ward")],
    );
    onnx::sense_voice(&sense_voice);
    let sherpa = |model: &Path, more: &str| {
        let library = onnx::library();
        let table = format!("model = {model:?}\nlibrary = {library:?}\n{more}");
        own("sherpa", &format!("[models.default.sherpa]\n{table}"))
    };
    let (vosk, sdk, port) = (kaldi::library(), azure::library(), service.port());
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/engine.py");
    vec![
        Engine {
            name: "pocketsphinx",
            config: own("pocketsphinx", ""),
            modes: ALL,
            text: TEN_OF_CLUBS.text,
        },
        Engine {
            name: "whisper",
            config: own(
                "whisper",
                &format!("[models.default.whisper]\nfile = {file:?}\nthreads = 1\n"),
            ),
            modes: ALL,
            text: "ten of clubs",
        },
        Engine {
            name: "vosk",
            config: own(
                "vosk",
                &format!("[models.default.vosk]\nmodel = {folder:?}\nlibrary = {vosk:?}\n"),
            ),
            modes: ALL,
            text: "go forward",
        },
        // It expects words that a request names.
        Engine {
            name: "sherpa",
            config: sherpa(&transducer, "beam_size = 4\nmodeling_unit = \"cjkchar\"\n"),
            modes: ALL,
            text: "go forward",
        },
        // It is told which language is spoken.
        Engine {
            name: "sherpa, SenseVoice",
            config: sherpa(&sense_voice, ""),
            modes: ALL,
            text: "10 meters",
        },
        Engine {
            name: "azure",
            config: own(
                "azure",
                &format!(
                    "[models.default.azure]\nlibrary = {sdk:?}\nhost = \"ws://localhost:{port}\"\n\
                     response_timeout = \"4s\"\nupload_burst = \"1h\"\n"
                ),
            ),
            modes: &["process", "hybrid"],
            text: PHRASE,
        },
        Engine {
            name: "exec",
            config: own(
                "exec",
                &format!(
                    "[models.default.exec]\ncommand = [\"/usr/bin/python3\", {program:?}]\n\
                     languages = [\"en\"]\ncapabilities = [\"words\"]\n"
                ),
            ),
            modes: &["process"],
            text: TEN_OF_CLUBS.text,
        },
        Engine {
            name: "fault",
            config: own("fault", ""),
            modes: ALL,
            text: TEXT,
        },
        Engine {
            name: "fault, loaded in the job",
            config: own(
                "fault",
                "[models.default.fault]\npreload = \"after_fork\"\n",
            ),
            modes: ALL,
            text: TEXT,
        },
    ]
}

/// A daemon with this engine in one mode, and its other socket.
struct Served {
    daemon: Daemon,
    wyoming: PathBuf,
    _folder: TempDir,
}

impl Served {
    fn start(engine: &Engine, mode: &str) -> Served {
        Served::start_with(engine, mode, 0)
    }

    /// With a breaker that opens after this many crashes.
    fn start_with(engine: &Engine, mode: &str, crashes: u32) -> Served {
        let (head, own) = &engine.config;
        let config = format!(
            "[health]\ninterval = \"0s\"\n[breaker]\ncrashes = {crashes}\n[spares]\nmin = 1\nmax = 1\n\
             [limits]\nmax_audio = \"5s\"\nstall = \"15s\"\n[models.default]\nmode = {mode:?}\n{head}{own}"
        );
        let folder = TempDir::new().unwrap();
        let wyoming = folder.path().join("wyoming.sock");
        let setup = Setup::new(&config).listen_as("wyoming", wyoming.to_str().unwrap());
        Served {
            daemon: setup.start(),
            wyoming,
            _folder: folder,
        }
    }

    /// The only request that has a job, as the statistics have it.
    fn job(&self) -> Value {
        self.daemon.get("/v1/stats").json()["jobs"][0].clone()
    }

    /// A client in the middle of its recording, and the job that has read what there is of it.
    fn amid(&self) -> (Client, Seen) {
        self.daemon.wait_spares(1);
        let mut client = Client::connect(&self.wyoming);
        client.send(&event("transcribe", json!({}), b""));
        // Each second is told when it is over.
        let seconds = &GOFORWARD.samples()[..80_000];
        client.send(&start()).send(&chunk(seconds));
        wait_until("the job has read that", LONG, || {
            self.job()["stage"] == "transcribing"
        });
        let pid = self.job()["pid"].clone();
        let mut jobs = self.daemon.children();
        jobs.retain(|job| pid == job.pid);
        (client, jobs.remove(0))
    }
}

/// How a request ends, and how it is brought about; gives the status of the answer and the code in
/// it.
struct Case {
    name: &'static str,
    /// Whether mode `thread` survives it.
    in_thread: bool,
    run: fn(&Served) -> (u16, String),
    expected: (u16, &'static str),
}

const CASES: &[Case] = &[
    Case {
        name: "silence",
        in_thread: true,
        run: |served| told(&served.daemon.transcribe("a.wav", &wav(&[0; 64_000]))),
        expected: (200, ""),
    },
    Case {
        name: "invalid_audio",
        in_thread: true,
        run: |served| told(&served.daemon.transcribe("a.wav", b"no recording at all")),
        expected: (400, "invalid_audio"),
    },
    Case {
        name: "audio_too_long",
        in_thread: true,
        run: |served| {
            let recording = wav(&GOFORWARD.samples().repeat(4));
            told(&served.daemon.transcribe("a.wav", &recording))
        },
        expected: (413, "audio_too_long"),
    },
    Case {
        name: "worker_crashed",
        in_thread: false,
        run: |served| {
            let (mut client, job) = served.amid();
            job.signal(Signal::SIGSEGV);
            client.late_error("worker_crashed");
            (502, "worker_crashed".into())
        },
        expected: (502, "worker_crashed"),
    },
    Case {
        name: "timeout",
        in_thread: false,
        run: |served| {
            let (mut client, job) = served.amid();
            job.signal(Signal::SIGSTOP);
            client.send(&stop());
            client.late_error("timeout");
            (504, "timeout".into())
        },
        expected: (504, "timeout"),
    },
    Case {
        name: "client gone",
        in_thread: false,
        run: |served| {
            let (client, job) = served.amid();
            drop(client);
            wait_until("the job is gone", LONG, || !job.lives());
            wait_until("it is counted", LONG, || {
                served.daemon.get("/v1/stats").json()["total"]["requests"]["cancelled"] == 1
            });
            (0, "cancelled".into())
        },
        expected: (0, "cancelled"),
    },
];

fn good() -> Form {
    Form::of("a.wav", &TEN_OF_CLUBS.wav())
}

fn told(answer: &Answer) -> (u16, String) {
    let code = match answer.status {
        200 => String::new(),
        _ => answer.error()["code"].as_str().unwrap().into(),
    };
    (answer.status, code)
}

/// One row of the table.
fn row(engine: &Engine, mode: &str) -> String {
    let served = Served::start(engine, mode);
    let serves = |after: &str| {
        let answer = served.daemon.post(&good());
        let what = format!("{} {mode} after {after}: {answer:?}", engine.name);
        assert_eq!(answer.status, 200, "{what}");
        assert_eq!(answer.text(), engine.text, "{what}");
    };
    serves("its start");
    let mut row = format!("{:26} {mode:8} {:>5}", engine.name, 200);
    for case in CASES {
        let cell = if mode == "thread" && !case.in_thread {
            "-".into()
        } else {
            let (status, code) = (case.run)(&served);
            let what = format!("{} {mode} {}", engine.name, case.name);
            assert_eq!((status, code.as_str()), case.expected, "{what}");
            serves(case.name);
            match status {
                0 => "killed".into(),
                status => status.to_string(),
            }
        };
        write!(row, " {cell:>14}").unwrap();
    }
    row
}

#[test]
fn all_engines_end_all_requests_alike() {
    let mut table = format!("{:26} {:8} {:>5}", "engine", "mode", "ok");
    for case in CASES {
        write!(table, " {:>14}", case.name).unwrap();
    }
    let (folder, service) = (TempDir::new().unwrap(), Service::saying(&[PHRASE]));
    for engine in &engines(folder.path(), &service) {
        let rows = thread::scope(|scope| {
            let rows = engine.modes.iter();
            let rows: Vec<_> = rows.map(|mode| scope.spawn(|| row(engine, mode))).collect();
            let rows = rows.into_iter().map(|row| row.join());
            rows.collect::<Result<Vec<_>, _>>()
        });
        // A thread that panicked has said why.
        table.extend(rows.expect("every row").iter().flat_map(|row| ["\n", row]));
    }
    println!("{table}");
}

/// Parameters as nobody would send them in earnest.
fn odd_parameters() -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for language in [
        "pt_BR",
        "zh-CN-sichuan",
        "tlh",
        "english",
        "\u{1f600}",
        "en\u{0}",
    ] {
        all.push(("language", language.to_owned()));
        all.push(("languages", format!("[\"de\", \"{language}\"]")));
    }
    let long = "word ".repeat(2000);
    let special = "<|startoftranscript|><|en|>[_TT_50]\u{1b}[2J\u{202e}";
    for text in [
        &long,
        special,
        "\0\0",
        "\u{feff}",
        " ",
        "a\nb\r\nc",
        "%s%n{}\\",
    ] {
        all.push(("prompt", text.to_owned()));
        all.push(("keywords", text.to_owned()));
    }
    for temperature in [
        "0",
        "1",
        "1e-300",
        "0.99999999999",
        "-0.0",
        "NaN",
        "inf",
        "2",
    ] {
        all.push(("temperature", temperature.to_owned()));
    }
    all
}

#[test]
fn no_parameter_of_one_client_closes_any_engine_for_others() {
    if !user::are_possible() {
        return;
    }
    let (folder, service) = (TempDir::new().unwrap(), Service::saying(&[PHRASE]));
    let (odd, even) = (User::new(61201), User::new(61202));
    for engine in &engines(folder.path(), &service) {
        let served = Served::start_with(engine, "process", 3);
        let daemon = &served.daemon;
        user::let_in(daemon);
        let mut failed = 0;
        for (name, value) in odd_parameters() {
            let answer = odd.run(|| daemon.post(&good().field(name, &value)));
            let what = format!("{}: {name}={value:?}: {answer:?}", engine.name);
            // The engine is told only what it declared, so none of this crashes it.
            assert!(answer.status < 500, "{what}");
            failed += usize::from(answer.status != 200);
        }
        let answer = even.run(|| daemon.post(&good()));
        assert_eq!(answer.status, 200, "{}: {answer:?}", engine.name);
        assert!(daemon.is_ready(), "{}", engine.name);
        println!(
            "{:26} refused {failed} of {}",
            engine.name,
            odd_parameters().len()
        );
    }
}
