//! Real speech through the real daemon: what a well-behaved client gets.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use crate::common::{
    clips::{CLIPS, ENCODINGS, GOFORWARD, TEN_OF_CLUBS},
    daemon::{Daemon, Setup},
    http::{Answer, Form},
    process,
};
use hyper::Method;
use serde_json::json;

/// Runs `work` on every item, as many at once as `workers`.
fn in_parallel<T: Sync>(workers: usize, items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

#[test]
fn the_bytes_tell_the_encoding() {
    let daemon = Daemon::start("");
    let [flac, mp3, ..] = ENCODINGS;
    for (name, recording) in [
        ("recording", GOFORWARD.wav()),
        ("recording.mp3", GOFORWARD.encoded(flac)),
        ("recording.wav", GOFORWARD.encoded(mp3)),
        ("../../etc/passwd\u{1F600}.\u{1F600}", GOFORWARD.wav()),
    ] {
        assert_eq!(daemon.transcribe(name, &recording).text(), GOFORWARD.text);
    }
}

#[test]
fn raw_samples_need_a_media_type() {
    let daemon = Daemon::start("");
    let little = GOFORWARD.samples();
    let big: Vec<u8> = little
        .chunks_exact(2)
        .flat_map(|two| [two[1], two[0]])
        .collect();
    for (kind, recording) in [
        ("audio/L16;rate=16000", &big),
        ("audio/l16; rate=16000; channels=1", &big),
        ("audio/pcm;rate=16000", &little),
        ("audio/pcm; rate=16000; encoding=s16be", &big),
    ] {
        let form = Form::default().file_of(kind, "recording", recording);
        assert_eq!(daemon.post(&form).text(), GOFORWARD.text, "{kind}");
    }
    for (kind, name) in [
        ("audio/L16", "recording"),
        ("audio/pcm;channels=1", "recording"),
        ("application/octet-stream", "recording.raw"),
    ] {
        let form = Form::default().file_of(kind, name, &little);
        let message = daemon
            .post(&form)
            .assert_refusal(400, "invalid_audio", None);
        assert!(message.contains("`audio/L16;rate=16000`"), "{message}");
    }
}

#[test]
fn answers_are_json_or_text_with_figures() {
    let daemon = Daemon::start("");
    let form = Form::of("a.wav", &GOFORWARD.wav());
    for form in [form.clone(), form.clone().field("response_format", "json")] {
        let answer = daemon.post(&form);
        assert_eq!(answer.status, 200);
        let usage = json!({"type": "duration", "seconds": 3});
        assert_eq!(
            answer.json(),
            json!({"text": GOFORWARD.text, "languages": [{"code": "en"}], "usage": usage})
        );
    }
    let begin = Instant::now();
    let answer = daemon.post(&form.field("response_format", "text"));
    let elapsed = begin.elapsed().as_millis();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.body, format!("{}\n", GOFORWARD.text));

    assert_eq!(answer.number("x-stt-audio-ms"), 2786);
    let wall = answer.number("x-stt-wall-ms");
    assert!((1..=elapsed).contains(&u128::from(wall)), "{wall}");
    assert!(u128::from(answer.number("x-stt-queue-ms")) <= elapsed);
    assert!((1..60_000).contains(&answer.number("x-stt-cpu-ms")));
    let [anonymous, peak] = ["x-stt-anon-bytes", "x-stt-peak-bytes"].map(|n| answer.number(n));
    assert!(1 << 20 < anonymous && anonymous <= peak && peak < 1 << 30);
    let (mode, confined) = answer.header("x-stt-isolation").split_once("; ").unwrap();
    assert_eq!(mode, "process");
    assert!(["cgroup", "unconfined"].contains(&confined));
    let limited = answer.headers.contains_key("x-stt-memory-limit-bytes");
    assert_eq!(limited, confined == "cgroup");
}

#[test]
fn parts_come_in_any_order() {
    let daemon = Daemon::start("");
    let wav = TEN_OF_CLUBS.wav();
    type Step = fn(Form, &[u8]) -> Form;
    let steps: [Step; 4] = [
        |form, wav| form.file("a.wav", wav),
        |form, _| form.field("model", "default"),
        |form, _| form.field("language", "en"),
        |form, _| form.field("response_format", "text"),
    ];
    for first in 0..steps.len() {
        let order = (0..steps.len()).map(|n| steps[(first + n) % steps.len()]);
        let form = order.fold(Form::default(), |form, step| step(form, &wav));
        let answer = daemon.post(&form);
        assert_eq!(answer.body, "ten of clubs\n", "{answer:?}");
    }
    let before = Form::default().field("colour", "blue").file("a.wav", &wav);
    let after = Form::of("a.wav", &wav).field("colour", "blue");
    for form in [before, after] {
        let message = daemon
            .post(&form)
            .assert_refusal(400, "invalid_parameter", Some("colour"));
        assert!(message.contains("`colour`"), "{message}");
    }
}

