//! Broken, hostile and unlucky clients: each gets its own answer, and nobody else notices.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::common::{
    LONG,
    clips::{ENCODINGS, GOFORWARD, TEN_OF_CLUBS, noise, wav, wav_header},
    daemon::{Daemon, Setup},
    http::{BOUNDARY, Form, Raw, TRANSCRIPTIONS, content_type, post, post_head},
    process::{peak_memory, private_memory},
};
use serde_json::json;

/// Bytes that the supervisor may keep after it has seen everything once.
const GROWTH: u64 = 512 << 10;

/// The metadata of a FLAC file, without a single frame.
fn flac_without_frames() -> Vec<u8> {
    let flac = GOFORWARD.encoded(ENCODINGS[0]);
    let mut end = 4;
    loop {
        let [kind, high, middle, low] = *flac[end..].first_chunk().unwrap();
        end += 4 + usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap();
        if kind & 0x80 != 0 {
            return flac[..end].to_vec();
        }
    }
}

fn assert_good_request_works(daemon: &Daemon) {
    let answer = daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav());
    assert_eq!(answer.text(), TEN_OF_CLUBS.text);
}

/// Runs `attack` twice to warm up, then several times more, and fails if the supervisor has kept
/// memory or descriptors.
fn assert_leaves_nothing(daemon: &Daemon, attack: impl Fn()) {
    let idle = || {
        assert_good_request_works(daemon);
        let open = daemon.idle_descriptors(2);
        (private_memory(daemon.pid()), open)
    };
    attack();
    attack();
    let (memory, open) = idle();
    for _ in 0..5 {
        attack();
    }
    assert_eq!(idle().1, open, "descriptors are left open");
    let grown = private_memory(daemon.pid()).saturating_sub(memory);
    assert!(grown <= GROWTH, "the supervisor grew by {grown} bytes");
}

#[test]
fn the_word_name_may_have_any_letters() {
    let daemon = Daemon::start("");
    let mut body = Form::of("a.wav", &TEN_OF_CLUBS.wav()).body();
    let at = body.windows(5).position(|word| word == b"name=").unwrap();
    body[at..at + 4].copy_from_slice(b"NAME");
    assert_eq!(
        daemon.connect().send(&post(&body)).answer().text(),
        TEN_OF_CLUBS.text
    );
}

#[test]
fn non_recordings_are_refused() {
    let daemon = Daemon::start("");
    let mut cut = GOFORWARD.encoded(ENCODINGS[2]);
    cut.truncate(40);
    let recordings: [(&str, Vec<u8>); 10] = [
        ("no-samples.wav", wav(&[])),
        ("one-sample.wav", wav(&[1, 2])),
        ("cut.flac", flac_without_frames()),
        ("cut.ogg", cut),
        (
            "text.wav",
            b"Dear service, please transcribe this.\n".repeat(50),
        ),
        ("noise.wav", noise(0, 10 << 20)),
        ("4GiB.wav", wav_header(u32::MAX)),
        ("almost-4GiB.wav", wav_header(u32::MAX - 100)),
        ("riff.wav", b"RIFF".to_vec()),
        ("zeros.mp3", vec![0; 100_000]),
    ];
    assert_leaves_nothing(&daemon, || {
        for (name, recording) in &recordings {
            let answer = daemon.transcribe(name, recording);
            let message = answer.assert_refusal(400, "invalid_audio", None);
            // In words for a person, not the name of an error's type.
            assert!(message.contains(' '), "{name}: {message}");
            assert_ne!(answer.pid(), daemon.pid());
        }
    });
}

#[test]
fn exaggerating_headers_cost_nothing() {
    let daemon = Daemon::start("");
    // The samples that are there are transcribed, as from a recorder that lost its power.
    let mut recording = wav_header(u32::MAX - 1);
    recording.extend(TEN_OF_CLUBS.samples());
    let honest = daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav());
    let lying = daemon.transcribe("a.wav", &recording);
    assert_eq!(lying.text(), TEN_OF_CLUBS.text);
    let [honest, lying] = [honest, lying].map(|answer| answer.number("x-stt-peak-bytes"));
    assert!(lying < honest + (8 << 20), "{lying} instead of {honest}");
}

