//! Processes that die, clients that leave, a service that stops: nobody else notices, and nothing
//! stays behind.

use std::{
    io::Write,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use crate::common::{
    LONG,
    clips::{GOFORWARD, TEN_OF_CLUBS, long, wav},
    daemon::Daemon,
    http::{Answer, Form, Raw},
    manager::Manager,
    process::{Seen, pids},
    wait_for, wait_until,
};
use nix::sys::signal::Signal::{SIGCONT, SIGKILL, SIGSTOP, SIGTERM};

/// A recording of some two seconds' work.
fn eight_seconds() -> Vec<u8> {
    wav(&GOFORWARD.samples().repeat(3))
}

fn short() -> Form {
    Form::of("a.wav", &TEN_OF_CLUBS.wav())
}

#[track_caller]
fn assert_short(answer: &Answer) {
    assert_eq!(answer.text(), TEN_OF_CLUBS.text);
}

/// Waits until the daemon is ready with another zygote than `old` and all its spares.
#[track_caller]
fn wait_whole(daemon: &Daemon, old: &Seen) {
    wait_until("the service is whole again", LONG, || {
        let children = daemon.children();
        let new = |seen: &&Seen| seen.is_zygote() && seen.pid != old.pid;
        children.iter().any(|seen| new(&seen)) && daemon.is_ready()
    });
    daemon.wait_idle(2);
}

#[test]
fn a_killed_zygote_is_replaced() {
    let daemon = Daemon::start("");
    for _ in 0..2 {
        // One that is not ready yet would go with its zygote.
        let spares = daemon.wait_spares(2);
        let zygote = daemon.zygote();
        let watch = Instant::now();
        zygote.signal(SIGKILL);
        wait_whole(&daemon, &zygote);
        let elapsed = watch.elapsed();
        println!("whole again {elapsed:?} after the zygote was killed");
        // The spares are no children of the zygote's, and were not touched.
        assert_eq!(pids(&daemon.wait_idle(2)), pids(&spares));
        assert_short(&daemon.post(&short()));
    }
}

#[test]
fn no_request_fails_with_the_zygote() {
    let daemon = Daemon::start("");
    let spares = daemon.wait_idle(2);
    let zygote = daemon.zygote();
    zygote.signal(SIGKILL);
    // More than there are spares: some of them have to wait for the next zygote.
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_short(&daemon.post(&short())));
        }
    });
    wait_whole(&daemon, &zygote);
    assert!(spares.iter().all(|spare| !spare.lives()));
}

#[test]
fn a_running_job_outlives_its_zygote() {
    let daemon = Daemon::start("");
    let recording = eight_seconds();
    let expected = daemon.transcribe("a.wav", &recording).text();
    daemon.wait_idle(2);
    let zygote = daemon.zygote();
    std::thread::scope(|scope| {
        let request = scope.spawn(|| daemon.transcribe("a.wav", &recording));
        let job = daemon.wait_busy();
        zygote.signal(SIGKILL);
        let answer = request.join().unwrap();
        assert_eq!(answer.text(), expected);
        assert_eq!(answer.pid(), job.pid);
    });
    wait_whole(&daemon, &zygote);
}

#[test]
fn a_killed_job_fails_only_its_request() {
    let daemon = Daemon::start("");
    let zygote = daemon.zygote();
    let (recording, other) = (long(), eight_seconds());
    std::thread::scope(|scope| {
        let request = scope.spawn(|| daemon.transcribe("a.wav", &recording));
        let job = daemon.wait_busy();
        let neighbour = scope.spawn(|| daemon.transcribe("a.wav", &other));
        wait_until("a second job is at work", LONG, || {
            daemon
                .children()
                .iter()
                .filter(|seen| seen.is_job() && seen.cpu >= 0.2)
                .count()
                == 2
        });
        job.signal(SIGKILL);
        let answer = request.join().unwrap();
        let message = answer.assert_refusal(502, "worker_crashed", None);
        assert!(message.contains("SIGKILL"), "{message}");
        assert_eq!(answer.pid(), job.pid);
        assert_short(&daemon.post(&short()));
        assert_eq!(neighbour.join().unwrap().status, 200);
    });
    daemon.wait_idle(2);
    assert_eq!(daemon.zygote().pid, zygote.pid);
    assert!(daemon.log().contains("worker_crashed"), "{}", daemon.log());
}

