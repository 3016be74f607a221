//! The daemon and the service manager: sockets, readiness, status, watchdog.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::{
    LONG,
    clips::TEN_OF_CLUBS,
    daemon::{BINARY, Daemon, Setup, serve_arguments},
    http::Form,
    try_wait_for, wait_for, wait_until,
};
use nix::sys::signal::Signal::SIGHUP;
use serde_json::json;
use tempfile::TempDir;

/// The service manager's end.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
    /// All that was said, line by line.
    heard: Vec<String>,
}

impl Manager {
    fn new() -> Manager {
        let folder = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Manager {
            socket,
            folder,
            heard: Vec::new(),
        }
    }

    fn setup(&self, config: &str) -> Setup {
        let path = self.folder.path().join("notify");
        Setup::new(config).env("NOTIFY_SOCKET", path.to_str().unwrap())
    }

    /// Takes what has come.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let text = std::str::from_utf8(&buffer[..length]).unwrap();
                    self.heard.extend(text.lines().map(String::from));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until a line begins so, and gives its rest.
    #[track_caller]
    fn wait(&mut self, beginning: &str) -> String {
        let found = try_wait_for(LONG, || {
            self.listen();
            self.heard
                .iter()
                .find_map(|line| line.strip_prefix(beginning).map(String::from))
        });
        found.unwrap_or_else(|| panic!("no {beginning} in {:#?}", self.heard))
    }

    fn count(&mut self, line: &str) -> usize {
        self.listen();
        self.heard.iter().filter(|heard| *heard == line).count()
    }
}

#[test]
fn ready_is_told_when_every_model_has_proved_itself() {
    let mut manager = Manager::new();
    let config =
        "[models.default]\nengine = \"pocketsphinx\"\n[models.other]\nengine = \"pocketsphinx\"";
    let mut daemon = manager.setup(config).launch();
    assert_eq!(manager.wait("STATUS="), "loading models");
    manager.wait("READY=1");
    let ready = daemon.get("/readyz");
    let model = json!({"status": "ready"});
    let expected = json!({"status": "ready", "models": {"default": model, "other": model}});
    assert_eq!((ready.status, ready.json()), (200, expected));

    let answer = daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav());
    assert_eq!(answer.text(), TEN_OF_CLUBS.text);
    let numbers = wait_for("the status line counts", LONG, || {
        manager.listen();
        let line = manager
            .heard
            .iter()
            .find(|line| line.contains("1 requests served"))?;
        Some(line.clone())
    });
    assert!(
        numbers.starts_with("STATUS=0 running, 0 waiting, "),
        "{numbers}"
    );

    // Nothing is read anew, and the manager is told that this is over.
    daemon.signal(SIGHUP);
    manager.wait("RELOADING=1");
    manager.wait("MONOTONIC_USEC=");
    wait_until("the reload is over", LONG, || manager.count("READY=1") == 2);

    daemon.stop();
    manager.wait("STOPPING=1");
    assert_eq!(manager.count("READY=1"), 2);
}

#[test]
fn ready_is_not_told_while_a_model_loads() {
    let folder = TempDir::new().unwrap();
    let dictionary = folder.path().join("words.dict");
    // Reading it lasts until somebody writes, which nobody does.
    nix::unistd::mkfifo(&dictionary, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let config = format!(
        "[models.default]\nengine = \"pocketsphinx\"\n\
         [models.endless]\nengine = \"pocketsphinx\"\npocketsphinx.dictionary = {dictionary:?}"
    );
    let mut manager = Manager::new();
    let mut daemon = manager.setup(&config).launch();
    // The other model serves meanwhile.
    let answer = daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav());
    assert_eq!(answer.text(), TEN_OF_CLUBS.text);
    let ready = daemon.get("/readyz");
    assert_eq!(ready.status, 503);
    let models = json!({"default": {"status": "ready"}, "endless": {"status": "starting"}});
    assert_eq!(ready.json()["models"], models);
    daemon.stop();
    manager.wait("STOPPING=1");
    assert_eq!(manager.count("READY=1"), 0);
}

#[test]
fn a_model_that_cannot_be_loaded_is_told_of_and_the_others_serve() {
    let folder = TempDir::new().unwrap();
    let config = format!(
        "[models.default]\nengine = \"pocketsphinx\"\n\
         [models.broken]\nengine = \"pocketsphinx\"\npocketsphinx.acoustic_model = {:?}",
        folder.path()
    );
    let mut manager = Manager::new();
    let daemon = manager.setup(&config).launch();
    manager.wait("READY=1");
    let ready = daemon.get("/readyz");
    assert_eq!(ready.status, 503);
    let models = ready.json()["models"].clone();
    assert_eq!(models["default"], json!({"status": "ready"}));
    assert_eq!(models["broken"]["status"], "failed");
    let reason = models["broken"]["reason"].as_str().unwrap();
    assert!(reason.contains(folder.path().to_str().unwrap()), "{reason}");
    let form = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    assert_eq!(daemon.post(&form).text(), TEN_OF_CLUBS.text);
    let answer = daemon.post(&form.field("model", "broken"));
    answer.assert_come_back(503, "engine_unavailable");
}

