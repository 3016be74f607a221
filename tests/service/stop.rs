//! The service is told to stop: who is in is served, or told that it is over; nobody is cut off
//! without a word.

use crate::common::{
    LONG,
    clips::{GOFORWARD, TEN_OF_CLUBS, long, wav},
    daemon::{Daemon, Setup},
    http::Form,
    manager::Manager,
    wait_until,
};
use nix::sys::signal::Signal::{SIGINT, SIGTERM};

fn short() -> Form {
    Form::of("a.wav", &TEN_OF_CLUBS.wav())
}

#[track_caller]
fn wait_stopping(daemon: &Daemon) {
    wait_until("it says that it stops", LONG, || {
        daemon.log().contains("stopping: ")
    });
}

#[test]
fn the_manager_sees_the_progress() {
    let mut manager = Manager::new();
    let setup = manager.setup("[jobs]\nmax_running = 1\n[service]\ndrain_timeout = \"1h\"");
    let mut daemon = setup.start();
    manager.wait("READY=1");
    let recording = wav(&GOFORWARD.samples().repeat(6));
    let mut running = daemon.connect();
    running.send(&Form::of("a.wav", &recording).request());
    daemon.wait_busy();
    let mut waiting = daemon.connect();
    waiting.send(&short().request());
    wait_until("one waits", LONG, || {
        daemon.get("/v1/stats").json()["total"]["queued"] == 1
    });
    daemon.signal(SIGTERM);
    assert_eq!(
        manager.wait("STATUS=stopping: "),
        "1 running, 1 waiting, 3600 s left"
    );
    manager.wait("STOPPING=1");
    let extension: u64 = manager.wait("EXTEND_TIMEOUT_USEC=").parse().unwrap();
    assert!((5_000_000..60_000_000).contains(&extension), "{extension}");
    assert_eq!(running.answer().status, 200);
    assert_eq!(waiting.answer().text(), TEN_OF_CLUBS.text);
    // Not at the end of the time, which is longer than this waits.
    assert!(daemon.ended().success());
    let told = |line: &&String| line.starts_with("STATUS=stopping: 1 running");
    manager.listen();
    assert!(
        manager.heard.iter().filter(told).count() >= 2,
        "{:?}",
        manager.heard
    );
}

/// One request that runs and one that waits both get the error that says when to come back.
#[track_caller]
fn assert_ended_with_answers(setup: Setup, end: impl FnOnce(&Daemon)) {
    let mut daemon = setup.start();
    let mut running = daemon.connect();
    running.send(&Form::of("a.wav", &wav(&GOFORWARD.samples().repeat(60))).request());
    wait_until("one runs", LONG, || {
        daemon.get("/v1/stats").json()["total"]["running"] == 1
    });
    let mut waiting = daemon.connect();
    waiting.send(&short().request());
    wait_until("one waits", LONG, || {
        daemon.get("/v1/stats").json()["total"]["queued"] == 1
    });
    // And one is still sending.
    let request = short().request();
    let mut sending = daemon.connect();
    sending.send(&request[..request.len() / 2]);
    // Connections are accepted in turn.
    assert_eq!(daemon.get("/healthz").status, 200);
    daemon.signal(SIGTERM);
    wait_stopping(&daemon);
    end(&daemon);
    running.answer().assert_come_back(503, "shutting_down");
    waiting.answer().assert_come_back(503, "shutting_down");
    sending.answer().assert_come_back(503, "shutting_down");
    assert!(daemon.ended().success());
}

#[test]
fn when_time_is_up_everybody_is_told() {
    let setup = Setup::new("[jobs]\nmax_running = 1\n[service]\ndrain_timeout = \"100ms\"");
    assert_ended_with_answers(setup, |daemon| {
        wait_until("its time is up", LONG, || {
            daemon.log().contains("did not end in time")
        });
    });
}

#[test]
fn a_second_signal_ends_the_waiting() {
    for second in [SIGTERM, SIGINT] {
        let setup = Setup::new("[jobs]\nmax_running = 1\n[service]\ndrain_timeout = \"1h\"");
        assert_ended_with_answers(setup, |daemon| {
            daemon.signal(second);
            wait_until("it hears the second one", LONG, || {
                daemon.log().contains("once more")
            });
        });
    }
}

#[test]
fn an_engine_on_a_thread_is_not_awaited() {
    let config = "isolation.mode = \"thread\"\n[service]\ndrain_timeout = \"100ms\"";
    assert_ended_with_answers(Setup::new(config), |_| {});
}

#[test]
fn accepted_clients_are_served() {
    let daemon = &mut Daemon::start("");
    let request = short().request();
    let (mut nothing, mut head, mut body) = (daemon.connect(), daemon.connect(), daemon.connect());
    head.send(&request[..20]);
    body.send(&request[..request.len() - 10]);
    // Connections are accepted in turn: once a later one is answered, they all were.
    let mut idle = daemon.connect();
    idle.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(idle.answer().status, 200);
    let mut silent = daemon.connect();
    assert_eq!(daemon.get("/healthz").status, 200);
    daemon.signal(SIGTERM);
    wait_stopping(daemon);
    nothing.send(&request);
    head.send(&request[20..]);
    body.send(&request[request.len() - 10..]);
    // A client between two requests is not waited for.
    assert!(idle.rest().is_empty());
    for connection in [&mut nothing, &mut head, &mut body] {
        let answer = connection.answer();
        assert_eq!(answer.text(), TEN_OF_CLUBS.text);
        assert_eq!(answer.header("connection"), "close");
    }
    // Nor, for long, one that sends nothing.
    assert!(silent.rest().is_empty());
    assert!(daemon.ended().success());
}

#[test]
fn a_slow_client_does_not_delay_the_end() {
    let config = "[service]\ndrain_timeout = \"300ms\"\n[http]\nheader_timeout = \"1h\"";
    let mut daemon = Daemon::start(config);
    let mut slow = daemon.connect();
    slow.send(b"GET /hea");
    assert_eq!(daemon.get("/healthz").status, 200);
    daemon.stop();
    assert!(slow.rest().is_empty());
}

#[test]
fn an_abandoned_job_does_not_delay_it() {
    let mut daemon = Daemon::start("[service]\ndrain_timeout = \"1h\"");
    let mut running = daemon.connect();
    running.send(&Form::of("a.wav", &long()).request());
    daemon.wait_busy();
    daemon.signal(SIGTERM);
    wait_stopping(&daemon);
    drop(running);
    assert!(daemon.ended().success());
}
