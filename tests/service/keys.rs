//! Clients over TCP: keys that come and go, names and origins of somebody else, and that none of it
//! matters on the Unix socket.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::PathBuf,
    process::Command,
    thread,
    time::Instant,
};

use crate::common::{
    LONG,
    clips::wav,
    daemon::{BINARY, Daemon, Setup, serve_arguments},
    http::{Answer, BOUNDARY, Form, Raw, TRANSCRIPTIONS},
    process::private_memory,
    wait_for, wait_until,
};
use nix::sys::signal::Signal::SIGHUP;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const PHONE: &str = "stt_of-the-phone";
const CAR: &str = "stt_of-the-car";

const FAULT: &str = "[health]\ninterval = \"0s\"\n[models.default]\nengine = \"fault\"\n";

/// The line by which the service knows `key`.
fn line(name: &str, key: &str) -> String {
    let digits: String = Sha256::digest(key)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{name} sha256:{digits}\n")
}

/// A file of keys, and the configuration that names it.
struct Keys {
    folder: TempDir,
}

impl Keys {
    fn new(lines: &str) -> Keys {
        let keys = Keys {
            folder: TempDir::new().unwrap(),
        };
        keys.write(lines);
        keys
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn write(&self, lines: &str) {
        fs::write(self.path(), lines).unwrap();
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o640)).unwrap();
    }

    fn config(&self) -> String {
        format!("[clients.keys]\nfile = {:?}\n", self.path())
    }
}

