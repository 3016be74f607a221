//! Who speaks: each channel of a call is transcribed by a job of its own.

use std::{collections::BTreeMap, time::Duration};

use crate::common::{
    LONG,
    clips::{Clip, GOFORWARD, SOMETHING, TEN_OF_CLUBS, call, recording, speech, wav},
    daemon::{Daemon, Setup},
    http::{Answer, Form},
    wait_until,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

const FAULT: &str = r#"
    [models.default]
    engine = "fault"
    spares = { min = 1, max = 2 }
"#;

/// The same sound on both channels.
fn twice(clip: &Clip) -> Vec<u8> {
    let samples = speech(clip, 0.0, 0.0);
    recording(&[samples.clone(), samples], 0.0)
}

fn diarized(recording: &[u8]) -> Form {
    Form::of("call.wav", recording).field("response_format", "diarized_json")
}

#[track_caller]
fn json_of(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The text of each speaker.
fn said(answer: &Value) -> BTreeMap<String, String> {
    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for segment in answer["segments"].as_array().unwrap() {
        let text = said.entry(segment["speaker"].as_str().unwrap().to_owned());
        let text = text.or_default();
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(segment["text"].as_str().unwrap());
    }
    said
}

fn both(first: &str, second: &str) -> BTreeMap<String, String> {
    [(first, GOFORWARD.text), (second, SOMETHING.text)]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into()
}

fn warnings(answer: &Answer) -> String {
    let all = answer.headers.get_all("x-stt-warnings").iter();
    let all: Vec<&str> = all.map(|value| value.to_str().unwrap()).collect();
    all.join("\n")
}

#[test]
fn a_call_has_each_word_under_its_speaker_and_a_process_for_each_channel() {
    let daemon = Daemon::start("");
    let answer = daemon.post(&diarized(&call()).field("chunking_strategy", "auto"));
    let json = json_of(&answer);
    assert_eq!(said(&json), both("A", "B"), "{json}");
    assert_eq!(json["task"], "transcribe");
    assert_eq!(
        json["text"],
        format!("{} {}", GOFORWARD.text, SOMETHING.text)
    );
    let duration = json["duration"].as_f64().unwrap();
    assert_eq!(
        json["usage"],
        json!({"type": "duration", "seconds": duration.ceil() as u64})
    );
    let segments = json["segments"].as_array().unwrap();
    for (n, segment) in segments.iter().enumerate() {
        assert_eq!(segment["type"], "transcript.text.segment");
        assert_eq!(segment["id"], format!("seg_{:03}", n + 1));
        assert!(segment["start"].as_f64() < segment["end"].as_f64());
    }
    let channels = json["stt"]["channels"].as_array().unwrap();
    let of = |key: &str| -> Vec<u64> {
        channels
            .iter()
            .map(|one| one[key].as_u64().unwrap())
            .collect()
    };
    assert_eq!(of("channel"), [0, 1]);
    let pids = of("pid");
    assert!(
        pids[0] != pids[1] && pids[0] == answer.number("x-stt-pid"),
        "{pids:?}"
    );
    for key in ["cpu_ms", "peak_bytes"] {
        let sum: u64 = of(key).iter().sum();
        assert!(
            json["stt"][key].as_u64().unwrap().abs_diff(sum) <= 2,
            "{key}: {json}"
        );
    }
    assert_eq!(warnings(&answer), "");
    // In the books each channel is a request.
    let total = daemon.get("/v1/stats").json()["total"].clone();
    assert_eq!(
        (&total["requests"]["accepted"], &total["requests"]["ok"]),
        (&json!(2), &json!(2))
    );
}

#[test]
fn every_format_can_say_who_speaks() {
    let daemon = Daemon::start("");
    let ask = |format: &str| {
        let form = Form::of("call.wav", &call()).field("speakers", "channels");
        let form = form.field("known_speaker_names[]", "Ann <3");
        let form = form.field("known_speaker_names[]", "Bob");
        let answer = daemon.post(&form.field("response_format", format));
        assert_eq!(answer.status, 200, "{answer:?}");
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    let json: Value = serde_json::from_str(&ask("verbose_json")).unwrap();
    assert_eq!(said(&json), both("Ann <3", "Bob"), "{json}");
    let text = format!("{} {}", GOFORWARD.text, SOMETHING.text);
    assert_eq!(ask("text"), text.clone() + "\n");
    let json: Value = serde_json::from_str(&ask("json")).unwrap();
    assert_eq!(json["text"], text);
    let srt = ask("srt");
    assert!(
        srt.contains(&format!("\nAnn <3: {}\n", GOFORWARD.text)),
        "{srt}"
    );
    assert!(
        srt.contains(&format!("\nBob: {}\n", SOMETHING.text)),
        "{srt}"
    );
    let vtt = ask("vtt");
    assert!(
        vtt.contains(&format!("\n<v Ann &lt;3>{}\n", GOFORWARD.text)),
        "{vtt}"
    );
    assert!(
        vtt.contains(&format!("\n<v Bob>{}\n", SOMETHING.text)),
        "{vtt}"
    );
}

#[test]
fn events_come_in_the_order_of_time_each_with_its_speaker() {
    let daemon = Daemon::start("");
    let answer = daemon.post(&diarized(&call()).field("stream", "true"));
    assert_eq!(answer.header("content-type"), "text/event-stream");
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    let events: Vec<Value> = (body.lines().filter_map(|line| line.strip_prefix("data: ")))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let (done, rest) = events.split_last().unwrap();
    let (mut text, mut last) = (String::new(), 0.0);
    let mut segments = Vec::new();
    for pair in rest.chunks(2) {
        assert_eq!(pair[0]["type"], "transcript.text.delta", "{body}");
        assert_eq!(pair[1]["type"], "transcript.text.segment", "{body}");
        assert_eq!(pair[0]["segment_id"], pair[1]["id"]);
        let (delta, of_segment) = (pair[0]["delta"].as_str(), pair[1]["text"].as_str());
        assert_eq!(delta.map(str::trim_start), of_segment);
        text.push_str(delta.unwrap());
        let start = pair[1]["start"].as_f64().unwrap();
        assert!(start >= last, "{body}");
        last = start;
        segments.push(pair[1].clone());
    }
    assert_eq!(said(&json!({"segments": segments})), both("A", "B"));
    assert_eq!(done["type"], "transcript.text.done");
    assert_eq!(done["text"], text);
    assert_eq!(done["stt"]["channels"].as_array().unwrap().len(), 2);
}

#[test]
fn nobody_is_told_apart_where_nothing_tells() {
    let daemon = Daemon::start("");
    let silent = vec![0.0; 16_000];
    let mix = |count: usize| {
        let all = vec![speech(&GOFORWARD, 0.0, 0.0); count];
        recording(&all, 0.0)
    };
    for (what, recording, why) in [
        ("mono", GOFORWARD.wav(), "one channel"),
        ("the same twice", twice(&GOFORWARD), "the same sound"),
        ("nine channels", mix(9), "9 channels"),
        (
            "one side",
            recording(&[silent, speech(&GOFORWARD, 0.0, 0.0)], 0.0),
            "only channel 1",
        ),
    ] {
        let answer = daemon.post(&diarized(&recording));
        let json = json_of(&answer);
        let unknown = [("unknown".to_owned(), GOFORWARD.text.to_owned())];
        assert_eq!(said(&json), unknown.into(), "{what}");
        assert!(warnings(&answer).contains(why), "{what}: {answer:?}");
        assert!(json["stt"]["warnings"][0].as_str().unwrap().contains(why));
        assert_eq!(json["stt"]["channels"], Value::Null, "{what}");
        let must = diarized(&recording).field("speakers", "channels");
        let answer = daemon.post(&must);
        if what == "one side" {
            assert_eq!(
                said(&json_of(&answer)),
                [("B".into(), GOFORWARD.text.into())].into()
            );
        } else {
            let message = answer.assert_refusal(400, "speakers_unknown", Some("speakers"));
            assert!(message.contains(why), "{what}: {message}");
        }
    }
    let silence = json_of(&daemon.post(&diarized(&recording(
        &[vec![0.0; 16_000], vec![0.0; 16_000]],
        0.0,
    ))));
    assert_eq!(silence["segments"], json!([]));
    // Without a wish for speakers, nothing changes.
    let plain = daemon.post(&Form::of("a.wav", &twice(&GOFORWARD)));
    assert_eq!(
        (plain.text().as_str(), warnings(&plain)),
        (GOFORWARD.text, String::new())
    );
}

#[test]
fn names_are_those_of_the_channels_or_nobodys() {
    let daemon = Daemon::start("");
    let named = |recording: &[u8], names: &[&str]| {
        let form = diarized(recording);
        let form = names
            .iter()
            .fold(form, |form, name| form.field("known_speaker_names[]", name));
        daemon.post(&form)
    };
    let parameter = Some("known_speaker_names");
    assert_eq!(
        said(&json_of(&named(&call(), &["agent", "customer"]))),
        both("agent", "customer")
    );
    for names in [&["agent"][..], &["a", "b", "c"], &["a", "b", "c", "d"]] {
        let message = named(&call(), names).assert_refusal(400, "speakers_unknown", parameter);
        assert!(message.contains("2 channels"), "{message}");
    }
    for recording in [GOFORWARD.wav(), twice(&GOFORWARD)] {
        let answer = named(&recording, &["Ann"]);
        assert_eq!(
            said(&json_of(&answer)),
            [("Ann".into(), GOFORWARD.text.into())].into()
        );
        assert_eq!(warnings(&answer), "");
        named(&recording, &["Ann", "Bob"]).assert_refusal(400, "speakers_unknown", parameter);
    }
    for names in [&["Ann", "Ann"][..], &["Ann\nBob"], &[" ", "Bob"]] {
        let answer = named(&call(), names);
        answer.assert_refusal(400, "invalid_parameter", Some("known_speaker_names[]"));
    }
    let unasked = Form::of("a.wav", &call()).field("known_speaker_names[]", "Ann");
    daemon
        .post(&unasked)
        .assert_refusal(400, "invalid_parameter", parameter);
}

fn data_url(recording: &[u8]) -> String {
    format!("data:audio/wav;base64,{}", STANDARD.encode(recording))
}

#[test]
fn a_known_voice_gives_its_name_to_nobody_if_voices_are_not_compared() {
    let daemon = Daemon::start("");
    let form = diarized(&call()).field("known_speaker_names[]", "agent");
    let with = |url: &str| form.clone().field("known_speaker_references[]", url);
    let voice = |seconds: usize| data_url(&wav(&vec![0; 32_000 * seconds]));
    let answer = daemon.post(&with(&voice(2)));
    assert_eq!(said(&json_of(&answer)), both("A", "B"));
    assert!(
        warnings(&answer).contains("known_speaker_references"),
        "{answer:?}"
    );
    // A long one is no parameter like others.
    assert_eq!(daemon.post(&with(&voice(10))).status, 200);
    let (short, long) = (voice(1), voice(11));
    for (url, expected) in [
        ("Ann", "no data URL"),
        ("data:text/plain;base64,QW5u", "media type"),
        ("data:audio/wav;base64,bm8gYXVkaW8h", "not a recording"),
        ("data:audio/wav;base64,UklGRiQAAABXQVZF", "fewer than 2 s"),
        (&short, "it has 1.0 s of sound"),
        (&long, "it has 11.0 s of sound"),
    ] {
        let answer = daemon.post(&with(url));
        let parameter = Some("known_speaker_references[]");
        let message = answer.assert_refusal(400, "invalid_parameter", parameter);
        assert!(
            message.contains("2 to 10 s") && message.contains(expected),
            "{message}"
        );
    }
    let two = with(&voice(2)).field("known_speaker_names[]", "customer");
    let parameter = Some("known_speaker_references");
    daemon
        .post(&two)
        .assert_refusal(400, "invalid_parameter", parameter);
}

#[test]
fn what_contradicts_itself_is_refused() {
    let daemon = Daemon::start("");
    for (name, value, param) in [
        ("channel", "0", "channel"),
        ("speakers", "three", "speakers"),
        ("include[]", "logprobs", "include"),
    ] {
        let answer = daemon.post(&diarized(&call()).field(name, value));
        answer.assert_refusal(400, "invalid_parameter", Some(param));
    }
}

#[test]
fn a_models_settings_can_ask_for_channels() {
    let daemon =
        Daemon::start("[models.default]\nengine = \"pocketsphinx\"\nspeakers = \"channels\"");
    let form = Form::of("call.wav", &call()).field("response_format", "verbose_json");
    assert_eq!(said(&json_of(&daemon.post(&form))), both("A", "B"));
    let json = json_of(&daemon.post(&form.field("speakers", "auto")));
    assert_eq!(json["segments"][0]["speaker"], Value::Null);
    // A default bends; only a request that insists is refused.
    let answer = daemon.post(&Form::of("a.wav", &TEN_OF_CLUBS.wav()));
    assert_eq!(answer.text(), TEN_OF_CLUBS.text);
    let one = Form::of("a.wav", &call()).field("channel", "0");
    assert_eq!(daemon.post(&one).status, 200);
}

/// A request to the engine `fault` for a recording in which two people speak.
fn fault(mode: &str) -> Form {
    diarized(&call()).field("model", format!("default:{mode}"))
}

#[test]
fn eight_channels_have_eight_jobs_however_few_run_at_once() {
    for running in [1, 4] {
        let config = format!("[jobs]\nmax_running = {running}\nmax_queued = 1\n{FAULT}");
        let daemon = Daemon::start(&config);
        let channels: Vec<Vec<f64>> = (0..8)
            .map(|n| speech(&TEN_OF_CLUBS, f64::from(n) * 1.2, 0.0))
            .collect();
        let form = diarized(&recording(&channels, 0.0)).field("model", "default");
        let json = json_of(&daemon.post(&form));
        let speakers: Vec<String> = said(&json).into_keys().collect();
        assert_eq!(speakers.join(""), "ABCDEFGH");
        let pids = json["stt"]["channels"].as_array().unwrap().iter();
        let mut pids: Vec<u64> = pids.map(|one| one["pid"].as_u64().unwrap()).collect();
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), 8);
    }
}

#[test]
fn a_channel_that_fails_fails_the_request_by_its_number() {
    let daemon = Daemon::start(FAULT);
    for (mode, status, code) in [
        ("fail", 502, "engine_failed"),
        ("segfault", 502, "worker_crashed"),
        ("out-of-order", 502, "worker_misbehaved"),
    ] {
        for channel in [0, 1] {
            let form = fault(&format!("channel={channel},{mode}"));
            let message = daemon.post(&form).assert_refusal(status, code, None);
            assert!(
                message.starts_with(&format!("channel {channel}: ")),
                "{message}"
            );
        }
    }
    let total = || daemon.get("/v1/stats").json()["total"].clone();
    wait_until("all jobs are gone", LONG, || total()["running"] == 0);
    let requests = total()["requests"].clone();
    let ended = requests.as_object().unwrap().iter();
    let ended: u64 = (ended.filter(|(name, _)| *name != "accepted"))
        .map(|(_, count)| count.as_u64().unwrap())
        .sum();
    assert_eq!(requests["accepted"], ended);
}

#[test]
fn a_client_that_hangs_up_ends_all_jobs() {
    let daemon = Daemon::start(&format!("[jobs]\nmax_running = 2\n{FAULT}"));
    let total = || daemon.get("/v1/stats").json()["total"].clone();
    for stream in ["false", "true"] {
        let mut raw = daemon.connect();
        raw.send(&fault("hang").field("stream", stream).request());
        wait_until("both channels have jobs", LONG, || total()["running"] == 2);
        drop(raw);
        wait_until("no job is left", LONG, || {
            total()["running"] == 0 && total()["queued"] == 0
        });
    }
    let json = json_of(&daemon.post(&diarized(&call())));
    assert_eq!(said(&json).len(), 2);
    let requests = total()["requests"].clone();
    assert_eq!(
        (&requests["cancelled"], &requests["ok"]),
        (&json!(4), &json!(2))
    );
}

#[test]
fn a_full_queue_and_a_short_patience_end_no_call_that_has_begun() {
    let queue = "[jobs]\nmax_running = 1\nmax_queued = 1\nqueue_timeout = \"2s\"\n";
    let daemon = Daemon::start(&format!("{queue}{FAULT}"));
    let stats = || daemon.get("/v1/stats").json()["total"].clone();
    std::thread::scope(|scope| {
        // Each channel takes longer than a request may wait.
        let call = scope.spawn(|| daemon.post(&fault("sleep=3s")));
        wait_until("the call has begun", LONG, || stats()["running"] == 1);
        wait_until("its second channel waits", LONG, || stats()["queued"] == 1);
        // For others the queue is full.
        let other = Form::of("a.wav", &TEN_OF_CLUBS.wav());
        daemon.post(&other).assert_come_back(429, "queue_full");
        let json = json_of(&call.join().unwrap());
        assert_eq!(said(&json).len(), 2);
    });
    // The other way round: the queue is full when the second channel comes.
    std::thread::scope(|scope| {
        let call = scope.spawn(|| {
            let long = speech(&GOFORWARD, 0.0, 0.0).repeat(40);
            let other = speech(&SOMETHING, 0.0, 0.0).repeat(40);
            let form = diarized(&recording(&[long, other], 0.0));
            daemon.post(&form.field("model", "default:sleep=1s"))
        });
        wait_until("the call has begun", LONG, || stats()["running"] == 1);
        let other = daemon.post(&Form::of("a.wav", &TEN_OF_CLUBS.wav()));
        assert!([200, 429].contains(&other.status), "{other:?}");
        assert_eq!(said(&json_of(&call.join().unwrap())).len(), 2);
    });
}

#[test]
fn calls_that_hold_a_job_each_do_not_wait_for_each_other() {
    let daemon = Daemon::start(&format!("[jobs]\nmax_running = 2\n{FAULT}"));
    std::thread::scope(|scope| {
        let calls = (0..6).map(|_| scope.spawn(|| daemon.post(&fault("sleep=200ms"))));
        let calls: Vec<_> = calls.collect();
        for call in calls {
            assert_eq!(said(&json_of(&call.join().unwrap())).len(), 2);
        }
    });
}

#[test]
fn memory_for_one_job_is_enough() {
    let config = format!(
        "[memory]\nbudget = \"64M\"\n[limits]\nmemory = \"64M\"\n[spares]\nmin = 0\n{}",
        "[models.default]\nengine = \"fault\"\n"
    );
    let daemon = Setup::new(&config).start();
    let json = json_of(&daemon.post(&diarized(&call())));
    assert_eq!(said(&json).len(), 2);
    let deadline = Duration::from_secs(60).as_millis() as u64;
    assert!(json["stt"]["wall_ms"].as_u64().unwrap() < deadline);
}