#[test]
fn a_service_without_any_model_ends_and_says_why() {
    let folder = TempDir::new().unwrap();
    let config = format!(
        "[models.default]\nengine = \"pocketsphinx\"\npocketsphinx.acoustic_model = {:?}",
        folder.path()
    );
    let mut manager = Manager::new();
    let mut daemon = manager.setup(&config).launch();
    let status = daemon.ended();
    assert_eq!(status.code(), Some(1), "{status}");
    let log = daemon.log();
    let last = log.lines().last().unwrap();
    assert!(last.contains(folder.path().to_str().unwrap()), "{log}");
    assert_eq!(manager.count("READY=1"), 0);
}

#[test]
fn the_watchdog_hears_from_a_service_that_works() {
    let mut manager = Manager::new();
    let limit = Duration::from_millis(400);
    let setup = manager.setup("");
    let daemon = setup
        .env("WATCHDOG_USEC", &limit.as_micros().to_string())
        .launch();
    // Listening all the time: what waits in a full socket would come at once.
    wait_until("the daemon is ready", LONG, || {
        manager.listen();
        daemon.is_ready()
    });
    // Also while it works.
    std::thread::scope(|scope| {
        scope.spawn(|| daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav()));
        let begin = Instant::now();
        let before = manager.count("WATCHDOG=1");
        wait_until("five pings", LONG, || {
            manager.count("WATCHDOG=1") >= before + 5
        });
        // Twice as often as it must: five pings take a second.
        let elapsed = begin.elapsed();
        assert!(elapsed > limit, "{elapsed:?}");
        println!("five pings took {elapsed:?}");
    });
}

#[test]
fn a_manager_that_does_not_listen_holds_up_nobody() {
    let mut manager = Manager::new();
    // Its socket is full, and whoever sends one more message waits.
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    let path = manager.folder.path().join("notify");
    while other.send_to(b"OTHER=1", &path).is_ok() {}
    let daemon = manager.setup("").env("WATCHDOG_USEC", "20000").start();
    let answer = daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav());
    assert_eq!(answer.text(), TEN_OF_CLUBS.text);
    // What matters is told as soon as somebody listens, and pings were not saved up for him.
    manager.wait("READY=1");
    assert!(manager.count("WATCHDOG=1") <= 20, "{:?}", manager.heard);
}

#[test]
fn nobody_waits_for_a_watchdog_that_there_is_not() {
    let mut manager = Manager::new();
    let mut daemon = manager.setup("").start();
    manager.wait("READY=1");
    daemon.stop();
    assert!(manager.count("WATCHDOG=1") <= 1, "{:?}", manager.heard);
}

#[test]
fn without_a_socket_it_says_how_to_start_it() {
    let mut command = Command::new(BINARY);
    command.args(serve_arguments()).env_clear();
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("systemctl start stt-isolated.socket"),
        "{stderr}"
    );
    assert!(stderr.contains("systemd-socket-activate"), "{stderr}");
}

#[test]
fn a_socket_that_is_not_for_it_is_refused_by_name() {
    let mut daemon = Setup::new("").socket_name("ftp").launch();
    assert_eq!(daemon.ended().code(), Some(78));
    let log = daemon.log();
    let last = log.lines().last().unwrap();
    assert!(last.contains("`ftp`") && last.contains("`http`"), "{log}");

    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sock");
    let mut child = Command::new("systemd-socket-activate")
        .args(["--datagram", "--fdname=http", "-l"])
        .arg(&path)
        .arg(BINARY)
        .args(serve_arguments())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let client = UnixDatagram::unbound().unwrap();
    wait_until("it listens", LONG, || client.send_to(b"x", &path).is_ok());
    let status = child.wait().unwrap();
    let mut log = String::new();
    child.stderr.unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("no Unix or TCP stream socket"), "{log}");
}

#[test]
fn sockets_of_several_kinds_are_served() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let daemon = Setup::new("").listen(&address.to_string()).start();
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(daemon.get("/healthz").status, 200);
}

#[test]
fn without_memory_limits_it_does_not_start_unless_that_is_allowed() {
    let daemon = Daemon::start("");
    let stats = daemon.get("/v1/stats").json();
    if stats["isolation"]["confined"] == true {
        // Here there are memory limits: nothing to refuse.
        return;
    }
    let required = "STT_ISOLATED_ISOLATION__REQUIRE_CGROUP";
    let mut daemon = Setup::new("").env(required, "true").launch();
    assert_eq!(daemon.ended().code(), Some(78));
    let log = daemon.log();
    let last = log.lines().last().unwrap();
    assert!(
        last.contains("Delegate=yes") && last.contains("require_cgroup"),
        "{log}"
    );
}
