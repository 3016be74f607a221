//! Answers that come as events, while the job works.

use std::io::Read;

use crate::common::{
    LONG,
    clips::{CLIPS, GOFORWARD, TEN_OF_CLUBS, wav},
    daemon::Daemon,
    http::{Answer, Form, Raw},
    wait_until,
};
use serde_json::{Value, json};

const FAULT: &str = r#"
    [http]
    body_timeout = "1s"
    [models.default]
    engine = "fault"
    spares = { min = 1, max = 1 }
"#;

/// A request for a stream from the engine `fault` in this mode.
fn form(mode: &str) -> Form {
    let form = Form::of("a.wav", &TEN_OF_CLUBS.wav()).field("stream", "true");
    form.field("model", format!("default:{mode}"))
}

/// The events of a stream: nothing but lines of data.
fn events(body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    let events = text.strip_suffix("\n\n").expect("an event is cut off");
    let data = events.split("\n\n").map(|event| {
        let data = event.strip_prefix("data: ").expect("no line of data");
        serde_json::from_str(data).unwrap()
    });
    data.collect()
}

#[track_caller]
fn streamed(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("cache-control"), "no-cache");
    events(&answer.body)
}

/// The text of all events but the last one, which must be the end of a good answer.
#[track_caller]
fn joined(events: &[Value]) -> String {
    let (done, deltas) = events.split_last().unwrap();
    assert_eq!(done["type"], "transcript.text.done", "{done}");
    let text = deltas.iter().map(|event| {
        assert_eq!(event["type"], "transcript.text.delta", "{event}");
        event["delta"].as_str().unwrap()
    });
    let text: String = text.collect();
    assert_eq!(done["text"], text);
    text
}

/// Reads until `end` has come.
fn read_until(raw: &mut Raw, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        match raw.0.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            end => panic!("{end:?} after {:?}", String::from_utf8_lossy(&text)),
        }
    }
    String::from_utf8(text).unwrap()
}

/// OpenAI's type of a stream's usage has no seconds.
fn no_tokens() -> Value {
    json!({"type": "tokens", "input_tokens": 0, "output_tokens": 0, "total_tokens": 0})
}

#[test]
fn joined_deltas_are_the_text() {
    let daemon = Daemon::start("");
    let pause = vec![0; 4 * 2 * 16_000];
    let samples = (CLIPS.iter()).flat_map(|clip| [clip.samples(), pause.clone()].concat());
    let long = Form::of("a.wav", &wav(&samples.collect::<Vec<u8>>()));
    let whole = daemon.post(&long.clone().field("response_format", "verbose_json"));
    let whole = whole.json();
    let segments = whole["segments"].as_array().unwrap();
    assert!(segments.len() > 1, "{segments:?}");
    let events = streamed(&daemon.post(&long.field("stream", "true")));
    assert_eq!(joined(&events), whole["text"].as_str().unwrap());
    assert_eq!(events.len(), segments.len() + 1);
    let done = events.last().unwrap();
    assert_eq!(done["usage"], no_tokens());
    assert_eq!(done["stt"]["audio_ms"], whole["stt"]["audio_ms"]);
    assert_eq!(done["stt"]["warnings"], json!([]));
}

#[test]
fn logprobs_come_with_each_delta() {
    let daemon = Daemon::start("");
    let form = Form::of("a.wav", &GOFORWARD.wav()).field("stream", "true");
    let events = streamed(&daemon.post(&form.field("include[]", "logprobs")));
    assert_eq!(joined(&events), GOFORWARD.text);
    for event in &events {
        let tokens = event["logprobs"].as_array().unwrap().iter();
        let text: String = tokens.map(|t| t["token"].as_str().unwrap()).collect();
        assert_eq!(text, GOFORWARD.text);
    }
}

#[test]
fn silence_is_a_stream_of_one_event() {
    let daemon = Daemon::start("");
    let form = Form::of("a.wav", &wav(&[0; 32_000])).field("stream", "true");
    let events = streamed(&daemon.post(&form));
    assert_eq!(joined(&events), "");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["usage"], no_tokens());
}

#[test]
fn a_stream_is_the_same_whatever_the_format() {
    let daemon = Daemon::start("");
    let form = Form::of("a.wav", &GOFORWARD.wav()).field("stream", "true");
    for format in ["json", "text", "srt", "vtt", "verbose_json"] {
        let answer = daemon.post(&form.clone().field("response_format", format));
        assert_eq!(answer.header("content-type"), "text/event-stream");
        let events = streamed(&answer);
        assert_eq!(joined(&events), GOFORWARD.text, "{format}");
        assert_eq!(events.last().unwrap()["type"], "transcript.text.done");
    }
}