#[test]
fn malformed_forms_are_refused() {
    let daemon = Daemon::start("");
    let wav = TEN_OF_CLUBS.wav();
    let form = || Form::of("a.wav", &wav);
    let parameter = "invalid_parameter";
    let latin = [b"d\xe9faut".as_slice(), &[0xff], &[0xc0, 0x80]];
    assert_leaves_nothing(&daemon, || {
        // Forms in good order with something impossible in them.
        for (form, param) in [
            (Form::default(), "file"),
            (Form::default().field("model", "default"), "file"),
            (Form::of("a.wav", b""), "file"),
            (form().file("b.wav", &wav), "file"),
            (
                form().field("model", "default").field("model", "default"),
                "model",
            ),
            (form().field("model", "def\0ault"), "model"),
            (form().field("prompt", "\u{1b}]0;title\u{7}"), "prompt"),
            (form().field("model", latin[0]), "model"),
            (form().field("model", latin[1]), "model"),
            (form().field("language", latin[2]), "language"),
            (form().field("model", vec![b'a'; 5 << 20]), "model"),
            (form().field("prompt-\u{e9}", "x"), "prompt-\u{e9}"),
            (form().field("", "x"), ""),
        ] {
            daemon
                .post(&form)
                .assert_refusal(400, parameter, Some(param));
        }
        daemon
            .post(&form().field("model", "../../etc/passwd"))
            .assert_refusal(404, "model_not_found", Some("model"));
        let many = (0..1000).fold(Form::default(), |form, n| form.field(&n.to_string(), ""));
        daemon.post(&many).assert_refusal(400, parameter, Some("0"));
        let many = (0..1025).fold(Form::default(), |form, _| form.field("keywords[]", ""));
        daemon.post(&many).assert_refusal(400, "invalid_body", None);
    });
}

#[test]
fn bodies_without_a_form_are_refused() {
    let daemon = Daemon::start("");
    let form = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    let body = form.body();
    let head = |content_type: &str, length: usize| {
        format!(
            "POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: x\r\n{content_type}Content-Length: {length}\r\n\r\n"
        )
        .into_bytes()
    };
    let with_type = |content_type: &str| {
        let mut request = head(content_type, body.len());
        request.extend(&body);
        request
    };
    let other_boundary = format!("Content-Type: {}x\r\n", content_type());
    let refused_at_once = [
        post(b""),
        head("", 0),
        post(&noise(0, 1000)),
        post(&form.unfinished()),
        post(&body[..body.len() / 2]),
        post(format!("--{BOUNDARY}\r\n\r\nno name\r\n").as_bytes()),
        with_type(""),
        with_type(&other_boundary),
        with_type("Content-Type: multipart/form-data\r\n"),
        with_type("Content-Type: multipart/form-data; boundary=\r\n"),
        with_type("Content-Type: application/json\r\n"),
        with_type("Content-Type: \u{e9}\r\n"),
    ];
    let mut cut_chunked = post_head("Transfer-Encoding: chunked\r\n");
    cut_chunked.extend(format!("{:x}\r\n", body.len()).as_bytes());
    cut_chunked.extend(&body[..body.len() / 2]);
    let mut cut = head(&format!("Content-Type: {}\r\n", content_type()), body.len());
    cut.extend(&body[..body.len() / 2]);
    assert_leaves_nothing(&daemon, || {
        for request in &refused_at_once {
            let answer = daemon.connect().send(request).answer();
            answer.assert_refusal(400, "invalid_body", None);
        }
        // The client announces more than it sends, and says that this was all.
        for request in [&cut, &cut_chunked] {
            let answer = daemon.connect().send(request).half_close().answer();
            answer.assert_refusal(400, "invalid_body", None);
        }
        // Or is simply gone.
        for request in [&cut, &cut_chunked] {
            daemon.connect().send(request);
        }
    });
}

