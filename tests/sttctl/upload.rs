//! The client as a user runs it: the real program against real servers, well-behaved and not.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use nix::sys::socket::{Backlog, listen};
use tempfile::TempDir;

/// One upload as the server's multipart parser saw it.
#[derive(Clone, Debug, Default)]
struct Upload {
    content_length: Option<u64>,
    received: u64,
    /// Text fields in the order of their arrival.
    fields: Vec<(String, String)>,
    file_name: Option<String>,
    media_type: Option<String>,
    file: Bytes,
}

/// A server on a Unix socket in a directory of its own, which also holds the files to upload.
struct Server {
    dir: TempDir,
    uploads: Arc<Mutex<Vec<Upload>>>,
}

impl Server {
    /// Serves HTTP; `answer` is given each complete upload, and its number from 0.
    fn new(answer: impl Fn(usize, &Upload) -> Response + Clone + Send + Sync + 'static) -> Server {
        let server = Server {
            dir: TempDir::new().unwrap(),
            uploads: Arc::default(),
        };
        let uploads = server.uploads.clone();
        let listener = server.listen();
        listener.set_nonblocking(true).unwrap();
        let app = Router::new().fallback(move |request: Request| async move {
            let upload = match request.uri().path() {
                "/v1/models" => Upload::default(),
                "/v1/audio/transcriptions" => parse(request).await,
                other => panic!("{other}"),
            };
            let number = {
                let mut uploads = uploads.lock().unwrap();
                uploads.push(upload.clone());
                uploads.len() - 1
            };
            answer(number, &upload)
        });
        run_in_thread(async move {
            let listener = tokio::net::UnixListener::from_std(listener).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
        server
    }

    /// Serves one connection after the other with `serve`, as badly as it likes.
    fn raw(serve: impl Fn(UnixStream) + Send + 'static) -> Server {
        let server = Server {
            dir: TempDir::new().unwrap(),
            uploads: Arc::default(),
        };
        let listener = server.listen();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                serve(connection.unwrap());
            }
        });
        server
    }

    fn listen(&self) -> UnixListener {
        UnixListener::bind(self.socket()).unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("http.sock")
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs `sttctl` in the directory of the files.
    fn sttctl(&self, arguments: &[&str]) -> Outcome {
        sttctl(self.dir.path(), &self.socket().to_string_lossy(), arguments)
    }

    fn uploads(&self) -> Vec<Upload> {
        self.uploads.lock().unwrap().clone()
    }
}

fn run_in_thread(future: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    std::thread::spawn(move || runtime.block_on(future));
}

async fn parse(request: Request) -> Upload {
    let (head, body) = request.into_parts();
    let header = |name| Some(head.headers.get(name)?.to_str().unwrap().to_owned());
    let boundary = multer::parse_boundary(header("content-type").unwrap()).unwrap();
    let mut upload = Upload {
        content_length: header("content-length").map(|length| length.parse().unwrap()),
        ..Upload::default()
    };
    let chunked = upload.content_length.is_none();
    assert_eq!(header("transfer-encoding").is_some(), chunked);
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    upload.received = body.len() as u64;
    let body = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
    let mut parts = multer::Multipart::new(body, boundary);
    while let Some(part) = parts.next_field().await.unwrap() {
        let name = part.name().unwrap().to_owned();
        if name == "file" {
            upload.file_name = part.file_name().map(str::to_owned);
            upload.media_type = part.content_type().map(ToString::to_string);
            upload.file = part.bytes().await.unwrap();
        } else {
            upload.fields.push((name, part.text().await.unwrap()));
        }
    }
    upload
}

/// The outcome of a run of the program.
#[derive(Debug)]
struct Outcome {
    status: i32,
    out: String,
    err: String,
}

fn sttctl(dir: &Path, socket: &str, arguments: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_sttctl"))
        .args(arguments)
        .env("STT_ISOLATED_SOCKET", socket)
        .current_dir(dir)
        .output()
        .unwrap();
    outcome(output)
}

