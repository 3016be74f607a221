//! Another configuration while the service runs: brought into force without losing a request, or
//! refused with reasons.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::common::{
    LONG,
    clips::TEN_OF_CLUBS,
    daemon::{Daemon, Setup},
    http::Form,
    manager::Manager,
    process::pids,
    wait_for, wait_until,
};
use nix::sys::signal::Signal::{SIGHUP, SIGTERM};
use serde_json::json;

const ONE: &str = "[models.default]\nengine = \"pocketsphinx\"\n";
const OTHER: &str = "[models.other]\nengine = \"pocketsphinx\"\n";

fn short() -> Form {
    Form::of("a.wav", &TEN_OF_CLUBS.wav())
}

/// Has the daemon read `config`, and waits for what it says in the end; the log from there on.
#[track_caller]
fn reload(daemon: &Daemon, config: &str) -> String {
    let before = daemon.log().len();
    daemon.configure(config);
    daemon.signal(SIGHUP);
    wait_for("the reload is over", LONG, || {
        let log = daemon.log()[before..].to_owned();
        let over = log.contains("reload: done") || log.contains("stays in force");
        over.then_some(log)
    })
}

#[test]
fn a_wrong_configuration_is_refused() {
    let mut manager = Manager::new();
    let daemon = manager.setup(ONE).start();
    // systemd is told a moment after clients could see it.
    manager.wait("READY=1");
    let children = pids(&daemon.children());
    let log = reload(
        &daemon,
        "[jobs]\nmax_running = 5000\n[limits]\nmemory = \"1K\"\n",
    );
    for line in [
        "stt-isolated.toml:2: jobs.max_running: at most",
        "stt-isolated.toml:4: limits.memory: a job needs",
        "the old one stays in force",
    ] {
        assert!(log.contains(line), "{line} in {log}");
    }
    manager.wait("RELOADING=1");
    manager.wait("STATUS=reload refused");
    wait_until("the reload is over", LONG, || manager.count("READY=1") == 2);
    assert_eq!(daemon.post(&short()).text(), TEN_OF_CLUBS.text);
    fs::remove_file(daemon.folder().join("stt-isolated.toml")).unwrap();
    let before = daemon.log().len();
    daemon.signal(SIGHUP);
    wait_until("a missing file is told of", LONG, || {
        daemon.log()[before..].contains("cannot read the configuration file")
    });
    daemon.wait_idle(2);
    let zygotes = |pids: &std::collections::HashSet<i32>| pids & &children;
    assert!(!zygotes(&pids(&daemon.children())).is_empty());
}

#[test]
fn models_come_and_go_under_load() {
    let mut manager = Manager::new();
    let daemon = &manager.setup(ONE).start();
    // systemd is told a moment after clients could see it.
    manager.wait("READY=1");
    let stop = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(daemon.post(&short()).text(), TEN_OF_CLUBS.text);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let log = reload(daemon, &format!("{ONE}{OTHER}"));
        assert!(log.contains("models added: other"), "{log}");
        let other = short().field("model", "other");
        assert_eq!(daemon.post(&other).text(), TEN_OF_CLUBS.text);

        let log = reload(
            daemon,
            &format!("{ONE}limits.memory = \"300M\"\n{OTHER}aliases = [\"x\"]"),
        );
        assert!(log.contains("models changed: default, other"), "{log}");
        let alias = short().field("model", "x");
        assert_eq!(daemon.post(&alias).text(), TEN_OF_CLUBS.text);

        // Another mode takes another server.
        let log = reload(daemon, &format!("{ONE}{OTHER}mode = \"thread\""));
        assert!(log.contains("a fresh zygote takes over"), "{log}");
        assert_eq!(daemon.post(&other).pid(), daemon.pid());

        let log = reload(daemon, &format!("default_model = \"default\"\n{ONE}"));
        assert!(log.contains("models removed: other"), "{log}");
        daemon
            .post(&other)
            .assert_refusal(404, "model_not_found", Some("model"));
        stop.store(true, Ordering::Relaxed);
    });
    let served = served.load(Ordering::Relaxed);
    assert!(served > 4, "{served}");
    println!("{served} requests were served meanwhile, none failed");
    wait_until("all reloads are told", LONG, || {
        manager.count("RELOADING=1") == 4 && manager.count("READY=1") == 5
    });
}