#[test]
fn uploads_stay_out_of_the_supervisor() {
    let config = "[http]\nspool_memory = \"4M\"\nmax_upload = \"20M\"";
    let daemon = Daemon::start(config);
    let large = noise(0, 12 << 20);
    let part = |head: &str| {
        let mut body = format!("--{BOUNDARY}\r\n{head}").into_bytes();
        body.extend(&large);
        body
    };
    let mut endless = post_head("Transfer-Encoding: chunked\r\n");
    let unknown = part("Content-Disposition: form-data; name=\"colour\"\r\n\r\n").repeat(3);
    endless.extend(format!("{:x}\r\n", unknown.len()).as_bytes());
    endless.extend(unknown);
    let attacks = [
        // The boundary never comes; nor does the end of a part's head, or of a value.
        (post(&large), "invalid_body", None),
        (post(&part("X-Long: ")), "invalid_body", None),
        (
            Form::default().field("model", &large).request(),
            "invalid_parameter",
            Some("model"),
        ),
        (
            Form::default().field("colour", &large).request(),
            "invalid_parameter",
            Some("colour"),
        ),
        // A part that nobody wants, and longer than anything may be.
        (endless, "invalid_parameter", Some("colour")),
        // In memory at first, then in a file.
        (Form::of("a.wav", &large).request(), "invalid_audio", None),
    ];
    assert_good_request_works(&daemon);
    let before = peak_memory(daemon.pid());
    for (request, code, param) in attacks {
        let mut connection = daemon.connect();
        let sending = connection.send_in_background(request);
        connection.answer().assert_refusal(400, code, param);
        drop(connection);
        sending.join().unwrap();
        let grown = peak_memory(daemon.pid()) - before;
        assert!(grown < 2 << 20, "{code} {param:?}: {grown} bytes");
    }
    assert_good_request_works(&daemon);
}

#[test]
fn non_http_is_refused() {
    let daemon = Daemon::start("");
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    let lengths = "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
    let attacks: [(&[u8], u16); 9] = [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"RIFF\x24\0\0\0WAVEfmt \r\n\r\n", 400),
        (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0",
            400,
        ),
        (b"GET / HTTP/3.7\r\n\r\n", 400),
        (b"GET /\x01 HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (lengths.as_bytes(), 400),
        (long.as_bytes(), 414),
        (many.as_bytes(), 431),
    ];
    assert_leaves_nothing(&daemon, || {
        for (request, status) in attacks {
            let mut connection = daemon.connect();
            let sending = connection.send_in_background(request.to_vec());
            let answer = connection.answer();
            answer.assert_refusal(status, "invalid_http", None);
            assert_eq!(answer.header("connection"), "close");
            assert!(connection.rest().is_empty());
            sending.join().unwrap();
        }
        // A good request first, then garbage on the same connection: each gets its own answer.
        let mut connection = daemon.connect();
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01\r\n\r\n");
        assert_eq!(connection.answer().status, 200);
        connection
            .answer()
            .assert_refusal(400, "invalid_http", None);
        assert!(connection.rest().is_empty());
    });
}

