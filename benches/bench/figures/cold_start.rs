//! Time to the first byte of the first answer of a stopped service: systemd's socket, our start,
//! the model.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{net::UnixStream, process::CommandExt},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use stt_isolated::engine::{EngineSettings, pocketsphinx::PocketsphinxSettings};
use tempfile::TempDir;

use crate::{
    client::{Client, get, request},
    common::{
        LONG,
        daemon::{BINARY, serve_arguments},
        try_wait_for, wait_until,
    },
    outcome::Outcome,
    sample::{Samples, interval},
    scale::Scale,
    service,
};

const POCKETSPHINX: &str = "[models.process]\nengine = \"pocketsphinx\"\n";
const NULL: &str = "[models.process]\nengine = \"null\"\n";

/// Option with which this program only loads the model and prints the time for it.
pub const LOAD: &str = "--load-model";

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    let (mut null, mut real) = (Starts::default(), Starts::default());
    let mut load = Samples::default();
    let nothing = request("process", &service::moment());
    // The answer's first byte comes after all the work, so send silence: transcribing noise is not
    // part of the start.
    let silence = request("process", &crate::common::clips::wav(&[0; 32_000]));
    for _ in 0..scale.cold_starts {
        null.push(start(NULL, &nothing));
        real.push(start(POCKETSPHINX, &silence));
        load.push(loading());
    }
    // Subtract the time of the same request a moment later: transcribing is not part of a start.
    let beyond = (real.first.p50() - real.again.p50() - load.p50()) / 1000.0;
    let (least, most) = interval(&real.first, &load, |one, other| {
        (one - real.again.p50() - other) / 1000.0
    });
    let remark = format!(
        "{:.0} ms with pocketsphinx, of which loading is {:.0} ms and the request itself {:.1} ms (95 %: \
        {least:.0}–{most:.0}); null engine {:.0} ms, p99 {:.0} ms",
        real.first.p50() / 1000.0,
        load.p50() / 1000.0,
        real.again.p50() / 1000.0,
        null.first.p50() / 1000.0,
        null.first.p99() / 1000.0
    );
    outcome.tell("cold_start", beyond, real.first.len(), remark);
    outcome.between("cold_start", (least, most));
}

/// Times of several starts.
#[derive(Default)]
struct Starts {
    /// Time from connecting to the first byte of the answer, when nothing ran.
    first: Samples,
    /// Time of the same request again, with a spare ready.
    again: Samples,
}

impl Starts {
    fn push(&mut self, (first, again): (Duration, Duration)) {
        self.first.push(first);
        self.again.push(again);
    }
}

/// Start the service by connecting to its socket, and return both times of [`Starts`].
fn start(config: &str, request: &[u8]) -> (Duration, Duration) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("stt-isolated.toml");
    fs::write(&file, service::config(config)).unwrap();
    let socket = folder.path().join("http.sock");
    let mut command = Command::new("setpriv");
    command
        .args([
            "--pdeathsig",
            "KILL",
            "systemd-socket-activate",
            "--fdname=http",
        ])
        .args(["-E", "STT_ISOLATED_ISOLATION__REQUIRE_CGROUP=false", "-l"])
        .arg(&socket)
        .arg(BINARY)
        .args(serve_arguments())
        .arg("--config")
        .arg(&file)
        .process_group(0)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    // A socket that is bound but does not listen yet refuses connections.
    let (start, mut stream) = try_wait_for(LONG, || {
        let start = Instant::now();
        UnixStream::connect(&socket)
            .ok()
            .map(|stream| (start, stream))
    })
    .expect("the socket listens");
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).unwrap();
    let first = start.elapsed();
    let head = String::from_utf8_lossy(&answer[..read]).into_owned();
    drop(stream);
    let mut client = Client::connect(&socket).unwrap();
    wait_until("spares are there again", LONG, || {
        let reply = client.exchange(&get("/v1/stats")).unwrap();
        let stats: Value = serde_json::from_slice(reply.body).unwrap();
        stats["total"]["spares"].as_u64() >= Some(1) && stats["total"]["running"] == 0
    });
    let again = client.time(request);
    kill(Pid::from_raw(process.id().cast_signed()), Signal::SIGTERM).unwrap();
    process.wait().unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    (first, again)
}

/// Time that the engine alone takes to load, in a process that does nothing else.
fn loading() -> Duration {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).arg(LOAD).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let nanos = text.trim().parse();
    Duration::from_nanos(
        nanos.unwrap_or_else(|_| panic!("{text} {}", String::from_utf8_lossy(&output.stderr))),
    )
}

/// The work of this program if it is started with [`LOAD`].
pub fn load_model() {
    let settings = EngineSettings::Pocketsphinx(PocketsphinxSettings::default());
    let start = Instant::now();
    let engine = settings.load(None).unwrap();
    println!("{}", start.elapsed().as_nanos());
    drop(engine);
}