fn outcome(output: Output) -> Outcome {
    Outcome {
        status: output.status.code().expect("ended by a signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[track_caller]
fn assert_outcome(outcome: &Outcome, status: i32, out: &str, err: &str) {
    assert_eq!(
        (outcome.status, outcome.out.as_str(), outcome.err.as_str()),
        (status, out, err)
    );
}

fn text(text: &str) -> Response {
    Response::new(Body::from(text.to_owned()))
}

/// An error in the API's shape, with more headers than the identifier if wanted.
fn refusal(status: u16, code: &str, message: &str, headers: &[(&str, &str)]) -> Response {
    let body = serde_json::json!({"error": {
        "message": message, "type": "invalid_request_error", "param": null, "code": code,
    }});
    let mut response = Response::builder()
        .status(status)
        .header("x-request-id", "req-1");
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from(body.to_string())).unwrap()
}

/// Bytes in which no part is like another.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    next.flatten().take(length).collect()
}

/// Reads from a connection up to the end of the request's head.
fn read_head(connection: &mut UnixStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
}

#[test]
fn a_file_arrives_intact_with_its_fields() {
    let server = Server::new(|_, _| text("go forward"));
    let content = noise(3_000_001);
    server.file("a.wav", &content);
    let outcome = server.sttctl(&["transcribe", "a.wav", "--model", "tiny", "--language", "en"]);
    assert_outcome(&outcome, 0, "go forward\n", "");
    let [upload] = &server.uploads()[..] else {
        panic!("one upload")
    };
    assert_eq!(upload.content_length, Some(upload.received));
    assert_eq!(upload.file_name.as_deref(), Some("a.wav"));
    assert!(upload.file == content, "the content differs");
    let fields = [
        ("model", "tiny"),
        ("language", "en"),
        ("response_format", "text"),
    ];
    assert_eq!(
        upload.fields,
        fields.map(|(name, value)| (name.into(), value.into()))
    );
}

#[test]
fn options_not_given_are_not_sent() {
    let server = Server::new(|_, _| text("go\n"));
    server.file("a.wav", b"RIFF");
    assert_outcome(&server.sttctl(&["transcribe", "a.wav"]), 0, "go\n", "");
    let fields = &server.uploads()[0].fields;
    assert_eq!(fields, &[("response_format".to_owned(), "text".to_owned())]);
}

#[test]
fn speakers_are_asked_for_as_the_api_names_them() {
    let server = Server::new(|_, _| text("{}"));
    server.file("a.wav", b"RIFF");
    let outcome = server.sttctl(&[
        "transcribe",
        "--format=diarized_json",
        "--speakers=channels",
        "--speaker-name=agent",
        "--speaker-name=customer",
        "a.wav",
    ]);
    assert_outcome(&outcome, 0, "{}\n", "");
    let fields = [
        ("response_format", "diarized_json"),
        ("speakers", "channels"),
        ("known_speaker_names[]", "agent"),
        ("known_speaker_names[]", "customer"),
    ];
    assert_eq!(
        server.uploads()[0].fields,
        fields.map(|(name, value)| (name.into(), value.into()))
    );
}

#[test]
fn names_cannot_forge_lines() {
    let server = Server::new(|_, _| text("go"));
    let forger = "a.wav: forged\nb\u{1b}[31m\u{202e}.wav";
    server.file(forger, b"RIFF");
    let broken = OsStr::from_bytes(b"-\xff\\.wav");
    fs::write(server.dir.path().join(broken), b"RIFF").unwrap();
    let run = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_sttctl"))
            .arg("transcribe")
            .args(more)
            .args(["--", forger])
            .arg(broken)
            .env("STT_ISOLATED_SOCKET", server.socket())
            .current_dir(server.dir.path())
            .output()
            .unwrap();
        outcome(output)
    };
    let [forger_shown, broken_shown] = [r"a.wav: forged\nb\u001b[31m\u202e.wav", r"-\xff\\.wav"];
    let plain = format!("{forger_shown}: go\n{broken_shown}: go\n");
    assert_outcome(&run(&[]), 0, &plain, "");
    let srt = format!("==> {forger_shown} <==\ngo\n==> {broken_shown} <==\ngo\n");
    assert_outcome(&run(&["--format", "srt"]), 0, &srt, "");
    assert_outcome(&run(&["--output", "texts"]), 0, "", "");
    let texts = server.dir.path().join("texts");
    let names = fs::read_dir(texts)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let names: BTreeSet<OsString> = names.collect();
    let forger_txt = forger.strip_suffix("wav").unwrap().to_owned() + "txt";
    let broken_txt = OsStr::from_bytes(b"-\xff\\.txt").to_owned();
    assert_eq!(names, BTreeSet::from([forger_txt.into(), broken_txt]));
    // Now both results are there already.
    let refused = run(&["--output", "texts"]);
    assert_eq!(refused.status, 1);
    let lines: Vec<&str> = refused.err.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with(&format!("sttctl: {forger_shown}: texts/a.wav: forged\\nb")));
    let summary = format!("sttctl: 0 transcribed, 2 failed ({forger_shown}, {broken_shown})");
    assert_eq!(lines[2], summary);
    assert!(!refused.err.contains(|c: char| c.is_control() && c != '\n'));
}