#[test]
fn too_large_an_upload_is_not_read() {
    let daemon = Daemon::start("[http]\nmax_upload = \"64K\"");
    let form = |size: usize| Form::of("a.wav", &wav(&vec![0; size - 44]));
    let chunked = |body: &[u8]| {
        let mut request = post_head("Transfer-Encoding: chunked\r\n");
        for chunk in body.chunks(10_000) {
            request.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.extend(chunk);
            request.extend(b"\r\n");
        }
        request.extend(b"0\r\n\r\n");
        request
    };
    let big = form(4 << 20);
    let little_too_big = form((64 << 10) + 1);
    let attacks = [
        big.request(),
        chunked(&big.body()),
        little_too_big.request(),
        chunked(&little_too_big.body()),
    ];
    assert_leaves_nothing(&daemon, || {
        for request in &attacks {
            let mut connection = daemon.connect();
            let sending = connection.send_in_background(request.clone());
            let answer = connection.answer();
            let message = answer.assert_refusal(413, "upload_too_large", Some("file"));
            assert!(message.contains("64K"), "{message}");
            connection.rest();
            sending.join().unwrap();
        }
        // Announced, and nothing of it sent.
        let head = post_head("Content-Length: 99999999999\r\n");
        let answer = daemon.connect().send(&head).answer();
        answer.assert_refusal(413, "upload_too_large", Some("file"));
    });
    // Exactly at the limit it is accepted: two seconds of silence have no words.
    for request in [form(64 << 10).request(), chunked(&form(64 << 10).body())] {
        assert_eq!(daemon.connect().send(&request).answer().text(), "");
    }
}