#[test]
fn a_killed_job_is_replaced() {
    let daemon = Daemon::start("[jobs]\nmax_running = 1");
    let recording = long();
    std::thread::scope(|scope| {
        let request = scope.spawn(|| daemon.transcribe("a.wav", &recording));
        let job = daemon.wait_busy();
        let watch = Instant::now();
        job.signal(SIGKILL);
        request
            .join()
            .unwrap()
            .assert_refusal(502, "worker_crashed", None);
        // The only slot is free again, and its cgroup good for another job.
        assert_short(&daemon.post(&short()));
        daemon.wait_idle(2);
        let elapsed = watch.elapsed();
        println!("whole again {elapsed:?} after a running job was killed");
    });
}

#[test]
fn a_hang_up_ends_the_job() {
    let daemon = Daemon::start("[jobs]\nmax_running = 1");
    let body = Form::of("a.wav", &long()).body();
    let mut chunked = crate::common::http::post_head("Transfer-Encoding: chunked\r\n");
    chunked.extend(format!("{:x}\r\n", body.len()).as_bytes());
    chunked.extend(&body);
    for (request, end) in [
        (crate::common::http::post(&body), b"".as_slice()),
        (chunked, b"\r\n0\r\n\r\n"),
    ] {
        let mut connection = daemon.connect();
        daemon.wait_idle(2);
        connection.send(&request);
        // The form is complete, and read meanwhile; only then comes the end of the body.
        assert_eq!(daemon.get("/healthz").status, 200);
        connection.send(end);
        let job = daemon.wait_busy();
        drop(connection);
        wait_until("the job is gone", LONG, || !job.lives());
        assert_short(&daemon.post(&short()));
    }
    daemon.wait_idle(2);
    assert_eq!(daemon.log().matches("outcome=\"cancelled\"").count(), 2);
}

#[test]
fn nobody_notices_a_killed_spare() {
    let daemon = Daemon::start("");
    for killed in [1, 2] {
        let spares = daemon.wait_idle(2);
        for spare in &spares[..killed] {
            spare.signal(SIGKILL);
        }
        let dead = || spares[..killed].iter().all(|spare| !spare.lives());
        wait_until("the spares are dead", LONG, dead);
        assert_short(&daemon.post(&short()));
        wait_until("they are forgotten", LONG, || {
            let children = pids(&daemon.children());
            spares[..killed]
                .iter()
                .all(|spare| !children.contains(&spare.pid))
        });
    }
    daemon.wait_idle(2);
}

#[test]
fn a_request_survives_a_dying_spare() {
    let daemon = Daemon::start("");
    let request = short().request();
    let (last, rest) = request.split_last().unwrap();
    for _ in 0..5 {
        let spares = daemon.wait_idle(2);
        let mut connection = daemon.connect();
        connection.send(&rest[..rest.len() - 100]);
        // Both at one moment: the request is complete, and all spares are dead.
        daemon.signal(SIGSTOP);
        connection.send(&rest[rest.len() - 100..]).send(&[*last]);
        for spare in &spares {
            spare.signal(SIGKILL);
        }
        wait_until("the spares are dead", LONG, || {
            spares.iter().all(|s| !s.lives())
        });
        daemon.signal(SIGCONT);
        assert_short(&connection.answer());
    }
}

#[test]
fn nothing_outlives_a_killed_supervisor() {
    let mut daemon = Daemon::start("");
    let mut connection = daemon.connect();
    connection.send(&Form::of("a.wav", &long()).request());
    let job = daemon.wait_busy();
    let children = wait_for("a zygote, a job and two spares", LONG, || {
        let children = daemon.children();
        (children.len() == 4).then_some(children)
    });
    assert!(pids(&children).contains(&job.pid));
    daemon.signal(SIGKILL);
    wait_until("all are gone", LONG, || {
        children.iter().all(|child| !child.lives())
    });
    assert!(!daemon.ended().success());
}