#[test]
fn deltas_come_while_the_job_works() {
    let daemon = Daemon::start(FAULT);
    let idle = daemon.wait_spares(1);
    let mut client = daemon.connect();
    client.send(&form("stall").request());
    read_until(&mut client, "\r\n\r\n");
    let event = read_until(&mut client, "\n\n");
    assert!(event.contains(r#""delta":"fault engine""#), "{event}");
    assert!(
        idle[0].lives(),
        "the job ended before its first segment was told"
    );
    drop(client);
    wait_until("the job is killed", LONG, || !idle[0].lives());
}

#[test]
fn an_early_failure_is_an_ordinary_error() {
    let daemon = Daemon::start(FAULT);
    for (mode, status, code) in [
        ("segfault", 502, "worker_crashed"),
        ("fail", 502, "engine_failed"),
    ] {
        let answer = daemon.post(&form(mode));
        answer.assert_refusal(status, code, None);
        assert!(answer.pid() > 0);
    }
    let answer = daemon.post(&Form::of("a.wav", b"no audio").field("stream", "true"));
    answer.assert_refusal(400, "invalid_audio", None);
    let answer = daemon.post(&form("").field("stream", "true"));
    answer.assert_refusal(400, "invalid_parameter", Some("stream"));
}

#[test]
fn a_late_failure_is_the_last_event() {
    let daemon = Daemon::start(FAULT);
    for (form, first, code) in [
        (form("out-of-order"), "second", "worker_misbehaved"),
        (
            form("stall").field("deadline", "1s"),
            "fault engine",
            "timeout",
        ),
    ] {
        let events = streamed(&daemon.post(&form));
        let first = json!({"type": "transcript.text.delta", "delta": first});
        assert_eq!(events[0], first);
        assert_eq!(events.len(), 2, "{events:?}");
        let error = &events[1]["error"];
        assert_eq!(error["code"], code, "{error}");
        assert_eq!(error["type"], "server_error");
        assert!(!error["message"].as_str().unwrap().is_empty());
        assert!(error["param"].is_null());
    }
}

#[test]
fn a_client_that_stops_reading_is_cut_off() {
    // Larger than sockets and queues can hold, and below the limit of text for so long a recording.
    const TEXT: usize = 3 << 20;
    let half_an_hour = wav(&vec![0; 1800 * 2 * 16_000]);
    let daemon = Daemon::start(FAULT);
    daemon.wait_spares(1);
    let mut client = daemon.connect();
    let form = Form::of("a.wav", &half_an_hour).field("stream", "true");
    client.send(&form.field("model", "default:text-flood").request());
    wait_until("the request is over", LONG, || {
        daemon.log().contains("outcome=\"cancelled\"")
    });
    daemon.wait_idle(1);
    let all = client.rest();
    assert!(all.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!((1000..TEXT).contains(&all.len()), "{}", all.len());
    let text = String::from_utf8(all).unwrap();
    assert!(!text.contains("transcript.text.done") && !text.contains(r#""error""#));
}

/// Deltas, guesses, and whether the stream has ended well.
fn early(events: &[Value]) -> (Vec<&str>, Vec<&str>) {
    let (done, before) = events.split_last().unwrap();
    let of = |kind: &str, key: &str| {
        let all = before.iter().filter(|event| event["type"] == kind);
        all.map(|event| event[key].as_str().unwrap()).collect()
    };
    let (deltas, guesses): (Vec<&str>, Vec<&str>) = (
        of("transcript.text.delta", "delta"),
        of("stt.hypothesis", "tentative"),
    );
    assert_eq!(before.len(), deltas.len() + guesses.len(), "{events:?}");
    assert!(deltas.iter().all(|delta| !delta.is_empty()), "{events:?}");
    assert_eq!(done["type"], "transcript.text.done", "{done}");
    assert_eq!(done["text"], deltas.concat());
    (deltas, guesses)
}

#[test]
fn guesses_and_promises_are_passed_on_as_they_are() {
    let daemon = Daemon::start(FAULT);
    let events = streamed(&daemon.post(&form("partials").field("partials", "true")));
    let (deltas, guesses) = early(&events);
    assert_eq!(deltas, ["fault", " eng", "ine"]);
    assert_eq!(guesses, ["folt", " end", "ine"]);
    let events = streamed(&daemon.post(&form("partials")));
    assert_eq!(joined(&events), "fault engine");
}

#[test]
fn words_before_they_are_final_need_a_plain_stream() {
    let daemon = Daemon::start(FAULT);
    let form = || Form::of("a.wav", &TEN_OF_CLUBS.wav()).field("partials", "true");
    let answer = daemon.post(&form());
    answer.assert_refusal(400, "invalid_parameter", Some("partials"));
    let answer = daemon.post(
        &form()
            .field("stream", "true")
            .field("response_format", "diarized_json"),
    );
    answer.assert_refusal(400, "invalid_parameter", Some("partials"));
}

#[test]
fn a_job_that_breaks_its_promise_ends_its_stream() {
    let daemon = Daemon::start(FAULT);
    let events = streamed(&daemon.post(&form("partial-taken-back").field("partials", "true")));
    let (error, before) = events.split_last().unwrap();
    assert_eq!(before[0]["delta"], "go");
    assert_eq!(error["error"]["code"], "worker_misbehaved", "{events:?}");
}