fn free_port(ip: IpAddr) -> SocketAddr {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

fn local_port() -> SocketAddr {
    free_port(Ipv4Addr::LOCALHOST.into())
}

fn connect(to: SocketAddr) -> Raw {
    let raw = Raw(OwnedFd::from(TcpStream::connect(to).unwrap()).into());
    raw.0.set_read_timeout(Some(LONG)).unwrap();
    raw
}

/// The head of a request for `page`, with these lines between its first and its last.
fn get(page: &str, lines: &str) -> Vec<u8> {
    format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n").into_bytes()
}

fn of(key: &str) -> String {
    format!("Authorization: Bearer {key}\r\n")
}

fn ask(to: SocketAddr, request: &[u8]) -> Answer {
    connect(to).send(request).answer()
}

/// The head of a request with a body of this length.
fn post_head(key: &str, length: usize) -> Vec<u8> {
    format!(
        "POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: {length}\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n",
        of(key)
    )
    .into_bytes()
}

/// A short recording for the fault engine, to be transcribed in this `mode`.
fn post(key: &str, mode: &str) -> Vec<u8> {
    let form = Form::of("a.wav", &wav(&[0; 3200])).field("model", format!("default{mode}"));
    let body = form.body();
    let mut request = post_head(key, body.len());
    request.extend(body);
    request
}

#[track_caller]
fn reload(daemon: &Daemon, expected: &str) -> String {
    let before = daemon.log().len();
    daemon.signal(SIGHUP);
    wait_for("the reload is over", LONG, || {
        let log = daemon.log()[before..].to_owned();
        log.contains(expected).then_some(log)
    })
}

#[test]
fn a_key_is_a_client_of_its_own() {
    let keys = Keys::new(&format!(
        "# of the family\n\n{}{}",
        line("phone", PHONE),
        line("car", CAR)
    ));
    let tcp = local_port();
    let config = format!(
        "service.log_level = \"trace\"\n[jobs]\nmax_running = 4\n{}[clients.keys.caps.phone]\nmax_running = 1\n\
         max_queued = 1\n[clients.keys.caps.bike]\nmax_running = 1\n{FAULT}",
        keys.config()
    );
    let daemon = Setup::new(&config).listen(&tcp.to_string()).start();
    for (head, expected) in [
        (String::new(), "asks for a key"),
        (of(""), "asks for a key"),
        (
            format!("Authorization: Basic {PHONE}\r\n"),
            "asks for a key",
        ),
        (of(PHONE) + &of(CAR), "asks for a key"),
        (of("stt_wrong"), "not known"),
        (of(&PHONE.to_uppercase()), "not known"),
        (of("stt%5Fof-the-phone"), "not known"),
        (of(&"k".repeat(30_000)), "not known"),
        (
            "X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n".into(),
            "asks for a key",
        ),
        (
            format!(
                "Cookie: key={PHONE}\r\nX-API-Key: {PHONE}\r\nProxy-{}",
                of(PHONE)
            ),
            "asks for a key",
        ),
    ] {
        for page in [
            "/v1/models",
            "/v1/stats",
            "/metrics",
            "/openapi.json",
            "/no/such/page",
        ] {
            let answer = ask(tcp, &get(page, &head));
            let message = answer.assert_refusal(401, "invalid_api_key", None);
            assert!(message.contains(expected), "{head:.99}: {message}");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            assert_eq!(answer.header("connection"), "close");
        }
    }
    // A header that goes on in the next line is no header (RFC 9112, 5.2).
    let folded = get(
        "/v1/models",
        &format!("Authorization: Bearer\r\n {PHONE}\r\n"),
    );
    assert_eq!(ask(tcp, &folded).status, 400);
    // A query is no place for a key.
    assert_eq!(
        ask(tcp, &get(&format!("/v1/models?key={PHONE}"), "")).status,
        401
    );
    // Not a byte of the body has to be sent.
    assert_eq!(ask(tcp, &post_head("stt_wrong", 9999)).status, 401);
    for key in [PHONE, CAR] {
        assert_eq!(ask(tcp, &get("/v1/models", &of(key))).status, 200);
        assert_eq!(ask(tcp, &post(key, "")).status, 200);
    }
    // Load balancers have no key, and are told no more than they need.
    assert_eq!(ask(tcp, &get("/healthz", "")).status, 200);
    assert_eq!(
        ask(tcp, &get("/readyz?room", "")).json(),
        json!({"status": "ready"})
    );
    assert!(ask(tcp, &get("/readyz", &of(CAR))).json()["models"].is_object());

    // The caps of one key are not those of another.
    let mut busy = connect(tcp);
    busy.send(&post(PHONE, ":sleep=60s"));
    let client = |running, queued| {
        let stats = daemon.get("/v1/stats").json();
        let clients = stats["clients"].as_array().unwrap();
        let own = clients
            .iter()
            .find(|client| client["key"] == "phone")
            .cloned();
        own.is_some_and(|own| own["running"] == running && own["queued"] == queued)
    };
    wait_until("it runs", LONG, || client(1, 0));
    let mut waiting = connect(tcp);
    waiting.send(&post(PHONE, ""));
    wait_until("it waits", LONG, || client(1, 1));
    ask(tcp, &post(PHONE, "")).assert_come_back(429, "user_limit");
    assert_eq!(ask(tcp, &get("/readyz?room", &of(PHONE))).status, 503);
    assert_eq!(ask(tcp, &get("/readyz?room", "")).status, 200);
    assert_eq!(ask(tcp, &post(CAR, "")).status, 200);
    let stats = ask(tcp, &get("/v1/stats", &of(CAR))).json();
    assert_eq!(stats["jobs"][0]["key"], "phone");
    assert!(stats["jobs"][0]["uid"].is_null());
    let metrics = ask(tcp, &get("/metrics", &of(CAR)));
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let expected = "stt_isolated_client_requests{user=\"key:phone\",state=\"running\"} 1";
    assert!(metrics.contains(expected), "{metrics}");

    // The kernel vouches for clients on the Unix socket, whatever they say of themselves.
    for head in [String::new(), of("stt_wrong"), of(PHONE) + &of(CAR)] {
        let head = format!("{head}Origin: https://evil.example\r\n");
        let request = String::from_utf8(get("/v1/models", &head)).unwrap();
        let request = request.replace("Host: localhost", "Host: evil.example");
        let answer = daemon.connect().send(request.as_bytes()).answer();
        assert_eq!(answer.status, 200);
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
        assert!(!answer.headers.contains_key("vary"));
    }
    let log = daemon.log();
    for expected in [
        "key=\"phone\"",
        "key=\"car\"",
        "one of 2 keys",
        "clients.keys.caps.bike: no key",
    ] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
    for secret in [PHONE, CAR, "stt_wrong", &line("", PHONE)[8..40]] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[test]
fn keys_come_and_go_by_reload_and_no_request_is_lost() {
    let keys = Keys::new(&(line("phone", PHONE) + &line("car", CAR)));
    let tcp = local_port();
    let config = format!("http.header_timeout = \"5m\"\n{}{FAULT}", keys.config());
    let daemon = Setup::new(&config).listen(&tcp.to_string()).start();
    let mut kept = connect(tcp);
    assert_eq!(kept.send(&post(PHONE, "")).answer().status, 200);
    let mut busy = connect(tcp);
    busy.send(&post(PHONE, ":sleep=2s"));
    wait_until("it runs", LONG, || {
        daemon.get("/v1/stats").json()["total"]["running"] == 1
    });
    // A wrong file changes nothing.
    for (lines, expected) in [
        ("phone\n".into(), "keys:1: one word alone"),
        (String::new(), "holds no key"),
        (
            line("phone", PHONE) + "car " + CAR + "\n",
            "keys:2: its second word is no hash",
        ),
    ] {
        keys.write(&lines);
        let log = reload(&daemon, "the old one stays in force");
        assert!(log.contains(expected), "{log}");
        assert!(log.contains("clients.keys.file"), "{log}");
        assert!(!log.contains(CAR), "{log}");
        assert_eq!(
            kept.send(&get("/v1/models", &of(PHONE))).answer().status,
            200
        );
    }
    // One is withdrawn, another comes.
    keys.write(&(line("car", CAR) + &line("bike", "stt_of-the-bike")));
    reload(&daemon, "reload: done");
    assert_eq!(
        busy.answer().status,
        200,
        "it was there when its key was withdrawn"
    );
    kept.send(&get("/v1/models", &of(PHONE)));
    kept.answer().assert_refusal(401, "invalid_api_key", None);
    for key in [CAR, "stt_of-the-bike"] {
        assert_eq!(ask(tcp, &post(key, "")).status, 200);
    }
    // Without any, this machine is served as ever.
    daemon.configure(FAULT);
    let log = reload(&daemon, "reload: done");
    assert!(
        log.contains("every program of this machine is served"),
        "{log}"
    );
    assert_eq!(ask(tcp, &get("/v1/models", "")).status, 200);
    assert_eq!(ask(tcp, &get("/v1/models", &of("stt_wrong"))).status, 200);
}

/// The lines of the journal about clients without a known key.
fn told(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log();
    let lines = log.lines().filter(|line| line.contains("over TCP, "));
    lines.map(str::to_owned).collect()
}

#[test]
fn ten_thousand_wrong_keys_hold_nothing() {
    let keys = Keys::new(&line("phone", PHONE));
    let tcp = local_port();
    let config = format!("service.log_level = \"warn\"\n{}{FAULT}", keys.config());
    let daemon = Setup::new(&config).listen(&tcp.to_string()).start();
    // As fast as they are answered, by several at once.
    let storm = |count: usize| {
        thread::scope(|scope| {
            for part in 0..4 {
                scope.spawn(move || {
                    for number in 0..count / 4 {
                        let wrong = format!("stt_{part:032x}{number:032x}");
                        assert_eq!(ask(tcp, &post_head(&wrong, 9999)).status, 401);
                    }
                });
            }
        });
    };
    // The first ones warm the heap.
    storm(500);
    let (before, start) = (private_memory(daemon.pid()), Instant::now());
    // The users of this machine notice nothing.
    let served = 10;
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..served {
                let form = Form::of("a.wav", &wav(&[0; 3200]));
                assert_eq!(daemon.post(&form).status, 200);
            }
        });
        storm(10_000);
    });
    let took = start.elapsed();
    println!("10000 wrong keys in {took:?}");
    let grown = private_memory(daemon.pid()).saturating_sub(before);
    assert!(grown < 512 << 10, "grown by {grown} bytes");
    // One line at once, and one for each minute.
    let (lines, minutes) = (told(&daemon), took.as_secs() / 60);
    assert!(lines.len() as u64 <= 2 + minutes, "{lines:?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("from 127.0.0.1 "));
    let stats = daemon.get("/v1/stats").json();
    assert_eq!(stats["total"]["requests"]["accepted"], served);
    let clients = stats["clients"].as_array().unwrap();
    assert!(
        clients.iter().all(|client| client["key"].is_null()),
        "{stats}"
    );
    assert_eq!(ask(tcp, &post(PHONE, "")).status, 200);
}