#[test]
fn json_is_printed_as_it_came() {
    let server = Server::new(|_, _| text(r#"{"text":"go: \"forward\""}"#));
    server.file("a.wav", b"RIFF");
    let outcome = server.sttctl(&["transcribe", "--format", "json", "a.wav"]);
    assert_outcome(&outcome, 0, "{\"text\":\"go: \\\"forward\\\"\"}\n", "");
    assert_eq!(server.uploads()[0].fields[0].1, "json");
}

#[test]
fn special_names_are_sent_as_by_browsers() {
    let server = Server::new(|_, _| text("go"));
    let names = [
        (
            "quote\" back\\ semi; name=x.wav",
            "quote%22 back%5C semi; name=x.wav",
        ),
        ("line\r\nX-Evil: 1\t.wav", "line%0D%0AX-Evil: 1%09.wav"),
        ("ünï 音声 100%.wav", "ünï 音声 100%.wav"),
        ("ends in a backslash\\", "ends in a backslash%5C"),
    ];
    for (name, _) in names {
        server.file(name, b"RIFF");
        assert_outcome(&server.sttctl(&["transcribe", name]), 0, "go\n", "");
    }
    for (upload, (_, sent)) in server.uploads().iter().zip(names) {
        assert_eq!(upload.file_name.as_deref(), Some(sent));
        assert_eq!(&upload.file[..], b"RIFF");
        assert_eq!(upload.fields.len(), 1);
    }
}

#[test]
fn only_the_last_part_of_a_path_is_sent() {
    let server = Server::new(|_, _| text("go"));
    let path = server.file("a.wav", b"RIFF");
    server.sttctl(&["transcribe", path.to_str().unwrap()]);
    assert_eq!(server.uploads()[0].file_name.as_deref(), Some("a.wav"));
}

#[test]
fn a_failing_file_stops_no_other() {
    let server = Server::new(|number, _| match number {
        1 => refusal(400, "invalid_audio", "this is not audio", &[]),
        number => text(&format!("text {number}\nmore\n")),
    });
    for name in ["a.wav", "b.wav", "c.wav"] {
        server.file(name, b"RIFF");
    }
    let outcome = server.sttctl(&["transcribe", "a.wav", "b.wav", "c.wav"]);
    assert_outcome(
        &outcome,
        1,
        "a.wav: text 0\na.wav: more\nc.wav: text 2\nc.wav: more\n",
        "sttctl: b.wav: this is not audio (code invalid_audio, request req-1)\n\
         sttctl: 2 transcribed, 1 failed (b.wav)\n",
    );
}

#[test]
fn an_empty_file_and_text_are_fine() {
    let server = Server::new(|_, _| text(""));
    server.file("a.wav", b"");
    assert_outcome(&server.sttctl(&["transcribe", "a.wav"]), 0, "\n", "");
    let uploads = server.uploads();
    assert_eq!(uploads[0].file_name.as_deref(), Some("a.wav"));
    assert!(uploads[0].file.is_empty());
}

#[test]
fn only_regular_files_are_sent() {
    let server = Server::new(|_, _| text("go"));
    fs::create_dir(server.dir.path().join("folder")).unwrap();
    nix::unistd::mkfifo(
        &server.dir.path().join("pipe"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();
    let outcome = server.sttctl(&["transcribe", "missing.wav", "folder", "pipe", "/dev/null"]);
    assert_outcome(
        &outcome,
        1,
        "",
        "sttctl: missing.wav: cannot read: No such file or directory (os error 2)\n\
         sttctl: folder: no audio in this folder: looked for names that end in 3gp, aac, aif, aifc, aiff, amr, \
         au, avi, awb, caf, flac, flv, gsm, m2ts, m4a, m4b, mka, mkv, mov, mp2, mp3, mp4, mpeg, mpg, mts, nist, \
         oga, ogg, opus, rf64, snd, sph, ts, voc, vob, w64, wav, wave, webm, weba\n\
         sttctl: pipe: a pipe, not a regular file: give it as standard input (sttctl transcribe - < PIPE)\n\
         sttctl: /dev/null: a device, not a regular file\n\
         sttctl: 0 transcribed, 4 failed (missing.wav, folder, pipe, /dev/null)\n",
    );
    assert!(server.uploads().is_empty());
}

const TOO_LARGE: &str = "HTTP/1.1 413 Payload Too Large\r\nx-request-id: req-9\r\nx-should-retry: false\r\n\
    connection: close\r\ncontent-length: 64\r\n\r\n\
    {\"error\":{\"message\":\"at most 25 MiB\",\"code\":\"upload_too_large\"}}";

const TOO_LARGE_SHOWN: &str =
    "sttctl: big.wav: at most 25 MiB (code upload_too_large, request req-9)\n";

#[test]
fn an_early_answer_is_read() {
    // Hang up at once, with megabytes on their way.
    let closing = Server::raw(|mut connection| {
        read_head(&mut connection);
        connection.write_all(TOO_LARGE.as_bytes()).unwrap();
    });
    // Stay, but read no more.
    let deaf = Server::raw(|mut connection| {
        read_head(&mut connection);
        connection.write_all(TOO_LARGE.as_bytes()).unwrap();
        std::mem::forget(connection);
    });
    // Read some, then answer slowly and hang up.
    let slow = Server::raw(|mut connection| {
        connection.read_exact(&mut vec![0; 5_000_000]).unwrap();
        for part in TOO_LARGE.as_bytes().chunks(50) {
            connection.write_all(part).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    for server in [closing, deaf, slow] {
        let file = fs::File::create(server.dir.path().join("big.wav")).unwrap();
        file.set_len(50 << 20).unwrap();
        for _ in 0..5 {
            let outcome = server.sttctl(&["transcribe", "big.wav"]);
            assert_outcome(&outcome, 1, "", TOO_LARGE_SHOWN);
        }
    }
}

#[test]
fn an_early_answer_is_read_over_tcp_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            connection.read_exact(&mut [0; 1000]).unwrap();
            connection.write_all(TOO_LARGE.as_bytes()).unwrap();
        }
    });
    let dir = TempDir::new().unwrap();
    let file = fs::File::create(dir.path().join("big.wav")).unwrap();
    file.set_len(50 << 20).unwrap();
    for socket in [format!("tcp:{address}"), format!("http://{address}/")] {
        let outcome = sttctl(
            dir.path(),
            "/nowhere",
            &["transcribe", "--socket", &socket, "big.wav"],
        );
        assert_outcome(&outcome, 1, "", TOO_LARGE_SHOWN);
    }
}

#[test]
fn a_full_server_is_asked_again_later() {
    let server = Server::new(|number, _| match number {
        0 => refusal(
            429,
            "queue_full",
            "the queue is full",
            &[("retry-after", "1")],
        ),
        _ => text("go"),
    });
    let content = noise(300_000);
    server.file("a.wav", &content);
    let start = Instant::now();
    let outcome = server.sttctl(&["transcribe", "a.wav"]);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_outcome(
        &outcome,
        0,
        "go\n",
        "sttctl: a.wav: the queue is full (code queue_full, request req-1); trying again in 1 s\n",
    );
    let uploads = server.uploads();
    assert_eq!(uploads.len(), 2);
    assert!(uploads.iter().all(|upload| upload.file == content));
}

#[test]
fn standard_input_is_sent_only_once() {
    let server = Server::new(|_, _| {
        refusal(
            429,
            "queue_full",
            "the queue is full",
            &[("retry-after", "0")],
        )
    });
    let content = noise(300_001);
    let path = server.file("a.raw", &content);
    let output = Command::new(env!("CARGO_BIN_EXE_sttctl"))
        .args(["transcribe", "--raw", "rate=8000", "-"])
        .env("STT_ISOLATED_SOCKET", server.socket())
        .stdin(fs::File::open(path).unwrap())
        .output()
        .unwrap();
    assert_outcome(
        &outcome(output),
        1,
        "",
        "sttctl: standard input: the queue is full (code queue_full, request req-1)\n",
    );
    let [upload] = &server.uploads()[..] else {
        panic!("one upload")
    };
    assert_eq!(upload.content_length, None);
    assert_eq!(
        upload.media_type.as_deref(),
        Some("audio/pcm;encoding=s16le;rate=8000;channels=1")
    );
    assert!(upload.file == content, "the content differs");
}

#[test]
fn a_full_server_is_asked_three_times() {
    let server = Server::new(|_, _| {
        refusal(
            503,
            "shutting_down",
            "the service is stopping",
            &[("retry-after", "0")],
        )
    });
    server.file("a.wav", b"RIFF");
    let outcome = server.sttctl(&["transcribe", "a.wav"]);
    let line = "sttctl: a.wav: the service is stopping (code shutting_down, request req-1)";
    let expected = format!("{line}; trying again in 0 s\n{line}; trying again in 0 s\n{line}\n");
    assert_outcome(&outcome, 1, "", &expected);
    assert_eq!(server.uploads().len(), 3);
}

#[test]
fn final_refusals_are_not_retried() {
    let cases: [(u16, &[(&str, &str)]); 5] = [
        (429, &[("retry-after", "0"), ("x-should-retry", "false")]),
        (429, &[]),
        (429, &[("retry-after", "86400")]),
        (503, &[("retry-after", "soon")]),
        (502, &[("retry-after", "0")]),
    ];
    for (status, headers) in cases {
        let server = Server::new(move |_, _| refusal(status, "some_code", "no", headers));
        server.file("a.wav", b"RIFF");
        let outcome = server.sttctl(&["transcribe", "a.wav"]);
        let expected = "sttctl: a.wav: no (code some_code, request req-1)\n";
        assert_outcome(&outcome, 1, "", expected);
        assert_eq!(server.uploads().len(), 1);
    }
}

#[test]
fn a_missing_server_is_named_with_advice() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a.wav"), b"RIFF").unwrap();
    let hint = "is the service's socket up? Try: systemctl start stt-isolated.socket\n";

    let outcome = sttctl(dir.path(), "missing.sock", &["transcribe", "a.wav"]);
    let expected =
        format!("sttctl: a.wav: missing.sock: No such file or directory (os error 2); {hint}");
    assert_outcome(&outcome, 1, "", &expected);

    drop(UnixListener::bind(dir.path().join("dead.sock")).unwrap());
    let outcome = sttctl(dir.path(), "dead.sock", &["models"]);
    let expected = format!("sttctl: dead.sock: Connection refused (os error 111); {hint}");
    assert_outcome(&outcome, 1, "", &expected);

    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let outcome = sttctl(dir.path(), &format!("tcp:{free}"), &["models"]);
    let expected = format!("sttctl: cannot connect to {free}: Connection refused (os error 111)\n");
    assert_outcome(&outcome, 1, "", &expected);
}

#[test]
fn a_closed_socket_is_named_with_its_group() {
    if !nix::unistd::geteuid().is_root() {
        // Only root can start the program as somebody whom the socket refuses.
        return;
    }
    let server = Server::new(|_, _| text("go"));
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(server.dir.path(), open).unwrap();
    fs::set_permissions(server.socket(), fs::Permissions::from_mode(0o660)).unwrap();
    // The build directory may be closed to others. A child copies the program, since a descriptor
    // open for writing in this process could be inherited by another test's child and make the
    // program "busy".
    let program = server.dir.path().join("sttctl");
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_sttctl"))
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let output = Command::new(&program)
        .args(["models", "--socket", "http.sock"])
        .current_dir(server.dir.path())
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    assert_outcome(
        &outcome(output),
        1,
        "",
        "sttctl: http.sock: Permission denied (os error 13); only the group that owns the socket (root) \
         may use it: become a member and log in again\n",
    );
}

#[test]
fn an_answer_that_breaks_off_is_an_error() {
    let cases = [
        (
            "",
            "the server closed the connection without a complete answer",
        ),
        (
            "HTTP/1.1 200 OK\r\nconte",
            "the server closed the connection without a complete answer",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ngo forw",
            "the server closed the connection in the middle of its answer",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\ngo forw\r\n",
            "the server closed the connection in the middle of its answer",
        ),
        (
            "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 100\r\n\r\n{\"err",
            "the server gave no reason (HTTP 500 Internal Server Error)",
        ),
    ];
    for (answer, expected) in cases {
        let server = Server::raw(move |mut connection| {
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.ends_with(b"--\r\n") {
                let count = connection.read(&mut buffer).unwrap();
                assert_ne!(count, 0);
                request.extend_from_slice(&buffer[..count]);
            }
            connection.write_all(answer.as_bytes()).unwrap();
        });
        server.file("a.wav", b"RIFF");
        let outcome = server.sttctl(&["transcribe", "a.wav"]);
        assert_outcome(&outcome, 1, "", &format!("sttctl: a.wav: {expected}\n"));
    }
}

#[test]
fn a_hang_up_during_the_upload_fails() {
    let server = Server::raw(|mut connection| read_head(&mut connection));
    server.file("a.wav", &vec![0; 10 << 20]);
    let outcome = server.sttctl(&["transcribe", "a.wav"]);
    let expected = "sttctl: a.wav: the server closed the connection without a complete answer\n";
    assert_outcome(&outcome, 1, "", expected);
}

#[test]
fn a_file_that_shrinks_meanwhile_fails() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("big.wav");
    let file = fs::File::create(&path).unwrap();
    file.set_len(50 << 20).unwrap();
    let server = Server::raw(move |mut connection| {
        connection.read_exact(&mut [0; 1000]).unwrap();
        file.set_len(1 << 20).unwrap();
        std::io::copy(&mut connection, &mut std::io::sink()).unwrap();
    });
    let outcome = server.sttctl(&["transcribe", path.to_str().unwrap()]);
    let reason = "cannot read: it became shorter while it was sent";
    assert_outcome(
        &outcome,
        1,
        "",
        &format!("sttctl: {}: {reason}\n", path.display()),
    );
}

#[test]
fn a_full_backlog_is_waited_for() {
    let server = Server {
        dir: TempDir::new().unwrap(),
        uploads: Arc::default(),
    };
    let listener = server.listen();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let first = UnixStream::connect(server.socket()).unwrap();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        listener.accept().unwrap();
        let mut connection = listener.accept().unwrap().0;
        read_head(&mut connection);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"data\":[]}";
        connection.write_all(answer).unwrap();
    });
    assert_outcome(&server.sttctl(&["models", "-q"]), 0, "", "");
    drop(first);
}

