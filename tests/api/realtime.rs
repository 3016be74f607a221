//! Realtime sessions: turns, both dialects, faults, and what a session holds.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, net::UnixStream},
};

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tungstenite::Message;

use crate::common::{
    clips::{Clip, GOFORWARD, SOMETHING, TEN_OF_CLUBS},
    daemon::{Daemon, Setup},
    process::private_memory,
    realtime::{Closed, Session, converted, samples, silence, tcp, unix},
    wait_for, wait_until,
};

const FAULT: &str = "[health]\ninterval = \"0s\"\n[models.default]\nengine = \"fault\"\n";

fn session(daemon: &Daemon, query: &str) -> Session {
    let mut session = Session::connect(daemon.socket(), query, &[]);
    let first = session.event().unwrap();
    assert_eq!(first["type"], "session.created");
    session
}

/// Audio of these clips, each followed by a pause that ends a turn.
fn talk(clips: &[Clip]) -> Vec<u8> {
    let mut audio = silence(700);
    for clip in clips {
        audio.extend(samples(*clip));
        audio.extend(silence(1_200));
    }
    audio
}

fn update(input: Value) -> Value {
    json!({"type": "session.update", "session": {"type": "transcription", "audio": {"input": input}}})
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect()
}

#[test]
fn each_turn_is_heard_by_a_job_of_its_own() {
    let daemon = Daemon::start("");
    let mut session = session(&daemon, "intent=transcription");
    session.append(&talk(&[GOFORWARD, TEN_OF_CLUBS]));
    let mut turns = Vec::new();
    let mut events = Vec::new();
    while turns.len() < 2 {
        let event = session.event().unwrap();
        if event["type"] == "conversation.item.input_audio_transcription.completed" {
            turns.push(event.clone());
        }
        events.push(event);
    }
    assert_eq!(turns[0]["transcript"], GOFORWARD.text);
    assert_eq!(turns[1]["transcript"], TEN_OF_CLUBS.text);
    assert_ne!(turns[0]["stt"]["pid"], turns[1]["stt"]["pid"]);
    assert_eq!(turns[0]["usage"]["type"], "duration");
    let ids: std::collections::BTreeSet<_> = events
        .iter()
        .map(|event| event["event_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), events.len());
    let first = turns[0]["item_id"].as_str().unwrap();
    let of_first: Vec<&str> = (events.iter())
        .filter(|event| event["item_id"] == first || event["item"]["id"] == first)
        .map(|event| event["type"].as_str().unwrap())
        .filter(|kind| !kind.ends_with(".delta"))
        .collect();
    assert_eq!(
        of_first,
        [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.input_audio_transcription.completed",
        ]
    );
    let committed: Vec<&Value> = (events.iter())
        .filter(|event| event["type"] == "input_audio_buffer.committed")
        .collect();
    assert_eq!(committed[0]["previous_item_id"], Value::Null);
    assert_eq!(committed[1]["previous_item_id"], first);
    let deltas: String = (events.iter())
        .filter(|event| {
            event["item_id"] == first
                && event["type"] == "conversation.item.input_audio_transcription.delta"
        })
        .map(|event| event["delta"].as_str().unwrap())
        .collect();
    assert_eq!(deltas, GOFORWARD.text);
    let times = |kind: &str, field: &str| -> Vec<u64> {
        (events.iter())
            .filter(|event| event["type"] == kind)
            .map(|event| event[field].as_u64().unwrap())
            .collect()
    };
    let began = times("input_audio_buffer.speech_started", "audio_start_ms");
    let stopped = times("input_audio_buffer.speech_stopped", "audio_end_ms");
    let length = |clip: Clip| clip.samples().len() as u64 / 32;
    // The pauses around the clips are known to the millisecond, the ones in them are not.
    assert!((400..1_500).contains(&began[0]), "{began:?}");
    assert!(
        stopped[0] > began[0] + 1_500 && stopped[0] < 700 + length(GOFORWARD) + 700,
        "{stopped:?}"
    );
    assert!(began[1] >= 700 + length(GOFORWARD) + 700, "{began:?}");
}

#[test]
fn the_client_may_say_where_a_turn_ends() {
    let daemon = Daemon::start("");
    let mut session = session(&daemon, "");
    session.send(&update(json!({"turn_detection": null})));
    let updated = session.wait("session.updated");
    let input = &updated["session"]["audio"]["input"];
    assert_eq!(input["turn_detection"], Value::Null);
    assert_eq!(input["format"], json!({"type": "audio/pcm", "rate": 24000}));
    session.append(&samples(SOMETHING)[..2_400]);
    session.send(&json!({"type": "input_audio_buffer.commit", "event_id": "mine"}));
    let error = session.wait("error")["error"].clone();
    assert_eq!(error["code"], "input_audio_buffer_commit_empty");
    assert_eq!(error["event_id"], "mine");
    session.append(&samples(SOMETHING)[2_400..]);
    session.commit();
    assert_eq!(session.turn()["transcript"], SOMETHING.text);
    // Audio that is cleared is not heard.
    session.append(&samples(SOMETHING));
    session.send(&json!({"type": "input_audio_buffer.clear"}));
    session.wait("input_audio_buffer.cleared");
    session.append(&samples(TEN_OF_CLUBS));
    session.commit();
    assert_eq!(session.turn()["transcript"], TEN_OF_CLUBS.text);
}

#[test]
fn texts_come_in_the_order_of_their_turns() {
    let daemon = Daemon::start(FAULT);
    let mut session = session(&daemon, "");
    session.send(&update(json!({"turn_detection": null})));
    session.wait("session.updated");
    let mut items = Vec::new();
    for model in ["default:sleep=2s", "default:fail", "default"] {
        session.send(&update(json!({"transcription": {"model": model}})));
        session.append(&silence(500));
        session.commit();
        let committed = session.wait("input_audio_buffer.committed");
        items.push(committed["item_id"].clone());
    }
    let turns: Vec<Value> = items.iter().map(|_| session.turn()).collect();
    let told: Vec<&Value> = turns.iter().map(|turn| &turn["item_id"]).collect();
    assert_eq!(told, items.iter().collect::<Vec<_>>(), "{turns:#?}");
    assert_eq!(turns[1]["error"]["code"], "engine_failed");
}

#[test]
fn a_commit_ends_a_turn_that_somebody_still_speaks() {
    let daemon = Daemon::start("");
    let mut session = session(&daemon, "");
    session.append(&silence(500));
    session.append(&samples(GOFORWARD));
    session.wait("input_audio_buffer.speech_started");
    session.commit();
    session.wait("input_audio_buffer.committed");
    assert_eq!(session.turn()["transcript"], GOFORWARD.text);
}

#[test]
fn the_first_version_of_the_events_is_spoken_too() {
    let daemon = Daemon::start("");
    let beta = [("openai-beta", "realtime=v1")];
    let mut session = Session::connect(daemon.socket(), "intent=transcription", &beta);
    let created = session.event().unwrap();
    assert_eq!(created["type"], "transcription_session.created");
    assert_eq!(created["session"]["input_audio_format"], "pcm16");
    session.send(&json!({"type": "transcription_session.update", "session": {
        "input_audio_format": "pcm16",
        "input_audio_transcription": {"model": "whisper-1", "language": "en", "prompt": ""},
        "turn_detection": {"type": "server_vad", "threshold": 0.6, "silence_duration_ms": 400},
        "input_audio_noise_reduction": {"type": "near_field"},
    }}));
    let updated = session.wait("transcription_session.updated");
    assert_eq!(updated["session"]["turn_detection"]["threshold"], 0.6);
    assert_eq!(
        updated["session"]["turn_detection"]["prefix_padding_ms"],
        300
    );
    let warnings = updated["session"]["stt"]["warnings"].as_array().unwrap();
    assert!(
        warnings[0].as_str().unwrap().contains("noise_reduction"),
        "{warnings:?}"
    );
    session.append(&talk(&[TEN_OF_CLUBS]));
    let events = session.until("conversation.item.input_audio_transcription.completed");
    assert!(kinds(&events).contains(&"conversation.item.created"));
    assert_eq!(events.last().unwrap()["transcript"], TEN_OF_CLUBS.text);
}

#[test]
fn telephones_codings_are_heard() {
    let daemon = Daemon::start("");
    for (kind, arguments, silent) in [
        ("audio/pcmu", "-ar 8000 -f mulaw", 0xff),
        ("audio/pcma", "-ar 8000 -f alaw", 0xd5),
    ] {
        let mut session = session(&daemon, "");
        session.send(&update(json!({"format": {"type": kind}})));
        let updated = session.wait("session.updated");
        assert_eq!(
            updated["session"]["audio"]["input"]["format"],
            json!({"type": kind})
        );
        session.append(&vec![silent; 5_600]);
        session.append(&converted(TEN_OF_CLUBS, arguments));
        session.append(&vec![silent; 9_600]);
        let began = session.wait("input_audio_buffer.speech_started");
        assert!(
            (300..1_100).contains(&began["audio_start_ms"].as_u64().unwrap()),
            "{began}"
        );
        let turn = session.turn();
        // The engine's own model wants 16 kHz; that it hears digits and cards at 8 is luck.
        assert!(
            turn["transcript"].as_str().unwrap().contains("clubs"),
            "{turn}"
        );
    }
}

#[test]
fn a_mistake_is_told_and_the_session_goes_on() {
    let daemon = Daemon::start("");
    let mut session = session(&daemon, "");
    let mistakes = [
        (json!({"type": "response.create"}), "type"),
        (json!({"no": "type"}), "type"),
        (
            json!({"type": "input_audio_buffer.append", "audio": "!"}),
            "audio",
        ),
        (json!({"type": "input_audio_buffer.append"}), "audio"),
        (json!({"type": "session.update"}), "session"),
        (
            json!({"type": "session.update", "session": {"type": "realtime"}}),
            "session.type",
        ),
        (
            update(json!({"format": {"type": "audio/pcm", "rate": 16000}})),
            "session.audio.input.format.rate",
        ),
        (
            update(json!({"format": {"type": "audio/opus"}})),
            "session.audio.input.format.type",
        ),
        (
            update(json!({"turn_detection": {"type": "server_vad", "threshold": 2}})),
            "session.audio.input.turn_detection.threshold",
        ),
        (
            update(json!({"turn_detection": {"type": "server_vad", "prefix_padding_ms": -1}})),
            "session.audio.input.turn_detection.prefix_padding_ms",
        ),
        (
            update(json!({"transcription": {"langauge": "en"}})),
            "session.audio.input.transcription.langauge",
        ),
        (
            update(json!({"transcription": {"model": "nobody"}})),
            "model",
        ),
        (
            update(json!({"transcription": {"language": "klingonese"}})),
            "language",
        ),
    ];
    for (event, param) in mistakes {
        session.send(&event);
        let error = session.wait("error")["error"].clone();
        assert_eq!(error["param"], param, "{error}");
        assert_eq!(error["type"], "invalid_request_error", "{error}");
    }
    session.send_raw(Message::text("{"));
    session.wait("error");
    session.send_raw(Message::binary(vec![0, 1, 2]));
    session.wait("error");
    session.append(&talk(&[TEN_OF_CLUBS]));
    assert_eq!(session.turn()["transcript"], TEN_OF_CLUBS.text);
}

#[test]
fn silence_is_told_to_those_who_ask() {
    let daemon = Daemon::start("");
    let mut session = session(&daemon, "");
    let turns = json!({"type": "server_vad", "idle_timeout_ms": 5000});
    session.send(&update(json!({"turn_detection": turns})));
    session.wait("session.updated");
    session.append(&silence(5_500));
    let told = session.wait("input_audio_buffer.timeout_triggered");
    let length = told["audio_end_ms"].as_u64().unwrap() - told["audio_start_ms"].as_u64().unwrap();
    assert!((5_000..5_500).contains(&length), "{told}");
    let turn = session.turn();
    assert_eq!(
        (&turn["item_id"], &turn["transcript"]),
        (&told["item_id"], &json!(""))
    );
}

#[test]
fn new_settings_wait_for_a_turn_that_waits_for_a_job() {
    let daemon = Daemon::start(&format!("{FAULT}[jobs]\nmax_running = 1\n"));
    let mut first = session(&daemon, "model=default:hang");
    first.append(&silence(500));
    first.append(&samples(GOFORWARD));
    first.wait("input_audio_buffer.speech_started");
    first.commit();
    first.wait("input_audio_buffer.committed");
    let mut second = session(&daemon, "");
    second.append(&silence(500));
    second.append(&samples(GOFORWARD));
    second.wait("stt.queued");
    second.send(&update(json!({"format": {"type": "audio/pcmu"}})));
    second.wait("input_audio_buffer.committed");
    // The job that the second one waits for ends with its client.
    drop(first);
    let events = second.until("session.updated");
    let input = &events.last().unwrap()["session"]["audio"]["input"];
    assert_eq!(input["format"]["type"], "audio/pcmu");
    let turn = second.turn();
    assert!(
        turn["type"].as_str().unwrap().ends_with("completed"),
        "{turn}"
    );
}

#[test]
fn a_turn_whose_job_crashes_costs_nothing_but_itself() {
    let daemon = Daemon::start(FAULT);
    let mut session = session(&daemon, "model=default:abort");
    session.append(&talk(&[GOFORWARD]));
    let failed = session.turn();
    assert_eq!(failed["error"]["code"], "worker_crashed", "{failed}");
    assert_eq!(failed["content_index"], 0);
    session.send(&update(json!({"transcription": {"model": "default"}})));
    session.wait("session.updated");
    session.append(&talk(&[GOFORWARD]));
    let next = session.turn();
    assert!(
        next["type"].as_str().unwrap().ends_with("completed"),
        "{next}"
    );
}

#[test]
fn nothing_is_held_while_nobody_speaks() {
    let daemon = Daemon::start("");
    let mut session = session(&daemon, "");
    session.append(&silence(5_000));
    session.send(&update(json!({})));
    session.wait("session.updated");
    let stats = daemon.get("/v1/stats").json();
    let total = &stats["total"];
    assert_eq!(
        (&total["running"], &total["queued"]),
        (&json!(0), &json!(0))
    );
    session.append(&talk(&[TEN_OF_CLUBS]));
    assert_eq!(session.turn()["transcript"], TEN_OF_CLUBS.text);
    // It is counted, and the journal tells of it.
    let counts = || daemon.get("/v1/stats").json()["supervisor"]["sessions"].clone();
    assert_eq!(counts(), json!({"open": 1, "begun": 1, "turns": 1}));
    let metrics = daemon.get("/metrics");
    let metrics = String::from_utf8_lossy(&metrics.body);
    for line in ["sessions 1", "sessions_total 1", "session_turns_total 1"] {
        let line = format!("\nstt_isolated_{line}\n");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    drop(session);
    wait_until("the session is over", crate::common::LONG, || {
        counts() == json!({"open": 0, "begun": 1, "turns": 1})
    });
    wait_until("the journal tells of it", crate::common::LONG, || {
        daemon.log().contains("session ended: 1 turns in ")
    });
}

#[test]
fn the_memory_of_sessions_is_given_back() {
    let daemon = Daemon::start("");
    let open = || {
        let mut session = session(&daemon, "");
        session.append(&silence(1_500));
        session.send(&update(json!({})));
        session.wait("session.updated");
        session
    };
    drop(open());
    let before = private_memory(daemon.pid());
    let much = 2 << 20;
    let sessions: Vec<_> = (0..100).map(|_| open()).collect();
    assert!(private_memory(daemon.pid()) > before + much);
    drop(sessions);
    // No request was finished, which would be another reason to give memory back.
    wait_until("the memory is given back", crate::common::LONG, || {
        private_memory(daemon.pid()) < before + much
    });
}

#[test]
fn a_session_outlives_the_detector() {
    let daemon = Daemon::start("");
    let mut session = session(&daemon, "");
    session.append(&talk(&[TEN_OF_CLUBS]));
    assert_eq!(session.turn()["transcript"], TEN_OF_CLUBS.text);
    let detector = wait_for("the detector", crate::common::LONG, || {
        daemon
            .children()
            .into_iter()
            .find(|child| child.name == "detector")
    });
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(detector.pid), SIGKILL).unwrap();
    session.append(&talk(&[GOFORWARD]));
    let told = session.wait("stt.interrupted");
    assert!(
        told["message"].as_str().unwrap().contains("detector"),
        "{told}"
    );
    assert_eq!(session.turn()["transcript"], GOFORWARD.text);
}

#[test]
fn a_service_that_stops_finishes_the_turn_and_says_so() {
    let mut daemon = Daemon::start("");
    let mut session = session(&daemon, "");
    session.append(&silence(500));
    session.append(&samples(GOFORWARD));
    session.wait("input_audio_buffer.speech_started");
    daemon.signal(SIGTERM);
    let (events, closed) = session.end();
    assert_eq!(closed, Closed(Some(1012)));
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["error"]["code"]),
        (&json!("error"), &json!("shutting_down"))
    );
    let completed = "conversation.item.input_audio_transcription.completed";
    assert!(kinds(&events).contains(&completed), "{events:#?}");
    drop(session);
    daemon.ended();
}