#[test]
fn strangers_that_hold_all_connections_leave_some_for_the_unix_socket() {
    let keys = Keys::new(&line("phone", PHONE));
    let tcp = local_port();
    let config = format!(
        "[http]\nmax_connections = 8\nheader_timeout = \"1h\"\n{}{FAULT}",
        keys.config()
    );
    let daemon = Setup::new(&config).listen(&tcp.to_string()).start();
    // They say nothing, and half of them a part of a head.
    let mut strangers: Vec<Raw> = (0..60).map(|_| connect(tcp)).collect();
    for stranger in strangers.iter_mut().step_by(2) {
        stranger.send(b"GET /v1/models HTTP/1.1\r\n");
    }
    for _ in 0..20 {
        assert_eq!(daemon.get("/v1/models").status, 200);
    }
    let form = Form::of("a.wav", &wav(&[0; 3200]));
    assert_eq!(daemon.post(&form).status, 200);
    // Those who came last are served once the others are gone.
    let mut last = connect(tcp);
    last.send(&get("/v1/models", &of(PHONE)));
    drop(strangers);
    assert_eq!(last.answer().status, 200);
}

#[test]
fn foreign_names_and_origins_are_kept_out() {
    let tcp = local_port();
    let config = format!(
        "[http]\nhosts = [\"stt.example\"]\ncors_origins = [\"https://app.example\", \"http://localhost:3000\"]\n{FAULT}"
    );
    let daemon = Setup::new(&config).listen(&tcp.to_string()).start();
    let by = |first: &str, lines: &str| ask(tcp, format!("{first}\r\n{lines}\r\n").as_bytes());
    let models = "GET /v1/models HTTP/1.1";
    for host in [
        "localhost",
        "LOCALHOST.:80",
        "127.0.0.1:1",
        "[::1]",
        "192.0.2.1",
        "stt.example:443",
    ] {
        assert_eq!(
            by(models, &format!("Host: {host}\r\n")).status,
            200,
            "{host}"
        );
    }
    // Nobody but a program leaves it out.
    let mut old = connect(tcp);
    let answer = old.send(b"GET /v1/models HTTP/1.0\r\n\r\n").rest();
    assert!(answer.starts_with(b"HTTP/1.0 200 "), "{answer:?}");
    for (first, lines) in [
        (models, "Host: evil.example\r\n"),
        (
            models,
            "Host: evil.example:8088\r\nX-Forwarded-Host: localhost\r\n",
        ),
        (models, "Host: localhost\r\nHost: evil.example\r\n"),
        (
            "GET http://evil.example/v1/models HTTP/1.1",
            "Host: localhost\r\n",
        ),
        (
            "GET http://localhost/v1/models HTTP/1.1",
            "Host: evil.example\r\n",
        ),
        ("GET /healthz HTTP/1.1", "Host: evil.example\r\n"),
        (
            "POST /v1/audio/transcriptions HTTP/1.1",
            "Host: evil.example\r\nContent-Length: 9999\r\n",
        ),
    ] {
        let answer = by(first, lines);
        let message = answer.assert_refusal(421, "foreign_host", None);
        assert!(
            message.contains("evil.example") && message.contains("http.hosts"),
            "{message}"
        );
    }
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "",
    ] {
        let lines = format!("Host: localhost\r\nOrigin: {origin}\r\n");
        let answer = by(models, &lines);
        let message = answer.assert_refusal(403, "foreign_origin", None);
        assert!(message.contains("http.cors_origins"), "{message}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
        let asks = format!("{lines}Access-Control-Request-Method: POST\r\n");
        assert_eq!(
            by("OPTIONS /v1/audio/transcriptions HTTP/1.1", &asks).status,
            403
        );
    }
    let two = "Host: localhost\r\nOrigin: https://app.example\r\nOrigin: https://evil.example\r\n";
    assert_eq!(by(models, two).status, 403);
    // Answers to listed ones, errors too, can be read.
    for (first, status) in [
        (models, 200),
        ("GET /no/such/page HTTP/1.1", 404),
        ("OPTIONS /v1/models HTTP/1.1", 405),
    ] {
        let answer = by(first, "Host: localhost\r\nOrigin: https://app.example\r\n");
        assert_eq!(answer.status, status);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            "https://app.example"
        );
        assert_eq!(answer.header("vary"), "origin");
        let exposed = answer.header("access-control-expose-headers");
        assert!(
            exposed.contains("x-request-id") && exposed.contains("x-stt-warnings"),
            "{exposed}"
        );
    }
    assert_eq!(
        by("OPTIONS /v1/models HTTP/1.1", "Host: localhost\r\n").status,
        405
    );
    // As a browser asks before OpenAI's client for JavaScript may.
    let mut connection = connect(tcp);
    connection.send(
        b"OPTIONS /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3000\r\n\
          Access-Control-Request-Method: POST\r\nConnection: close\r\n\
          Access-Control-Request-Headers: authorization,x-stainless-os\r\n\r\n",
    );
    let answer = String::from_utf8(connection.rest()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    for expected in [
        "access-control-allow-origin: http://localhost:3000\r\n",
        "access-control-allow-methods: GET, HEAD, POST\r\n",
        "access-control-allow-headers: authorization,x-stainless-os\r\n",
        "access-control-max-age: 600\r\n",
        "vary: origin\r\n",
        "x-request-id: ",
    ] {
        assert!(answer.contains(expected), "{expected} in {answer}");
    }
    // The Unix socket knows neither names nor origins.
    let request =
        "GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nOrigin: https://evil.example\r\n\r\n";
    assert_eq!(
        daemon.connect().send(request.as_bytes()).answer().status,
        200
    );
    let request = "OPTIONS /v1/models HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\n\
                   Access-Control-Request-Method: GET\r\n\r\n";
    assert_eq!(
        daemon.connect().send(request.as_bytes()).answer().status,
        405
    );
}

