//! The daemon and the service manager: sockets, readiness, status, watchdog.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::common::{
    LONG,
    clips::TEN_OF_CLUBS,
    daemon::{BINARY, Daemon, Setup, serve_arguments},
    http::Form,
    manager::Manager,
    wait_for, wait_until,
};
use nix::sys::signal::Signal::SIGHUP;
use serde_json::json;
use tempfile::TempDir;

#[test]
fn ready_follows_every_self_test() {
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

    // The manager is told that the configuration is read anew, and when this is over.
    daemon.signal(SIGHUP);
    manager.wait("RELOADING=1");
    manager.wait("MONOTONIC_USEC=");
    wait_until("the reload is over", LONG, || manager.count("READY=1") == 2);

    daemon.stop();
    manager.wait("STOPPING=1");
    assert_eq!(manager.count("READY=1"), 2);
}

#[test]
fn ready_waits_for_loading_models() {
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
fn other_models_serve_after_a_failed_load() {
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
fn without_any_model_it_ends() {
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
fn the_watchdog_hears_from_it() {
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
        // Thrice as often as it must: five pings take more than that.
        let elapsed = begin.elapsed();
        assert!(elapsed > limit, "{elapsed:?}");
        println!("five pings took {elapsed:?}");
    });
}

#[test]
fn a_deaf_manager_delays_nobody() {
    let mut manager = Manager::new();
    // Its socket is full: the next sender waits.
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    let path = manager.folder.path().join("notify");
    while other.send_to(b"OTHER=1", &path).is_ok() {}
    let daemon = manager.setup("").env("WATCHDOG_USEC", "20000").start();
    let answer = daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav());
    assert_eq!(answer.text(), TEN_OF_CLUBS.text);
    // Readiness is told as soon as somebody listens. Pings were not saved up: no more come than
    // there is time for.
    let begin = Instant::now();
    manager.wait("READY=1");
    let pings = manager.count("WATCHDOG=1");
    let periods = begin.elapsed().as_millis() as usize / 6;
    assert!(pings <= 20 + periods, "{pings}: {:?}", manager.heard);
}

#[test]
fn without_a_watchdog_nobody_is_told() {
    let mut manager = Manager::new();
    let mut daemon = manager.setup("").start();
    manager.wait("READY=1");
    daemon.stop();
    assert!(manager.count("WATCHDOG=1") <= 1, "{:?}", manager.heard);
}

#[test]
fn without_a_socket_it_explains_itself() {
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
fn a_foreign_socket_is_refused() {
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
    tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(daemon.get("/healthz").status, 200);
}

#[test]
fn without_memory_limits_it_refuses() {
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

#[test]
fn only_an_idle_service_exits() {
    let mut manager = Manager::new();
    let setup = manager.setup("[service]\nidle_exit = \"3s\"\n[health]\ninterval = \"500ms\"");
    let mut daemon = setup.start();
    // A connected client keeps it from being idle, even if it asks for nothing.
    let mut idle = daemon.connect();
    idle.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(idle.answer().status, 200);
    std::thread::sleep(Duration::from_secs(4));
    idle.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(idle.answer().status, 200);
    drop(idle);
    let left = Instant::now();
    let status = daemon.ended();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(left.elapsed() >= Duration::from_secs(3));
    manager.wait("STOPPING=1");
    assert!(
        daemon.log().contains("service.idle_exit"),
        "{}",
        daemon.log()
    );
}

#[test]
fn scarce_memory_ends_spares() {
    let folder = TempDir::new().unwrap();
    let (fifo, socket) = (folder.path().join("fifo"), folder.path().join("socket"));
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    // "some 200000 2000000"
    let write = "c29tZSAyMDAwMDAgMjAwMDAwMA==";
    for path in [&fifo, &socket] {
        let setup = Setup::new("")
            .env("MEMORY_PRESSURE_WATCH", path.to_str().unwrap())
            .env("MEMORY_PRESSURE_WRITE", write);
        let daemon = setup.launch();
        let tell: &mut dyn Write = if path == &socket {
            let (mut stream, _) = listener.accept().unwrap();
            let mut told = [0; 19];
            stream.read_exact(&mut told).unwrap();
            assert_eq!(&told, b"some 200000 2000000");
            &mut stream.try_clone().unwrap()
        } else {
            &mut std::fs::OpenOptions::new().write(true).open(path).unwrap()
        };
        wait_until("the daemon is ready", LONG, || daemon.is_ready());
        // Its own words that come out of the FIFO again count as well.
        let spares = daemon.wait_idle(if path == &fifo { 1 } else { 2 });
        tell.write_all(b"now").unwrap();
        wait_until("the spares are gone", LONG, || {
            spares.iter().all(|spare| !spare.lives())
        });
        // Requests are served.
        let answer = daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav());
        assert_eq!(answer.text(), TEN_OF_CLUBS.text);
        // After a while without bad news there are spares again.
        wait_until("there are spares again", LONG, || {
            daemon
                .children()
                .iter()
                .any(crate::common::process::Seen::is_job)
        });
        assert_eq!(daemon.log().matches("memory is scarce").count(), 1);
    }
}

#[test]
fn an_unusable_pressure_file_is_told() {
    for (path, expected) in [
        ("/no/where", "No such file"),
        ("relative", "not absolute"),
        ("/dev", "neither a file"),
        (
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
            "not permitted",
        ),
    ] {
        let daemon = Setup::new("").env("MEMORY_PRESSURE_WATCH", path).start();
        wait_until("it says that, and why", LONG, || {
            let log = daemon.log();
            let mut lines = log.lines();
            let line = lines.find(|line| line.contains("memory pressure cannot"));
            line.is_some_and(|line| line.contains(expected))
        });
    }
    let daemon = Setup::new("")
        .env("MEMORY_PRESSURE_WATCH", "/dev/null")
        .start();
    assert!(
        !daemon.log().contains("memory pressure"),
        "{}",
        daemon.log()
    );
}