#[test]
fn over_tcp_a_session_needs_a_key_and_a_page_may_show_it_its_way() {
    let folder = TempDir::new().unwrap();
    let digits: String = (Sha256::digest("stt_secret").iter())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let file = folder.path().join("keys");
    fs::write(&file, format!("phone sha256:{digits}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = format!("[clients.keys]\nfile = {file:?}\n");
    let daemon = Setup::new(&config).listen(&address.to_string()).start();
    for (headers, is_let_in) in [
        (&[][..], false),
        (&[("authorization", "Bearer stt_wrong")], false),
        (&[("authorization", "Bearer stt_secret")], true),
        (
            &[(
                "sec-websocket-protocol",
                "realtime, openai-insecure-api-key.stt_secret",
            )],
            true,
        ),
        (
            &[(
                "sec-websocket-protocol",
                "realtime, openai-insecure-api-key.stt_wrong",
            )],
            false,
        ),
    ] {
        match Session::try_connect(tcp(address), "intent=transcription", headers) {
            Ok((mut session, response)) => {
                assert!(is_let_in, "{headers:?}");
                let protocol = response.headers().get("sec-websocket-protocol");
                let offers = headers.iter().any(|(name, _)| name.contains("protocol"));
                assert_eq!(protocol.is_some(), offers);
                session.append(&talk(&[TEN_OF_CLUBS]));
                assert_eq!(session.turn()["transcript"], TEN_OF_CLUBS.text);
            }
            Err(answer) => {
                assert!(!is_let_in, "{headers:?}");
                assert_eq!(answer.status(), 401);
            }
        }
    }
    drop(daemon);
}

#[test]
fn a_request_that_is_no_handshake_is_told_so() {
    let daemon = Daemon::start("");
    let answer = daemon.get("/v1/realtime");
    assert_eq!(answer.status, 426);
    assert_eq!(answer.error()["code"], "upgrade_required");
    let refused = |query: &str| match Session::try_connect(unix(daemon.socket()), query, &[]) {
        Ok(_) => panic!("{query}"),
        Err(answer) => answer.status().as_u16(),
    };
    assert_eq!(refused("model=nobody"), 404);
    assert_eq!(refused("intent=conversation"), 400);
}

/// A handshake, and then these bytes as they are. Returns the code with which the session is ended.
fn raw(daemon: &Daemon, bytes: &[u8]) -> Option<u16> {
    use std::io::Read;
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.set_read_timeout(Some(crate::common::LONG)).unwrap();
    stream
        .write_all(
            b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    // The close frame is the last: 0x88, its length, the code.
    let frames = answer.windows(4).rev();
    frames
        .filter(|four| four[0] == 0x88 && four[1] >= 2 && four[1] < 126)
        .map(|four| u16::from_be_bytes([four[2], four[3]]))
        .find(|code| (1000..1016).contains(code))
}

#[test]
fn frames_that_the_standard_forbids_end_the_session_by_its_codes() {
    let daemon = Daemon::start("");
    let masked = |first: u8, length: u8, payload: &[u8]| {
        let mut frame = vec![first, 0x80 | length, 0, 0, 0, 0];
        frame.extend(payload);
        frame
    };
    let huge = {
        let mut frame = vec![0x81, 0xff];
        frame.extend((16u64 << 20).to_be_bytes());
        frame.extend([0; 4]);
        frame
    };
    for (what, bytes, code) in [
        ("not masked", vec![0x81, 1, b'x'], 1002),
        ("a reserved bit", masked(0xc1, 1, b"x"), 1002),
        ("a reserved opcode", masked(0x83, 1, b"x"), 1002),
        ("a ping in fragments", masked(0x09, 1, b"x"), 1002),
        ("a continuation of nothing", masked(0x80, 1, b"x"), 1002),
        ("no UTF-8", masked(0x81, 2, b"\xc3\x28"), 1007),
        ("too long", huge, 1009),
    ] {
        assert_eq!(raw(&daemon, &bytes), Some(code), "{what}");
    }
    // A million tiny events, and audio faster than it is spoken, harm nobody.
    let mut session = session(&daemon, "");
    for _ in 0..20_000 {
        session.send_raw(Message::text(
            r#"{"type":"input_audio_buffer.append","audio":"AAA="}"#,
        ));
    }
    session.send(&update(json!({})));
    session.wait("session.updated");
    wait_until("all is idle", crate::common::LONG, || {
        daemon.get("/v1/stats").json()["total"]["running"] == 0
    });
}