#[test]
fn non_http_is_an_error() {
    let server = Server::raw(|mut connection| {
        read_head(&mut connection);
        connection.write_all(b"{\"type\":\"describe\"}\n").unwrap();
    });
    let outcome = server.sttctl(&["models", "-q"]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.err.contains("does not speak HTTP"), "{outcome:?}");
}

#[test]
fn an_endless_answer_is_cut_off() {
    let server = Server::raw(|mut connection| {
        read_head(&mut connection);
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while connection.write_all(&[b'x'; 1 << 16]).is_ok() {}
    });
    let outcome = server.sttctl(&["models", "-q"]);
    let expected = "sttctl: the server's answer is longer than 64 MiB\n";
    assert_outcome(&outcome, 1, "", expected);
}

#[test]
fn foreign_errors_lose_control_characters() {
    let server = Server::new(|_, _| {
        let body = Body::from("<h1>Bad\ngateway</h1>\u{1b}[2J");
        Response::builder().status(502).body(body).unwrap()
    });
    server.file("a\u{1b}[31m.wav", b"RIFF");
    let outcome = server.sttctl(&["transcribe", "a\u{1b}[31m.wav"]);
    let expected =
        "sttctl: a\\u001b[31m.wav: <h1>Bad gateway</h1>\u{fffd}[2J (HTTP 502 Bad Gateway)\n";
    assert_outcome(&outcome, 1, "", expected);
}