#[test]
fn failed_files_leave_the_old_model() {
    let daemon = Daemon::start(ONE);
    let zygote = daemon.zygote();
    let empty = daemon.folder().join("empty.lm");
    fs::write(&empty, "this is no language model").unwrap();
    let config = format!("{ONE}pocketsphinx.language_model = {empty:?}");
    let log = reload(&daemon, &config);
    assert!(
        log.contains("default goes on with its old settings"),
        "{log}"
    );
    let ready = daemon.get("/readyz");
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (200, &json!("ready"))
    );
    let model = &ready.json()["models"]["default"];
    assert_eq!(model["status"], "ready");
    assert!(!model["rejected"].as_str().unwrap().is_empty());
    assert_eq!(daemon.post(&short()).text(), TEN_OF_CLUBS.text);
    assert_eq!(daemon.zygote().pid, zygote.pid);
    // Mended, nothing is left of it.
    reload(&daemon, ONE);
    let ready = daemon.get("/readyz").json();
    assert_eq!(ready["models"]["default"], json!({"status": "ready"}));
}

#[test]
fn limits_apply_at_once() {
    let daemon = Daemon::start(ONE);
    reload(
        &daemon,
        &format!(
            "{ONE}[http]\nmax_upload = \"10K\"\nmax_connections = 1\n[service]\nlog_level = \"debug\""
        ),
    );
    let answer = daemon.post(&short());
    answer.assert_refusal(413, "upload_too_large", Some("file"));
    // A connection that is closed without a request is told of at this level only.
    let mut garbage = daemon.connect();
    garbage.send(b"GARBAGE\r\n\r\n");
    assert_eq!(garbage.answer().status, 400);
    wait_until("the log is as detailed as it was asked to be", LONG, || {
        daemon.log().contains("a connection ended early")
    });
    // One at a time.
    let mut first = daemon.connect();
    first.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(first.answer().status, 200);
    let mut second = daemon.connect();
    second.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    daemon.signal(SIGHUP);
    drop(first);
    assert_eq!(second.answer().status, 200);
}

#[test]
fn reloads_can_overlap_with_a_stop() {
    let mut manager = Manager::new();
    let mut daemon = manager.setup(ONE).start();
    // systemd is told a moment after clients could see it.
    manager.wait("READY=1");
    // Loading never ends, because nothing is written into the FIFO.
    let fifo = daemon.folder().join("words.dict");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let endless = format!("{ONE}pocketsphinx.dictionary = {fifo:?}");
    daemon.configure(&endless);
    daemon.signal(SIGHUP);
    wait_until("it is reloading", LONG, || {
        manager.count("RELOADING=1") == 1
    });
    assert_eq!(daemon.post(&short()).text(), TEN_OF_CLUBS.text);
    assert_eq!(manager.count("READY=1"), 1);
    // The next one takes its place.
    let log = reload(&daemon, &format!("{ONE}{OTHER}"));
    assert!(
        log.contains("models added: other; changed: default"),
        "{log}"
    );
    wait_until("the reload is over", LONG, || manager.count("READY=1") == 2);
    for _ in 0..10 {
        daemon.signal(SIGHUP);
    }
    assert_eq!(daemon.post(&short()).text(), TEN_OF_CLUBS.text);

    daemon.configure(&endless);
    daemon.signal(SIGHUP);
    wait_until("it is reloading", LONG, || {
        manager.listen();
        daemon
            .children()
            .iter()
            .filter(|seen| seen.is_zygote())
            .count()
            >= 2
    });
    daemon.signal(SIGTERM);
    assert!(daemon.ended().success());
    manager.wait("STOPPING=1");
}

#[test]
fn unconfined_processes_need_a_restart() {
    let thread = format!("isolation.mode = \"thread\"\n{ONE}");
    let daemon = Setup::new(&thread).start();
    wait_until("it says that it is unconfined", LONG, || {
        daemon.log().contains("isolation by thread, UNCONFINED")
    });
    let log = reload(&daemon, ONE);
    assert!(
        log.contains("models.default: it is to run in processes"),
        "{log}"
    );
    assert!(log.contains("restart"), "{log}");
    assert_eq!(daemon.post(&short()).pid(), daemon.pid());
}

#[test]
fn each_model_has_its_own_mode() {
    let daemon = Daemon::start(&format!("{ONE}{OTHER}mode = \"thread\""));
    let line = wait_for("it says what isolates its models", LONG, || {
        let log = daemon.log();
        let line = log
            .lines()
            .find(|line| line.contains("ready; isolation by"));
        line.map(String::from)
    });
    assert!(
        line.contains("process, ") && line.contains("(default); thread, UNCONFINED (other)"),
        "{line}"
    );
    let other = short().field("model", "other");
    assert_eq!(daemon.post(&other).pid(), daemon.pid());
    assert_ne!(daemon.post(&short()).pid(), daemon.pid());
}