#[test]
fn without_keys_only_this_machine_is_served() {
    // An address of this machine by which others would come; nothing is sent.
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    let address = probe
        .connect("192.0.2.1:9")
        .and_then(|()| probe.local_addr());
    let Some(own) = address.ok().filter(|own| !own.ip().is_loopback()) else {
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"SKIPPED: this machine has no address but loopback\n",
        );
        return;
    };
    let there = free_port(own.ip());
    let wyoming = free_port(own.ip());
    let keys = Keys::new(&line("phone", PHONE));
    let daemon = Setup::new(FAULT)
        .listen(&there.to_string())
        .listen_as("wyoming", &wyoming.to_string())
        .start();
    let describe = || {
        let mut connection = connect(wyoming);
        connection.send(b"{\"type\":\"describe\"}\n").half_close();
        String::from_utf8(connection.rest()).unwrap()
    };
    for page in ["/v1/models", "/readyz", "/metrics"] {
        let answer = ask(there, &get(page, &of(PHONE)));
        let message = answer.assert_refusal(403, "forbidden", None);
        assert!(message.contains("clients.keys"), "{message}");
    }
    assert_eq!(ask(there, &get("/healthz", "")).status, 200);
    let said = describe();
    assert!(
        said.contains("clients.wyoming_network") && !said.contains("\"info\""),
        "{said}"
    );
    let log = daemon.log();
    for expected in [
        format!("on TCP {there}, only this machine is served"),
        format!("on TCP {wyoming}, Wyoming is spoken only with this machine"),
    ] {
        assert!(log.contains(&expected), "{log}");
    }
    daemon.configure(&format!(
        "[clients]\nwyoming_network = true\n{}{FAULT}",
        keys.config()
    ));
    let log = reload(&daemon, "reload: done");
    assert!(
        log.contains(&format!(
            "on TCP {there}, clients are served who show one of 1 keys"
        )),
        "{log}"
    );
    assert_eq!(ask(there, &get("/v1/models", "")).status, 401);
    assert_eq!(ask(there, &get("/v1/models", &of(PHONE))).status, 200);
    assert!(describe().contains("\"info\""));
}