#[test]
fn verbose_shows_figures() {
    let figures = [
        ("x-stt-isolation", "process"),
        ("x-stt-peak-bytes", "12582912"),
        ("x-stt-anon-bytes", "1024"),
        ("x-stt-memory-limit-bytes", "536870912"),
        ("x-stt-cpu-ms", "410"),
        ("x-stt-queue-ms", "0.3"),
        ("x-stt-wall-ms", "1500"),
        ("x-stt-pid", "4242"),
    ];
    let server = Server::new(move |number, _| match number {
        0 => refusal(507, "memory_limit_exceeded", "out of memory", &figures),
        _ => text("go"),
    });
    server.file("a.wav", b"RIFF");
    server.file("b.wav", b"RIFF");
    let outcome = server.sttctl(&["transcribe", "-v", "a.wav", "b.wav"]);
    assert_outcome(
        &outcome,
        1,
        "b.wav: go\n",
        "sttctl: a.wav: request req-1, isolation process, peak 12.00 MiB, anon 1.00 KiB, limit 512.00 MiB, \
         cpu 0.410 s, queue 0.000 s, wall 1.500 s, pid 4242\n\
         sttctl: a.wav: out of memory (code memory_limit_exceeded, request req-1)\n\
         sttctl: b.wav: no figures in the answer\n\
         sttctl: 1 transcribed, 1 failed (a.wav)\n",
    );
}

