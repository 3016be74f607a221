//! Clients that send no more: one that waits gets its answer, one that is gone frees its job at
//! once.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
};

use crate::common::{
    LONG,
    clips::GOFORWARD,
    daemon::{Daemon, Setup},
    http::{Form, Raw},
    process::Seen,
    wait_until,
};

/// Answers before the answer, which a client passes over.
const PROBE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// A client's end of a connection, over a Unix socket or TCP.
trait Client: Read + Write {
    fn half_close(&self);
}

impl Client for UnixStream {
    fn half_close(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

impl Client for TcpStream {
    fn half_close(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

/// A daemon with both kinds of socket.
struct Served {
    daemon: Daemon,
    address: String,
}

impl Served {
    fn start(config: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap().to_string();
        drop(port);
        let daemon = Setup::new(config).listen(&address).start();
        Self { daemon, address }
    }

    /// One client of each kind, which has sent `request`.
    fn clients(&self, request: &[u8]) -> [Box<dyn Client>; 2] {
        let Raw(unix) = self.daemon.connect();
        let tcp = TcpStream::connect(&self.address).unwrap();
        tcp.set_read_timeout(Some(LONG)).unwrap();
        let mut clients: [Box<dyn Client>; 2] = [Box::new(unix), Box::new(tcp)];
        for client in &mut clients {
            client.write_all(request).unwrap();
        }
        clients
    }

    fn count(&self, what: &str) -> u64 {
        let stats = self.daemon.get("/v1/stats").json();
        stats["total"]["requests"][what].as_u64().unwrap()
    }

    /// Waits until nobody is served, and `count` requests were given up.
    fn assert_cancelled(&self, count: u64) {
        wait_until("the requests are cancelled", LONG, || {
            self.count("cancelled") == count
        });
    }
}

/// A job that was killed, and not done: the shortest of these takes some three seconds of a CPU.
fn assert_killed(job: &Seen) {
    let spent = job.computes_until_gone();
    assert!(spent < 1.0, "{spent} s of CPU time after its client left");
}

fn rest(client: &mut dyn Client) -> String {
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    rest
}

fn long() -> Form {
    Form::of(
        "a.wav",
        &crate::common::clips::wav(&GOFORWARD.samples().repeat(4)),
    )
}

#[test]
fn a_client_that_sends_no_more_is_answered() {
    let served = Served::start("");
    let short = Form::of("a.wav", &GOFORWARD.wav());
    let old = b"GET /v1/models HTTP/1.0\r\n\r\n";
    for (request, expected) in [
        (short.request(), GOFORWARD.text),
        (long().request(), GOFORWARD.text),
        // Two at once, and a page.
        ([short.request(), short.request()].concat(), GOFORWARD.text),
        (old.to_vec(), "pocketsphinx"),
        (
            short.field("stream", "true").request(),
            "transcript.text.done",
        ),
    ] {
        for mut client in served.clients(&request) {
            client.half_close();
            let answer = rest(&mut *client);
            let answers =
                answer.matches("HTTP/1.1 200").count() + answer.matches("HTTP/1.0 200").count();
            let asked = String::from_utf8_lossy(&request)
                .matches(" HTTP/1.")
                .count();
            assert_eq!(answers, asked, "{answer}");
            assert!(answer.contains(expected), "{answer}");
            // None in the middle of an answer.
            let bare = answer.replace(PROBE, "");
            assert!(!bare.contains(" 100 "), "{answer}");
        }
    }
    assert_eq!(served.count("cancelled"), 0);
}

#[test]
fn a_form_that_ends_early_is_refused_at_once() {
    let served = Served::start("");
    let request = long().request();
    for mut client in served.clients(&request[..request.len() / 2]) {
        client.half_close();
        let answer = rest(&mut *client);
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}

#[test]
fn a_client_that_is_gone_frees_its_job() {
    let served = Served::start("[jobs]\nmax_running = 1");
    let mut gone = 0;
    // It leaves at once, or first closes its sending side.
    for closes in [false, true] {
        for client in served.clients(b"") {
            let mut client = client;
            client.write_all(&long().request()).unwrap();
            let job = served.daemon.wait_busy();
            if closes {
                client.half_close();
            }
            drop(client);
            assert_killed(&job);
            gone += 1;
            served.assert_cancelled(gone);
        }
    }
}

#[test]
fn a_client_that_leaves_after_it_was_asked_for_a_sign_of_life_frees_its_job() {
    let served = Served::start("[models.default]\nengine = \"fault\"");
    let hang = Form::of("a.wav", &GOFORWARD.wav()).field("model", "default:hang");
    let mut gone = 0;
    for mut client in served.clients(&hang.request()) {
        client.half_close();
        let mut probe = vec![0; PROBE.len()];
        client.read_exact(&mut probe).unwrap();
        assert_eq!(String::from_utf8(probe).unwrap(), PROBE);
        assert_eq!(served.count("cancelled"), gone);
        drop(client);
        gone += 1;
        // A Unix socket tells it, and TCP too: both directions are closed now.
        served.assert_cancelled(gone);
    }
}

#[test]
fn a_stream_asks_for_a_sign_of_life_with_an_empty_event() {
    let served = Served::start("[models.default]\nengine = \"fault\"");
    let stall = Form::of("a.wav", &GOFORWARD.wav())
        .field("model", "default:stall")
        .field("stream", "true");
    for (gone, mut client) in served.clients(&stall.request()).into_iter().enumerate() {
        let mut seen = String::new();
        let mut until = |text: &str, client: &mut dyn Client| {
            while !seen.contains(text) {
                let mut byte = [0];
                client.read_exact(&mut byte).unwrap();
                seen.push(char::from(byte[0]));
            }
        };
        until("transcript.text.delta", &mut *client);
        client.half_close();
        until("\n:\n\n", &mut *client);
        assert_eq!(served.count("cancelled"), gone as u64);
        drop(client);
        served.assert_cancelled(gone as u64 + 1);
    }
}