/// Each mistake with the file is told by `check-config` and at the start, with file and line.
#[test]
fn each_mistake_with_the_file_of_keys_has_its_message() {
    let phone = line("phone", PHONE);
    let many: String = (0..10_000)
        .map(|n| line(&format!("key-{n}"), &format!("stt_{n}")))
        .collect();
    for (lines, mode, expected) in [
        (
            phone.clone(),
            0o644,
            "keys is open to everybody on this machine (mode 644): chmod 640",
        ),
        (
            phone.clone(),
            0o660,
            "keys is open to its group, which may change it (mode 660)",
        ),
        (
            String::new(),
            0o640,
            "keys holds no key: `sttctl key new NAME`",
        ),
        ("# none\n".into(), 0o640, "keys holds no key"),
        (many, 0o640, "keys has 10000 keys: at most 1000"),
        (
            phone.clone() + &line("phone", CAR),
            0o640,
            "keys:2: line 1 has the same name",
        ),
        (
            phone.clone() + "\n" + &line("car", PHONE),
            0o640,
            "keys:3: line 1 has the same hash",
        ),
        (
            format!("phone {PHONE}\n"),
            0o640,
            "keys:1: its second word is no hash",
        ),
        ("phone\n".into(), 0o640, "keys:1: one word alone"),
        (
            "a b c\n".into(),
            0o640,
            "keys:1: more than a name and a hash",
        ),
        (
            line("a b", PHONE),
            0o640,
            "keys:1: more than a name and a hash",
        ),
        (line("", PHONE), 0o640, "keys:1: one word alone"),
        (
            phone.replace("sha256:", "sha256:0"),
            0o640,
            "keys:1: after `sha256:` come 64",
        ),
        ("\u{0}".repeat(5 << 20), 0o640, "keys is larger than 4 MiB"),
    ] {
        let keys = Keys::new(&lines);
        fs::set_permissions(keys.path(), fs::Permissions::from_mode(mode)).unwrap();
        let config = keys.folder.path().join("c.toml");
        fs::write(&config, keys.config()).unwrap();
        for command in [vec!["check-config"], serve_arguments()] {
            let mut run = Command::new(BINARY);
            run.args(command).arg("--config").arg(&config).env_clear();
            let output = run.output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(78), "{expected}: {said}");
            assert!(said.contains("c.toml:2: clients.keys.file: /"), "{said}");
            assert!(said.contains(expected), "{expected}: {said}");
            assert!(!said.contains(PHONE) && !said.contains(CAR), "{said}");
            assert!(said.len() < 4000, "{said}");
        }
    }
}