#[test]
fn parameters_have_to_be_possible() {
    let daemon = Daemon::start("");
    let form = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    for language in ["en", "EN", "en-US", "en_GB", ""] {
        let answer = daemon.post(&form.clone().field("language", language));
        assert_eq!(answer.text(), TEN_OF_CLUBS.text, "{language}");
    }
    for language in ["fr", "french", "e", "en-US-x-\u{e9}", "\u{65e5}\u{672c}"] {
        daemon
            .post(&form.clone().field("language", language))
            .assert_refusal(400, "invalid_parameter", Some("language"));
    }
    for format in ["diarized", "JSON", "xml"] {
        daemon
            .post(&form.clone().field("response_format", format))
            .assert_refusal(400, "invalid_parameter", Some("response_format"));
    }
}

const TWO_MODELS: &str = r#"
    default_model = "second"
    [models.first]
    engine = "pocketsphinx"
    [models.second]
    engine = "pocketsphinx"
    aliases = ["whisper-1", "gpt-4o-transcribe"]
    spares = { min = 1, max = 1 }
"#;

#[test]
fn a_model_is_found_by_name_or_alias() {
    let daemon = Daemon::start(TWO_MODELS);
    let form = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    for model in ["first", "second", "whisper-1", "gpt-4o-transcribe", ""] {
        let answer = daemon.post(&form.clone().field("model", model));
        assert_eq!(answer.text(), TEN_OF_CLUBS.text, "{model}");
    }
    let answer = daemon.post(&form.field("model", "whisper-2"));
    let message = answer.assert_refusal(404, "model_not_found", Some("model"));
    assert!(message.contains("`whisper-2`"), "{message}");

    let models = daemon.get("/v1/models");
    assert_eq!(models.status, 200);
    let describe = |name: &str| json!({"id": name, "object": "model", "created": 0, "owned_by": "pocketsphinx"});
    let names = ["first", "second", "whisper-1", "gpt-4o-transcribe"];
    let expected = json!({"object": "list", "data": names.map(describe)});
    assert_eq!(models.json(), expected);
    for name in names {
        assert_eq!(
            daemon.get(&format!("/v1/models/{name}")).json(),
            describe(name)
        );
    }
    daemon
        .get("/v1/models/whisper-2")
        .assert_refusal(404, "model_not_found", Some("model"));
}

#[test]
fn health_and_readiness_are_told() {
    let daemon = Daemon::start("");
    let health = daemon.get("/healthz");
    assert_eq!(
        (health.status, health.json()),
        (200, json!({"status": "ok"}))
    );
    let ready = daemon.get("/readyz");
    let models = json!({"default": {"status": "ready"}});
    let expected = json!({"status": "ready", "models": models});
    assert_eq!((ready.status, ready.json()), (200, expected));
}

#[test]
fn unknown_paths_are_refused() {
    let daemon = Daemon::start("");
    daemon.get("/").assert_refusal(404, "not_found", None);
    daemon
        .request(Method::POST, "/v1/audio/speech")
        .assert_refusal(404, "not_found", None);
    for (method, path) in [
        (Method::GET, "/v1/audio/transcriptions"),
        (Method::GET, "/v1/audio/translations"),
        (Method::DELETE, "/v1/models"),
        (Method::POST, "/healthz"),
        (Method::PUT, "/readyz"),
    ] {
        daemon
            .request(method, path)
            .assert_refusal(405, "method_not_allowed", None);
    }
}