/// Sends the head of an upload that is too large, goes on with its body when the refusal is there,
/// and looks for it only then: all that was answered.
fn refused_while_sending(mut connection: impl Read + Write) -> String {
    let head = post_head("Content-Length: 99999999999\r\n");
    connection.write_all(&head).unwrap();
    let mut answer = vec![0];
    connection.read_exact(&mut answer).unwrap();
    for _ in 0..50 {
        connection.write_all(&[0; 1000]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    connection.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_sender_gets_to_read_its_refusal() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp: SocketAddr = free.local_addr().unwrap();
    drop(free);
    let daemon = Setup::new("[http]\nmax_upload = \"64K\"")
        .listen(&tcp.to_string())
        .start();
    let answers = [
        refused_while_sending(daemon.connect().0),
        refused_while_sending(TcpStream::connect(tcp).unwrap()),
    ];
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.ends_with("}}"), "{answer}");
    }
    // A client that never stops sending is cut off.
    let mut connection = daemon.connect();
    connection.send(&post_head("Content-Length: 99999999999\r\n"));
    let started = Instant::now();
    while connection.0.write_all(&[0; 1000]).is_ok() {
        assert!(started.elapsed() < LONG, "still listened to");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(started.elapsed() < LONG, "it neither reads nor hangs up");
    assert_good_request_works(&daemon);
}

#[test]
fn a_stalled_body_is_given_up() {
    let daemon = Daemon::start("[http]\nbody_timeout = \"1s\"");
    let request = Form::of("a.wav", &TEN_OF_CLUBS.wav()).request();
    let head_end = request.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    // Without the end of the closing boundary.
    let (rest, last) = request.split_at(request.len() - 5);
    assert_leaves_nothing(&daemon, || {
        // Before the first byte of the body, in the middle, and before its end.
        for part in [&request[..head_end], &request[..5000], rest] {
            let begin = Instant::now();
            let mut connection = daemon.connect();
            let answer = connection.send(part).answer();
            assert!(begin.elapsed() >= Duration::from_secs(1));
            let message = answer.assert_refusal(408, "body_timeout", None);
            assert!(message.contains("for 1 s"), "{message}");
            assert_eq!(answer.header("connection"), "close");
            connection.rest();
        }
    });
    // A slow client that does not pause so long is served.
    let mut connection = daemon.connect();
    for piece in rest.chunks(rest.len() / 10) {
        connection.send(piece);
        std::thread::sleep(Duration::from_millis(150));
    }
    assert_eq!(connection.send(last).answer().text(), TEN_OF_CLUBS.text);
}

#[test]
fn a_stalled_head_is_given_up() {
    let daemon = Daemon::start("[http]\nheader_timeout = \"1s\"");
    let head = post_head("Content-Length: 100\r\n");
    assert_leaves_nothing(&daemon, || {
        for part in [&head[..1], &head[..head.len() - 1]] {
            let begin = Instant::now();
            let mut connection = daemon.connect();
            let answer = connection.send(part).answer();
            assert!(begin.elapsed() >= Duration::from_secs(1));
            answer.assert_refusal(408, "header_timeout", None);
            assert_eq!(answer.header("connection"), "close");
            assert!(connection.rest().is_empty());
        }
        // A client that has said nothing at all, or nothing more, gets no answer.
        assert!(daemon.connect().rest().is_empty());
        let mut connection = daemon.connect();
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(connection.answer().status, 200);
        assert!(connection.rest().is_empty());
    });
}

#[test]
fn idle_connections_disturb_nobody() {
    let daemon = Daemon::start("[http]\nmax_connections = 20\nheader_timeout = \"1s\"");
    let idle: Vec<_> = (0..19).map(|_| daemon.connect()).collect();
    assert_good_request_works(&daemon);
    drop(idle);
    // More than are served at once: the others wait, until those that say nothing are sent away.
    let begin = Instant::now();
    let mut idle: Vec<_> = (0..50).map(|_| daemon.connect()).collect();
    assert_good_request_works(&daemon);
    assert!(
        begin.elapsed() >= Duration::from_secs(1),
        "50 were served at once"
    );
    for connection in &mut idle {
        assert!(connection.rest().is_empty());
    }
    assert_leaves_nothing(&daemon, || {
        let idle: Vec<_> = (0..15).map(|_| daemon.connect()).collect();
        assert_good_request_works(&daemon);
        drop(idle);
    });
}

/// Send byte by byte until nobody reads any more, one byte in each `pause`.
fn trickle(connection: &Raw, bytes: Vec<u8>, pause: Duration) -> JoinHandle<()> {
    let mut stream = connection.0.try_clone().unwrap();
    std::thread::spawn(move || {
        for byte in bytes {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(pause);
        }
    })
}

#[test]
fn a_trickling_body_is_given_up() {
    let http = "[http]\nbody_timeout = \"2s\"\nbody_min_rate = \"10K\"";
    let daemon = Daemon::start(http);
    let body = noise(0, 100_000);
    let begin = Instant::now();
    let mut connection = daemon.connect();
    connection.send(&post_head("Content-Length: 100000\r\n"));
    connection.send(format!("--{BOUNDARY}\r\n").as_bytes());
    // Some 50 bytes a second, and never a pause of two seconds.
    let sending = trickle(&connection, body, Duration::from_millis(20));
    let answer = connection.answer();
    let message = answer.assert_refusal(408, "body_timeout", None);
    assert!(message.contains("10K a second"), "{message}");
    assert_eq!(answer.header("connection"), "close");
    assert!(begin.elapsed() >= Duration::from_secs(2));
    println!("given up after {:?}", begin.elapsed());
    drop(connection);
    sending.join().unwrap();
}

#[test]
fn slow_clients_delay_nobody() {
    let daemon = Daemon::start("[http]\nheader_timeout = \"6s\"\nbody_timeout = \"6s\"");
    let form = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    let head = post_head(&format!("Content-Length: {}\r\n", form.body().len()));
    let begin = Instant::now();
    let mut silent: Vec<Raw> = (0..200).map(|_| daemon.connect()).collect();
    let second = Duration::from_secs(1);
    let mut in_head = daemon.connect();
    let mut in_body = daemon.connect();
    in_body.send(&head);
    let sending = [
        trickle(&in_head, head, second),
        trickle(&in_body, form.body(), second),
    ];
    let stats = || daemon.get("/v1/stats").json();
    let total = stats()["total"].clone();
    assert_eq!(
        (&total["running"], &total["queued"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(stats()["clients"], json!([]));
    for _ in 0..3 {
        let begin = Instant::now();
        assert_good_request_works(&daemon);
        println!("answered after {:?}", begin.elapsed());
    }
    in_head.answer().assert_refusal(408, "header_timeout", None);
    in_body.answer().assert_refusal(408, "body_timeout", None);
    for connection in &mut silent {
        assert!(connection.rest().is_empty());
    }
    println!("all are gone after {:?}", begin.elapsed());
    drop((in_head, in_body));
    for sending in sending {
        sending.join().unwrap();
    }
}