#[test]
fn sttctl_makes_a_key_and_shows_it() {
    let sttctl = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sttctl"));
        let output = command.args(arguments).output().unwrap();
        let [said, told] =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), said, told)
    };
    let (status, said, told) = sttctl(&["key", "new", "phone"]);
    let (key, of_file) = said.split_once('\n').unwrap();
    assert_eq!(status, Some(0), "{told}");
    let digits = key.strip_prefix("stt_").unwrap();
    assert!(
        digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()),
        "{key}"
    );
    assert_eq!(of_file, line("phone", key));
    assert!(
        !told.contains(digits) && told.contains("clients.keys"),
        "{told}"
    );
    assert_ne!(sttctl(&["key", "new", "phone"]).1, said);
    assert_eq!(sttctl(&["key", "new", "a b"]).0, Some(2));

    let keys = Keys::new(of_file);
    let tcp = local_port();
    let config = format!("{}{FAULT}", keys.config());
    let _daemon = Setup::new(&config).listen(&tcp.to_string()).start();
    let own = keys.folder.path().join("own");
    fs::write(&own, format!("{key}\n")).unwrap();
    let (own, socket) = (own.to_str().unwrap(), format!("tcp:{tcp}"));
    let models = ["models", "--quiet", "--socket", &socket];
    let (status, said, told) = sttctl(&[&models[..], &["--key-file", own]].concat());
    assert_eq!((status, said.as_str()), (Some(0), "default\n"), "{told}");
    let (status, _, told) = sttctl(&models);
    assert_eq!(status, Some(1));
    assert!(told.contains("invalid_api_key"), "{told}");
}