#[test]
fn every_answer_has_its_own_id() {
    let daemon = Daemon::start("");
    let wav = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    let answers = [
        daemon.post(&wav),
        daemon.post(&wav),
        daemon.post(&Form::default()),
        daemon.post(&wav.clone().field("model", "no")),
        daemon.get("/v1/models"),
        daemon.get("/v1/models/no"),
        daemon.get("/healthz"),
        daemon.get("/readyz"),
        daemon.get("/no"),
        daemon.request(Method::DELETE, "/healthz"),
    ];
    let id = |answer: &Answer| uuid::Uuid::parse_str(answer.header("x-request-id")).unwrap();
    let ids: HashSet<_> = answers.iter().map(id).collect();
    assert_eq!(ids.len(), answers.len());
    // The log knows a request by the id that its client knows.
    let log = daemon.log();
    for answer in &answers[..2] {
        assert!(log.contains(answer.header("x-request-id")), "{log}");
    }
}

#[test]
fn the_first_client_waits_for_the_model() {
    let daemon = Setup::new("").launch();
    assert_eq!(daemon.get("/healthz").status, 200);
    let ready = daemon.get("/readyz");
    assert_eq!(ready.status, 503);
    assert_eq!(
        ready.json()["models"],
        json!({"default": {"status": "starting"}})
    );
    let answer = daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav());
    assert_eq!(answer.text(), TEN_OF_CLUBS.text);
    assert!(daemon.is_ready());
}

#[test]
fn large_uploads_use_an_unnamed_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[http]\nspool_memory = \"10K\"\nspool_directory = {:?}",
        folder.path()
    );
    let daemon = Daemon::start(&config);
    let answer = daemon.transcribe("a.wav", &GOFORWARD.wav());
    assert_eq!(answer.text(), GOFORWARD.text);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0);
}

/// These keep all CPUs busy: nothing runs at the same time.
mod alone {
    use super::*;

    #[test]
    fn every_encoding_is_heard_word_for_word() {
        let daemon = Daemon::start("");
        let mut recordings = Vec::new();
        for clip in CLIPS {
            recordings.push((clip, "wav", clip.wav()));
            for encoding in ENCODINGS {
                recordings.push((clip, encoding.extension, clip.encoded(encoding)));
            }
        }
        let wrong = Mutex::new(Vec::new());
        in_parallel(4, &recordings, |(clip, extension, recording)| {
            let text = daemon
                .transcribe(&format!("clip.{extension}"), recording)
                .text();
            if text != clip.text {
                wrong.lock().unwrap().push((clip.text, *extension, text));
            }
        });
        assert!(wrong.lock().unwrap().is_empty(), "{wrong:#?}");
    }

    #[test]
    fn twenty_requests_have_twenty_processes() {
        for config in ["", "[jobs]\nmax_running = 20"] {
            let daemon = Daemon::start(config);
            let before = daemon.wait_idle(2);
            let zygote = daemon.zygote();
            let clips: Vec<_> = CLIPS.into_iter().cycle().take(20).collect();
            let pids = Mutex::new(HashSet::new());
            in_parallel(20, &clips, |clip| {
                let answer = daemon.transcribe("a.wav", &clip.wav());
                assert_eq!(answer.text(), clip.text);
                pids.lock().unwrap().insert(answer.pid());
            });
            let pids = pids.into_inner().unwrap();
            assert_eq!(pids.len(), 20, "{pids:?}");
            assert!(!pids.contains(&zygote.pid) && !pids.contains(&daemon.pid()));
            // Those that were idle before were used, and nothing that was used is left.
            assert!(pids.is_superset(&process::pids(&before)));
            let after = daemon.wait_idle(2);
            assert!(pids.is_disjoint(&process::pids(&after)));
            assert_eq!(daemon.zygote().pid, zygote.pid);
        }
    }

    #[test]
    fn fifty_repetitions_give_the_same_bytes() {
        let daemon = Daemon::start("");
        let mut order = vec![TEN_OF_CLUBS; 50];
        order.extend(CLIPS);
        order.extend(CLIPS);
        // Shuffled, the same way each time.
        let mut state = 1u64;
        for last in (1..order.len()).rev() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            order.swap(last, usize::try_from(state >> 33).unwrap() % (last + 1));
        }
        let bodies = Mutex::new(BTreeMap::<&str, Vec<_>>::new());
        in_parallel(4, &order, |clip| {
            let answer = daemon.transcribe("a.wav", &clip.wav());
            assert_eq!(answer.text(), clip.text);
            let mut bodies = bodies.lock().unwrap();
            bodies.entry(clip.text).or_default().push(answer.body);
        });
        let bodies = bodies.into_inner().unwrap();
        assert_eq!(bodies[TEN_OF_CLUBS.text].len(), 52);
        for bodies in bodies.values() {
            assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
        }
    }
}