#[test]
fn a_time_limit_ends_the_wait() {
    let server = Server::raw(std::mem::forget);
    server.file("a.wav", b"RIFF");
    let outcome = server.sttctl(&["transcribe", "--timeout", "200ms", "a.wav"]);
    assert_outcome(&outcome, 1, "", "sttctl: a.wav: no result within 200ms\n");
}

#[test]
fn models_are_listed_by_name_or_as_json() {
    let list = r#"{"object":"list","data":[{"id":"tiny","object":"model"},{"id":"en-us"}]}"#;
    let server = Server::new(move |_, _| text(list));
    for quiet in ["--quiet", "-q"] {
        assert_outcome(&server.sttctl(&["models", quiet]), 0, "tiny\nen-us\n", "");
    }
    assert_outcome(
        &server.sttctl(&["models", "--json"]),
        0,
        &format!("{list}\n"),
        "",
    );

    let server = Server::new(|_, _| text("hello"));
    let outcome = server.sttctl(&["models", "--quiet"]);
    assert_eq!((outcome.status, outcome.out.as_str()), (1, ""));
    assert!(outcome.err.contains("makes no sense"), "{outcome:?}");
}

#[test]
fn a_closed_standard_output_is_an_error() {
    let server = Server::new(|_, _| text("go"));
    server.file("a.wav", b"RIFF");
    let output = Command::new(env!("CARGO_BIN_EXE_sttctl"))
        .args(["transcribe", "a.wav"])
        .env("STT_ISOLATED_SOCKET", server.socket())
        .current_dir(server.dir.path())
        .stdout(fs::File::options().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    let expected = "sttctl: cannot write the result: No space left on device (os error 28)\n";
    assert_outcome(&outcome(output), 1, "", expected);
}

#[test]
fn a_wrong_command_line_is_status_2() {
    let dir = TempDir::new().unwrap();
    for arguments in [
        &["transcribe"][..],
        &["transcribe", "a.wav", "--format", "xml"],
        &["transcribe", "a.wav", "--timeout", "soon"],
        &["transcribe", "a.wav", "--raw", "S24_LE"],
        &["transcribe", "a.wav", "--jobs", "0"],
        &["transcribe", "a.wav", "--stream", "--format", "srt"],
        &["transcribe", "a.wav", "--stream", "--output", "texts"],
        &["transcribe", "a.wav", "--translate", "--language", "de"],
        &["transcribe", "-", "a.wav", "-"],
        &["models", "--socket", "https://localhost"],
        &["models", "--quiet", "--json"],
        &["model"],
        &[],
    ] {
        let outcome = sttctl(dir.path(), "x.sock", arguments);
        assert_eq!(outcome.status, 2, "{arguments:?}: {outcome:?}");
    }
}
