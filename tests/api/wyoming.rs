//! Wyoming through the real daemon, on real speech: good clients, hostile ones, and the protocol's
//! own library.

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::common::{
    LONG,
    clips::{CLIPS, GOFORWARD, TEN_OF_CLUBS},
    daemon::{Daemon, Setup},
    process, wait_until,
    wyoming::{Client, chunk, event, plain, request, start, stop},
};
use nix::sys::signal::Signal::SIGTERM;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A daemon with a second socket.
struct Served {
    daemon: Daemon,
    folder: TempDir,
}

impl Served {
    fn start(config: &str) -> Served {
        let mut served = Served::launch(config);
        served.daemon.wait_ready();
        served
    }

    /// Its models are still loading.
    fn launch(config: &str) -> Served {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("wyoming.sock");
        let setup = Setup::new(config).listen_as("wyoming", socket.to_str().unwrap());
        Served {
            daemon: setup.launch(),
            folder,
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("wyoming.sock")
    }

    fn connect(&self) -> Client {
        Client::connect(&self.socket())
    }

    fn running(&self) -> u64 {
        let stats = self.daemon.get("/v1/stats").json();
        stats["total"]["running"].as_u64().unwrap()
    }
}

#[test]
fn the_service_describes_itself() {
    let served = Served::start("");
    let mut client = served.connect();
    let info = client
        .send(&event("describe", Value::Null, b""))
        .expect("info");
    let program = &info["asr"][0];
    assert_eq!(program["installed"], true);
    assert_eq!(program["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(program["supports_transcript_streaming"], true);
    let expected = json!([{
        "name": "default",
        "description": "pocketsphinx",
        "attribution": {"name": "CMU Sphinx", "url": "https://cmusphinx.github.io"},
        "installed": true,
        "version": null,
        "languages": ["en"],
    }]);
    assert_eq!(program["models"], expected);
    client.send(&event("ping", json!({"text": "x"}), b""));
    assert_eq!(client.expect("pong"), json!({"text": "x"}));
}

#[test]
fn recordings_in_a_row_are_heard() {
    let served = Served::start("");
    let mut client = served.connect();
    for clip in CLIPS {
        client.send(&request(json!({"language": "en"}), &clip.samples()));
        let transcript = client.transcript();
        assert_eq!(transcript, json!({"text": clip.text, "language": "en"}));
    }
    // Two at once, with something between them that nobody knows, and questions that need no job.
    let wish = json!({"name": "whisper-1", "context": {"a": 1}, "vad_sensitivity": "relaxed"});
    client
        .send(&request(wish, &TEN_OF_CLUBS.samples()))
        .send(&event(
            "select-program",
            json!({"name": "x"}),
            &[7; 100_000],
        ))
        .send(&request(json!({}), &GOFORWARD.samples()))
        .send(&event("ping", Value::Null, b""));
    let transcript = client.transcript();
    assert_eq!(
        transcript,
        json!({"text": TEN_OF_CLUBS.text, "language": "en"})
    );
    assert_eq!(client.text(), GOFORWARD.text);
    assert_eq!(client.expect("pong"), json!({"text": null}));
}

#[test]
fn clients_may_say_it_in_other_ways() {
    let served = Served::start("");
    let samples = TEN_OF_CLUBS.samples();
    let length = samples.len();
    // All data in the header, everything in one chunk.
    let inline = |kind: &str, more: &str| {
        let data = "\"data\":{\"rate\":16000,\"width\":2,\"channels\":1}";
        format!("{{\"type\":\"{kind}\",{data}{more}}}\n").into_bytes()
    };
    let payload = format!(",\"payload_length\":{length}");
    let whole = [inline("audio-chunk", &payload), samples.clone()].concat();
    let mut client = served.connect();
    client
        .send(&inline("audio-start", ""))
        .send(&whole)
        .send(b"{\"type\":\"audio-stop\"}\n");
    assert_eq!(client.text(), TEN_OF_CLUBS.text);
    // No beginning: each chunk says what it is.
    client.send(&whole).send(&stop());
    assert_eq!(client.text(), TEN_OF_CLUBS.text);
    // Chunks that do not say what they are; a wish that comes late; the same said twice, amid the
    // recording as well.
    let bare = |samples| event("audio-chunk", Value::Null, samples);
    let wish = event("transcribe", json!({"language": "en-GB"}), b"");
    let (first, second) = samples.split_at(9999);
    client
        .send(&start())
        .send(&event("transcribe", json!({}), b""))
        .send(&wish)
        .send(&bare(first))
        .send(&start())
        .send(&wish)
        .send(&bare(second))
        .send(&stop());
    let transcript = client.transcript();
    assert_eq!(
        transcript,
        json!({"text": TEN_OF_CLUBS.text, "language": "en-GB"})
    );
    // Wider samples on two channels.
    for width in [3, 4] {
        let wide: Vec<u8> = samples
            .chunks(2)
            .flat_map(|sample| [vec![0; width - 2], sample.to_vec()].concat().repeat(2))
            .collect();
        let format = json!({"rate": 16_000, "width": width, "channels": 2});
        client.send(&event("audio-start", format.clone(), b""));
        client
            .send(&event("audio-chunk", format, &wide))
            .send(&stop());
        assert_eq!(client.text(), TEN_OF_CLUBS.text, "{width}");
    }
    // Nothing recorded, nothing said.
    for nothing in [stop(), [start(), stop()].concat(), request(json!({}), b"")] {
        assert_eq!(client.send(&nothing).text(), "");
    }
    // Nor in 31 ms.
    assert_eq!(client.send(&request(json!({}), &[1; 992])).text(), "");
    assert_eq!(
        client.send(&request(json!({}), &samples)).text(),
        TEN_OF_CLUBS.text
    );
}

#[test]
fn a_client_may_send_byte_by_byte() {
    let served = Served::start("");
    let samples = TEN_OF_CLUBS.samples();
    let mut client = served.connect();
    let bytes = request(json!({"language": "en"}), &samples);
    for byte in &bytes[..3000] {
        client.send(&[*byte]);
    }
    for piece in bytes[3000..].chunks(7) {
        client.send(piece);
    }
    assert_eq!(client.text(), TEN_OF_CLUBS.text);
}

#[test]
fn mistakes_have_the_common_codes() {
    let served = Served::start("[http]\nmax_upload = \"100K\"\n");
    let transcribe = |wish| event("transcribe", wish, b"");
    let format = |rate: i64, width: i64, channels: i64| {
        let data = json!({"rate": rate, "width": width, "channels": channels});
        event("audio-start", data, b"")
    };
    let stereo = json!({"rate": 16_000, "width": 2, "channels": 2});
    let of_rate = |rate: u32| {
        let data = json!({"rate": rate, "width": 2, "channels": 1});
        [
            event("audio-start", data.clone(), b""),
            event("audio-chunk", data, &[0; 64_000]),
            stop(),
        ]
        .concat()
    };
    let claim = |kind: &str, what: &str| {
        format!("{{\"type\":\"{kind}\",\"{what}\":99999999999}}\n").into_bytes()
    };
    for (sent, code, word) in [
        (
            transcribe(json!({"name": "nobody"})),
            "model_not_found",
            "nobody",
        ),
        (
            transcribe(json!({"language": "de"})),
            "invalid_parameter",
            "`de`",
        ),
        (
            transcribe(json!({"language": "../.."})),
            "invalid_parameter",
            "code such as",
        ),
        (
            transcribe(json!({"name": 5})),
            "invalid_parameter",
            "transcribe",
        ),
        (format(16_000, 1, 1), "invalid_parameter", "a sign"),
        (format(-16_000, 2, 1), "invalid_parameter", "audio-start"),
        (
            event("audio-start", Value::Null, b""),
            "invalid_parameter",
            "rate",
        ),
        (
            event("audio-chunk", Value::Null, b"ab"),
            "invalid_parameter",
            "audio-start",
        ),
        (
            [start(), event("audio-chunk", stereo, b"abcd")].concat(),
            "invalid_parameter",
            "audio-chunk",
        ),
        (
            [start(), chunk(&[0; 60_000]), chunk(&[0; 60_000])].concat(),
            "upload_too_large",
            "100K",
        ),
        (of_rate(7), "invalid_parameter", "7 Hz"),
        (
            [start(), chunk(&[0; 100]), format(8000, 2, 1)].concat(),
            "invalid_body",
            "audio-start",
        ),
        (
            [chunk(&[0; 100]), transcribe(json!({"language": "en"}))].concat(),
            "invalid_body",
            "transcribe",
        ),
        (
            [start(), claim("audio-chunk", "payload_length")].concat(),
            "upload_too_large",
            "100K",
        ),
        (claim("x", "data_length"), "invalid_body", "data"),
        (
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            "invalid_body",
            "Wyoming",
        ),
        (vec![b'{'; 70_000], "invalid_body", "65536"),
        (vec![0; 200_000], "invalid_body", "65536"),
        (TEN_OF_CLUBS.wav(), "invalid_body", "Wyoming"),
    ] {
        let mut client = served.connect();
        // More than is read may be refused before it is sent.
        let _ = client.0.write_all(&sent);
        let text = client.error(code);
        assert!(text.contains(word), "{text}");
    }
    // A client that only closed its half for writing is told as well.
    for sent in [&b"{\"type\":"[..], &start(), &chunk(&[0; 100])[..150]] {
        served.connect().send(sent).end().error("invalid_body");
    }
    let mut client = served.connect();
    client.send(&request(json!({}), &TEN_OF_CLUBS.samples()));
    assert_eq!(client.text(), TEN_OF_CLUBS.text);
}

#[test]
fn silent_clients_are_not_waited_for() {
    let served = Served::start(
        "[http]\nheader_timeout = \"300ms\"\nbody_timeout = \"600ms\"\nbody_min_rate = \"1K\"\n",
    );
    let begin = Instant::now();
    let mut client = served.connect();
    assert_eq!(client.next(), None);
    let one = chunk(&[0; 100]);
    for sent in [&b"{\"type\""[..], &one[..80]] {
        served.connect().send(sent).error("header_timeout");
    }
    assert!(begin.elapsed() >= Duration::from_millis(900));
    for sent in [
        start(),
        one[..one.len() - 50].to_vec(),
        [start(), b"{".to_vec()].concat(),
        [start(), one].concat(),
    ] {
        let begin = Instant::now();
        let text = served.connect().send(&sent).error("body_timeout");
        assert!(begin.elapsed() >= Duration::from_millis(500), "{text}");
    }
    // A client that sends on and on, but hardly anything.
    let mut client = served.connect();
    client.send(&start());
    let begin = Instant::now();
    while client.0.write_all(b" ").is_ok() && begin.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = client.expect("error")["text"].clone();
    assert!(text.as_str().unwrap().contains("body_min_rate"), "{text}");
}

#[test]
fn too_slow_a_recording_holds_no_job() {
    let served = Served::start("[http]\nbody_timeout = \"1s\"\n");
    let mut client = served.connect();
    client.send(&start());
    let begin = Instant::now();
    // A tenth of the speed at which it is spoken, without a pause.
    while client.0.write_all(&chunk(&[0; 160])).is_ok() && begin.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = client.late_error("body_timeout");
    assert!(text.contains("16000 bytes a second"), "{text}");
    assert!(begin.elapsed() >= Duration::from_secs(1));
    wait_until("its job is gone", LONG, || served.running() == 0);
}

#[test]
fn a_real_time_recording_is_waited_for() {
    let config = "[models.default]\nengine = \"fault\"\n[limits]\ndeadline = \"3s\"\n\
                  deadline_per_audio_second = 0.0\nstall = \"3s\"\n";
    let served = Served::start(config);
    let mut client = served.connect();
    client.send(&start());
    let begin = Instant::now();
    // 2.8 s of speech, and a pause amid it that is longer than any that a job may make.
    for (at, samples) in GOFORWARD.samples().chunks(6400).enumerate() {
        let pause = if at == 5 { 3500 } else { 200 };
        std::thread::sleep(Duration::from_millis(pause));
        client.send(&chunk(samples));
    }
    assert!(begin.elapsed() > Duration::from_secs(6));
    assert_eq!(client.send(&stop()).text(), "fault engine");
}

#[test]
fn silence_is_an_empty_transcript() {
    let served = Served::start("");
    let mut client = served.connect();
    client.send(&request(json!({}), &vec![0; 3 * 32_000]));
    let transcript = client.transcript();
    assert_eq!(transcript, json!({"text": "", "language": "en"}));
    // It went through a job.
    let stats = served.daemon.get("/v1/stats").json();
    assert_eq!(stats["total"]["requests"]["accepted"], 1, "{stats}");
}

#[test]
fn a_client_without_samples_holds_no_job() {
    let served = Served::start("[jobs]\nmax_running = 1\n");
    let mut others: Vec<Client> = (0..20).map(|_| served.connect()).collect();
    for client in &mut others[10..] {
        client
            .send(&event("transcribe", json!({}), b""))
            .send(&start());
    }
    let mut client = served.connect();
    client.send(&request(json!({}), &TEN_OF_CLUBS.samples()));
    assert_eq!(client.text(), TEN_OF_CLUBS.text);
    let stats = served.daemon.get("/v1/stats").json();
    assert_eq!(stats["total"]["requests"]["accepted"], 1, "{stats}");
    assert_eq!(served.running(), 0);
}

#[test]
fn it_is_the_same_over_tcp() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    let daemon = Setup::new("").listen_as("wyoming", &address).start();
    let mut client = Client::connect_tcp(&address);
    let samples = TEN_OF_CLUBS.samples();
    for _ in 0..2 {
        client.send(&request(json!({}), &samples));
        assert_eq!(client.text(), TEN_OF_CLUBS.text);
    }
    // A client that sends no more looks like one that hung up, until something is sent to it.
    client.send(&request(json!({}), &samples)).end();
    assert_eq!(client.text(), TEN_OF_CLUBS.text);
    assert_eq!(client.next(), None);
    let client = Client::connect_tcp(&address);
    let sending = client.pour(request(json!({}), &GOFORWARD.samples().repeat(4)));
    let job = daemon.wait_busy();
    sending.join().unwrap();
    drop(client);
    let spent = job.computes_until_gone();
    assert!(
        spent < 1.0,
        "{spent} s of CPU time after its client was gone"
    );
    wait_until("it was cancelled", LONG, || {
        daemon.log().contains("failed (cancelled)")
    });
}

#[test]
fn a_half_closed_client_is_answered() {
    let served = Served::start("");
    let (ten, forward) = (TEN_OF_CLUBS.samples(), GOFORWARD.samples());
    let mut client = served.connect();
    // More than is read at once, so that the end is there long before it is come to.
    let long = GOFORWARD.samples().repeat(3);
    let all = [
        request(json!({}), &forward),
        request(json!({}), &ten),
        request(json!({}), &long),
    ];
    let sending = client.pour(all.concat());
    assert_eq!(client.text(), GOFORWARD.text);
    assert_eq!(client.text(), TEN_OF_CLUBS.text);
    assert_eq!(sending.join().unwrap(), all.concat().len());
    let text = client.end().text();
    assert!(text.starts_with(GOFORWARD.text), "{text}");
    assert_eq!(client.next(), None);
}

#[test]
fn a_hang_up_ends_the_job() {
    let served = Served::start("");
    let long = GOFORWARD.samples().repeat(30);
    // Killed, and not done: the shortest of these takes some three seconds of a CPU.
    let gone = |job: &process::Seen| {
        let spent = job.computes_until_gone();
        assert!(
            spent < 1.0,
            "{spent} s of CPU time after its client was gone"
        );
    };
    // Clients leave when all is read, in the middle, and with more sent ahead than anybody reads.
    let short = GOFORWARD.samples().repeat(4);
    let mut client = served.connect();
    client.send(&request(json!({}), &short));
    let job = served.daemon.wait_busy();
    drop(client);
    gone(&job);
    // The first piece of speech is found after half a minute.
    let mut client = served.connect();
    client.send(&start()).send(&chunk(&long[..40 * 32_000]));
    let job = served.daemon.wait_busy();
    drop(client);
    gone(&job);
    let client = served.connect();
    let sending = client.pour(request(json!({}), &long));
    let job = served.daemon.wait_busy();
    client.0.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(sending.join().unwrap() < long.len());
    drop(client);
    gone(&job);
    wait_until("none runs", LONG, || served.running() == 0);
}

#[test]
fn large_recordings_stay_out_of_memory() {
    let config = "[models.default]\nengine = \"null\"\n";
    let served = Served::start(config);
    let mut client = served.connect();
    client.send(&start());
    let silence = chunk(&vec![0; 1 << 20]);
    client.send(&silence);
    let before = process::private_memory(served.daemon.pid());
    let mut most = 0;
    for _ in 0..16 {
        client.send(&silence);
        most = most.max(process::private_memory(served.daemon.pid()));
    }
    assert!(most < before + (2 << 20), "{before} {most}");
    assert_eq!(client.send(&stop()).text(), "");
}

#[test]
fn a_waiting_job_slows_its_client() {
    let config = "[models.default]\nengine = \"fault\"\n[jobs]\nmax_running = 1\n\
                  [limits]\ndeadline = \"4s\"\nstall = \"1min\"\n";
    let served = Served::start(config);
    let mut client = served.connect();
    let mut busy = served.connect();
    busy.send(&request(json!({"name": "default:hang"}), &[0; 32_000]));
    wait_until("it runs", LONG, || served.running() == 1);
    let before = process::private_memory(served.daemon.pid());
    client.send(&start());
    // Its job is not even begun.
    let sending = client.pour(chunk(&vec![0; 16 << 20]));
    std::thread::sleep(Duration::from_millis(500));
    let after = process::private_memory(served.daemon.pid());
    assert!(after < before + (1 << 20), "{before} {after}");
    assert!(!sending.is_finished());
    assert_eq!(served.running(), 1);
    busy.error("timeout");
    // And now it is.
    assert!(sending.join().unwrap() > 16 << 20);
    assert_eq!(client.send(&stop()).text(), "fault engine");
}

#[test]
fn an_unread_transcript_holds_no_job() {
    let served =
        Served::start("[models.default]\nengine = \"fault\"\n[http]\nbody_timeout = \"1s\"\n");
    let mut client = served.connect();
    // Larger than sockets and queues can hold, and below the limit of text for so long a recording.
    let wish = json!({"name": "default:text-flood"});
    client.send(&request(wish, &vec![0; 900 * 32_000]));
    wait_until("his job is ended", LONG, || {
        served.daemon.log().contains("failed (cancelled)")
    });
    // The part that the client had not taken is lost, except for what the kernel holds.
    let mut told = Vec::new();
    let _ = std::io::Read::read_to_end(&mut client.0, &mut told);
    assert!(!told.is_empty() && told.len() < 1 << 20, "{}", told.len());
}

#[test]
fn one_bound_holds_for_all_connections() {
    let served = Served::start("[http]\nmax_connections = 4\nheader_timeout = \"1min\"\n");
    // Each of the two listeners holds a place for its next client.
    let mut clients: Vec<Client> = (0..3).map(|_| served.connect()).collect();
    for client in &mut clients[..2] {
        client.send(&event("ping", Value::Null, b"")).expect("pong");
    }
    let last = &mut clients[2];
    last.send(&event("ping", Value::Null, b""));
    last.0
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut byte = [0];
    let mut read = || std::io::Read::read(&mut last.0, &mut byte).is_ok();
    // It may have been served already if the other listener holds no place at this moment.
    let served_at_once = read();
    assert_eq!(served.daemon.get("/healthz").status, 200);
    drop(clients.drain(..2));
    if !served_at_once {
        clients[0].0.set_read_timeout(Some(LONG)).unwrap();
        clients[0].expect("pong");
    }
}

#[test]
fn strangers_are_refused() {
    // Nor is he told over HTTP that it is ready.
    let served = Served::launch("[clients]\nallow_users = [\"4242\"]\n");
    if nix::unistd::geteuid().as_raw() == 4242 {
        panic!("run this as another user");
    }
    for sent in [
        event("describe", Value::Null, b""),
        event("transcribe", json!({}), b""),
        start(),
        stop(),
    ] {
        let mut client = served.connect();
        client.send(&event("ping", Value::Null, b"")).expect("pong");
        client.send(&sent).error("forbidden");
    }
}

#[test]
fn a_stop_waits_for_running_requests() {
    let mut served = Served::start("[jobs]\nmax_running = 1\n");
    let samples = TEN_OF_CLUBS.samples();
    let mut idle = served.connect();
    idle.send(&event("ping", Value::Null, b"")).expect("pong");
    let mut running = served.connect();
    running.send(&request(json!({}), &GOFORWARD.samples().repeat(6)));
    served.daemon.wait_busy();
    let (mut fresh, mut sending) = (served.connect(), served.connect());
    sending.send(&start()).send(&chunk(&samples[..1000]));
    let mut last = served.connect();
    last.send(&event("ping", Value::Null, b"")).expect("pong");
    served.daemon.signal(SIGTERM);
    wait_until("it says that it stops", LONG, || {
        served.daemon.log().contains("stopping: ")
    });
    assert_eq!(idle.next(), None);
    assert_eq!(last.next(), None);
    fresh.send(&request(json!({}), &samples));
    sending.send(&chunk(&samples[1000..])).send(&stop());
    assert!(running.text().starts_with(GOFORWARD.text));
    for client in [&mut fresh, &mut sending] {
        assert_eq!(client.text(), TEN_OF_CLUBS.text);
        assert_eq!(client.next(), None);
    }
    assert!(served.daemon.ended().success());
}

#[test]
fn when_time_is_up_everybody_is_told() {
    let config = "[jobs]\nmax_running = 1\n[service]\ndrain_timeout = \"100ms\"\n";
    let mut served = Served::start(config);
    let long = request(json!({}), &GOFORWARD.samples().repeat(30));
    let mut running = served.connect();
    let sending_too = running.pour(long.clone());
    served.daemon.wait_busy();
    let mut waiting = served.connect();
    let sending_on = waiting.pour(long);
    let mut sending = served.connect();
    sending.send(&start());
    wait_until("one waits", LONG, || {
        served.daemon.get("/v1/stats").json()["total"]["queued"] == 1
    });
    served.daemon.signal(SIGTERM);
    sending.error("shutting_down");
    waiting.error("shutting_down");
    // The client was told what was transcribed by then.
    while let Some(event) = running.next() {
        match event.kind.as_str() {
            "error" => assert_eq!(event.data["code"], "shutting_down"),
            kind => assert!(
                ["transcript-start", "transcript-chunk"].contains(&kind),
                "{kind}"
            ),
        }
    }
    assert!(served.daemon.ended().success());
    for sending in [sending_on, sending_too] {
        sending.join().unwrap();
    }
}

#[test]
fn failures_of_jobs_are_told() {
    let served = Served::start(
        "[models.default]\nengine = \"fault\"\n[limits]\ndeadline = \"1s\"\n\
         deadline_per_audio_second = 0.0\n[breaker]\ncrashes = 0\n",
    );
    for (fault, code) in [
        ("segfault", "worker_crashed"),
        ("fail", "engine_failed"),
        ("hang", "timeout"),
        ("out-of-order", "worker_misbehaved"),
    ] {
        let wish = json!({"name": format!("default:{fault}")});
        served
            .connect()
            .send(&request(wish, &[0; 32_000]))
            .late_error(code);
    }
    let mut client = served.connect();
    assert_eq!(
        client.send(&request(json!({}), &[0; 32_000])).text(),
        "fault engine"
    );
    // Segments come one by one, and together they are the text.
    let wish = json!({"name": "default:burst=3"});
    let text = client.send(&request(wish, &[0; 32_000])).text();
    assert_eq!(text, ["fault engine"; 3].join(" "));
}

#[test]
fn the_socket_may_be_the_only_one() {
    let folder = TempDir::new().unwrap();
    let mut daemon = Setup::new("").socket_name("wyoming").launch();
    let samples = TEN_OF_CLUBS.samples();
    let mut client = Client::connect(daemon.socket());
    client.send(&request(plain(), &samples));
    assert_eq!(client.text(), TEN_OF_CLUBS.text);
    drop((client, folder));
    daemon.stop();
}