#[test]
fn a_stop_waits_for_running_requests() {
    let mut daemon = Daemon::start("");
    let recording = eight_seconds();
    let expected = daemon.transcribe("a.wav", &recording).text();
    daemon.wait_idle(2);
    // Connections on which nothing happens do not hold up the end.
    let mut idle = [daemon.connect(), daemon.connect()];
    idle[1].send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(idle[1].answer().status, 200);
    let mut running = daemon.connect();
    running.send(&Form::of("a.wav", &recording).request());
    daemon.wait_busy();
    daemon.signal(SIGTERM);
    wait_until("it says that it stops", LONG, || {
        daemon.log().contains("stopping")
    });
    for connection in &mut idle {
        assert!(connection.rest().is_empty());
    }
    // A client that comes now is not served; systemd would keep it waiting for the next start.
    let mut late = UnixStream::connect(daemon.socket());
    if let Ok(late) = &mut late {
        late.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
    }
    assert_eq!(running.answer().text(), expected);
    let status = daemon.ended();
    assert_eq!(status.code(), Some(0), "{status}");
    if let Ok(late) = late {
        assert!(Raw(late).rest().is_empty());
    }
}

#[test]
fn a_stop_ends_jobs_that_take_too_long() {
    let mut daemon = Daemon::start("[service]\ndrain_timeout = \"100ms\"");
    let mut connection = daemon.connect();
    connection.send(&Form::of("a.wav", &wav(&GOFORWARD.samples().repeat(60))).request());
    daemon.wait_busy();
    daemon.stop();
    assert!(
        daemon.log().contains("did not end in time"),
        "{}",
        daemon.log()
    );
}

#[test]
fn a_full_queue_sends_clients_away() {
    let daemon = &Daemon::start("[jobs]\nmax_running = 1\nmax_queued = 1");
    let mut running = daemon.connect();
    running.send(&Form::of("a.wav", &long()).request());
    daemon.wait_busy();
    std::thread::scope(|scope| {
        // One of these two has room to wait.
        let (sender, answers) = std::sync::mpsc::channel();
        for sender in [sender.clone(), sender] {
            scope.spawn(move || sender.send(daemon.post(&short())).unwrap());
        }
        answers.recv().unwrap().assert_come_back(429, "queue_full");
        assert!(answers.try_recv().is_err());
        drop(running);
        assert_short(&answers.recv().unwrap());
    });
    assert_short(&daemon.post(&short()));
}

#[test]
fn a_request_waits_only_so_long() {
    let daemon = Daemon::start("[jobs]\nmax_running = 1\nqueue_timeout = \"100ms\"");
    let mut running = daemon.connect();
    running.send(&Form::of("a.wav", &long()).request());
    let job = daemon.wait_busy();
    let begin = Instant::now();
    daemon.post(&short()).assert_come_back(429, "queue_full");
    assert!(begin.elapsed() >= Duration::from_millis(100));
    assert!(job.lives());
}

#[test]
fn the_watchdog_outlasts_a_stuck_zygote() {
    let mut manager = Manager::new();
    // No spares: every request needs the zygote.
    let setup = manager.setup("[spares]\nttl = \"0\"");
    let mut daemon = setup.env("WATCHDOG_USEC", "3000000").launch();
    daemon.wait_ready();
    let zygote = daemon.zygote();
    zygote.signal(SIGSTOP);
    let watch = Instant::now();
    std::thread::scope(|scope| {
        let request = scope.spawn(|| daemon.post(&short()));
        let mut pings = 0;
        while !request.is_finished() {
            wait_until("the watchdog is told", LONG, || {
                manager.count("WATCHDOG=1") > pings || request.is_finished()
            });
            pings = manager.count("WATCHDOG=1");
        }
        assert_short(&request.join().unwrap());
    });
    println!("served {:?} after the zygote stood still", watch.elapsed());
    assert!(!zygote.lives());
    assert!(
        !daemon.log().contains("the watchdog is not told"),
        "{}",
        daemon.log()
    );
}
