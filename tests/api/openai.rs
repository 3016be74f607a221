//! The wishes of OpenAI's clients and their answers: formats, parameters, a body that is the
//! recording alone.

use std::{collections::BTreeSet, process::Command};

use crate::common::{
    clips::{CLIPS, GOFORWARD, TEN_OF_CLUBS, wav},
    daemon::Daemon,
    http::{self, Answer, Form, TRANSCRIPTIONS},
};
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use serde_json::{Value, json};

const FAULT: &str = r#"
    [models.default]
    engine = "pocketsphinx"
    [models.fault]
    engine = "fault"
"#;

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// A request with a body that is not a form.
fn post_plain(daemon: &Daemon, kind: &str, query: &str, body: &[u8]) -> Answer {
    let request = Request::post(format!("{TRANSCRIPTIONS}{query}"))
        .header("host", "x")
        .header("content-type", kind)
        .body(Full::new(Bytes::copy_from_slice(body)))
        .unwrap();
    http::exchange(daemon.socket(), request).unwrap()
}

/// Recordings one after the other with pauses of four seconds: more than an engine hears in one
/// piece.
fn recordings_in_one() -> Vec<u8> {
    let pause = vec![0; 4 * 2 * 16_000];
    let samples = CLIPS
        .iter()
        .flat_map(|clip| [clip.samples(), pause.clone()]);
    wav(&samples.flatten().collect::<Vec<u8>>())
}

#[test]
fn verbose_json_is_complete() {
    let daemon = Daemon::start("");
    let form = Form::of("a.wav", &recordings_in_one()).field("response_format", "verbose_json");
    let answer = daemon.post(&form).json();
    let expected = [
        "duration", "language", "segments", "stt", "task", "text", "usage",
    ];
    assert_eq!(keys(&answer), BTreeSet::from(expected));
    assert_eq!(answer["task"], "transcribe");
    assert_eq!(answer["language"], "english");
    let duration = answer["duration"].as_f64().unwrap();
    let usage = json!({"type": "duration", "seconds": duration.ceil() as u64});
    assert_eq!(answer["usage"], usage);
    assert_eq!(answer["stt"]["warnings"], json!([]));
    assert!(answer["stt"]["peak_bytes"].as_u64() > Some(1 << 20));

    let segments = answer["segments"].as_array().unwrap();
    assert!(segments.len() > 1, "{segments:?}");
    let texts: Vec<&str> = segments
        .iter()
        .map(|s| s["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts.join(" "), answer["text"].as_str().unwrap());
    let mut last = 0.0;
    for (id, segment) in segments.iter().enumerate() {
        let fields = [
            "avg_logprob",
            "compression_ratio",
            "end",
            "id",
            "no_speech_prob",
            "seek",
            "start",
            "temperature",
            "text",
            "tokens",
        ];
        assert_eq!(keys(segment), BTreeSet::from(fields));
        assert_eq!(segment["id"], id);
        let [start, end] = ["start", "end"].map(|key| segment[key].as_f64().unwrap());
        assert!(
            last <= start && start <= end && end <= duration,
            "{segment}"
        );
        last = start;
    }
}

#[test]
fn granularities_choose_the_times() {
    let daemon = Daemon::start("");
    let form = Form::of("a.wav", &GOFORWARD.wav()).field("response_format", "verbose_json");
    for (names, words, segments) in [
        (&["word"][..], true, false),
        (&["segment"], false, true),
        (&["word", "segment"], true, true),
    ] {
        for field in ["timestamp_granularities[]", "timestamp_granularities"] {
            let form = names
                .iter()
                .fold(form.clone(), |form, name| form.field(field, name));
            let answer = daemon.post(&form).json();
            assert_eq!(!answer["words"].is_null(), words);
            assert_eq!(!answer["segments"].is_null(), segments);
            for word in answer["words"].as_array().into_iter().flatten() {
                assert_eq!(keys(word), BTreeSet::from(["end", "start", "word"]));
                assert!(word["start"].as_f64() <= word["end"].as_f64());
            }
            if words {
                let said = answer["words"].as_array().unwrap().iter();
                let said: Vec<_> = said.map(|word| word["word"].as_str().unwrap()).collect();
                assert_eq!(said.join(" "), GOFORWARD.text);
            }
        }
    }
}

#[test]
fn subtitles_are_text() {
    let daemon = Daemon::start("");
    let silence = wav(&vec![0; 32_000]);
    for (format, start, empty) in [
        ("srt", "1\n00:00:0", ""),
        ("vtt", "WEBVTT\n\n00:00:0", "WEBVTT\n\n"),
    ] {
        let post = |recording: &[u8]| {
            daemon.post(&Form::of("a.wav", recording).field("response_format", format))
        };
        let answer = post(&GOFORWARD.wav());
        // As OpenAI sends them. Old clients take every other type for JSON.
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(text.starts_with(start), "{text}");
        assert!(
            text.ends_with(&format!("\n{}\n\n", GOFORWARD.text)),
            "{text}"
        );
        assert_eq!(post(&silence).body, empty);
    }
}

/// Subtitles as ffmpeg understands them, written as SubRip.
fn as_ffmpeg_reads(format: &str, subtitles: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("a.{format}"));
    std::fs::write(&path, subtitles).unwrap();
    let ffmpeg = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "warning", "-i"])
        .arg(&path)
        .args(["-f", "srt", "-"])
        .output()
        .unwrap();
    assert!(
        ffmpeg.status.success() && ffmpeg.stderr.is_empty(),
        "{ffmpeg:?}"
    );
    String::from_utf8(ffmpeg.stdout).unwrap()
}

#[test]
fn players_read_both_kinds_of_subtitles() {
    let daemon = Daemon::start("");
    let form = Form::of("a.wav", &recordings_in_one());
    let of = |format| {
        let form = form.clone().field("response_format", format);
        daemon.post(&match format {
            "srt" | "vtt" => form.field("max_line_width", "1000"),
            _ => form,
        })
    };
    let clock = |seconds: &Value| {
        let ms = (seconds.as_f64().unwrap() * 1000.0).round() as u64;
        let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        format!("{h:02}:{m:02}:{s:02},{:03}", ms % 1000)
    };
    let verbose = of("verbose_json").json();
    let segments = verbose["segments"].as_array().unwrap().iter();
    let cues = (1..).zip(segments).map(|(number, segment)| {
        let [start, end] = ["start", "end"].map(|key| clock(&segment[key]));
        let text = segment["text"].as_str().unwrap();
        format!("{number}\n{start} --> {end}\n{text}\n\n")
    });
    let expected: String = cues.collect();
    assert!(expected.contains("\n2\n"), "{expected}");
    for format in ["srt", "vtt"] {
        assert_eq!(as_ffmpeg_reads(format, &of(format).body), expected);
    }
}

#[test]
fn default_parameters_are_accepted() {
    let daemon = Daemon::start("");
    let form = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    for (name, value) in [
        ("prompt", ""),
        ("temperature", "0"),
        ("temperature", "0.0"),
        ("stream", "false"),
        ("include[]", ""),
        ("chunking_strategy", "auto"),
        ("chunking_strategy", r#"{"type": "server_vad"}"#),
        ("chunking_strategy[type]", "server_vad"),
        ("languages[]", "en"),
        ("language", "English"),
        ("language", "en_US.UTF-8"),
        ("language", "eng"),
        ("language", "auto"),
        ("keywords[]", ""),
        ("task", "transcribe"),
        ("encode", "true"),
        ("word_timestamps", "false"),
        ("channel", "0"),
        ("vad", "false"),
        ("vad", "true"),
    ] {
        let answer = daemon.post(&form.clone().field(name, value));
        assert_eq!(answer.text(), TEN_OF_CLUBS.text, "{name}={value}");
    }
}

#[test]
fn unsupported_parameters_are_named() {
    let daemon = Daemon::start(FAULT);
    let form = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    for (name, value, param) in [
        ("temperature", "2", "temperature"),
        ("languages[]", "fr", "language"),
        ("language", "klingonese", "language"),
        ("task", "translate", "task"),
        ("encode", "false", "encode"),
        ("word_timestamps", "true", "word_timestamps"),
        ("output", "tsv", "output"),
        ("include[]", "everything", "include[]"),
        ("stream", "perhaps", "stream"),
        (
            "timestamp_granularities[]",
            "word",
            "timestamp_granularities",
        ),
        (
            "chunking_strategy[threshold]",
            "0.5",
            "chunking_strategy[threshold]",
        ),
        ("speakers", "loud", "speakers"),
        ("known_speaker_names[]", "Ann", "known_speaker_names"),
        ("channel", "left", "channel"),
    ] {
        daemon
            .post(&form.clone().field(name, value))
            .assert_refusal(400, "invalid_parameter", Some(param));
    }
    // The engine `fault` has no words, and knows nothing of them.
    daemon
        .post(
            &form
                .clone()
                .field("model", "fault")
                .field("include[]", "logprobs"),
        )
        .assert_refusal(400, "invalid_parameter", Some("include"));
    let form = form
        .field("model", "fault")
        .field("response_format", "verbose_json");
    daemon
        .post(&form.field("timestamp_granularities", "word"))
        .assert_refusal(400, "invalid_parameter", Some("timestamp_granularities"));
    daemon
        .post(&Form::of("a.wav", &TEN_OF_CLUBS.wav()).field("channel", "1"))
        .assert_refusal(400, "invalid_audio", None);
}

/// Hints that the default engine cannot use, with the parameter that an error would name.
const HINTS: [(&str, &str, &str); 6] = [
    ("prompt", "Ten of clubs", "prompt"),
    ("temperature", "0.2", "temperature"),
    ("keywords[]", "clubs", "keywords"),
    ("keywords", r#"["ten", "clubs"]"#, "keywords"),
    ("languages[]", "en,fr", "languages"),
    ("languages", r#"["pt-BR", "English"]"#, "languages"),
];

#[test]
fn a_hint_that_cannot_be_used_is_a_warning() {
    let daemon = Daemon::start("");
    let form = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    for (name, value, param) in HINTS {
        let form = form.clone().field(name, value);
        let answer = daemon.post(&form);
        assert_eq!(answer.text(), TEN_OF_CLUBS.text, "{name}={value}");
        let warning = answer.header("x-stt-warnings");
        assert!(
            warning.contains("left out") && warning.contains("default"),
            "{warning}"
        );
        assert!(param == "languages" || warning.contains(param), "{warning}");
        for field in ["stream", "response_format"] {
            let value = if field == "stream" {
                "true"
            } else {
                "verbose_json"
            };
            let answer = daemon.post(&form.clone().field(field, value));
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(text.contains("left out"), "{field}: {text}");
        }
    }
}

#[test]
fn a_model_may_refuse_hints() {
    let daemon = Daemon::start("[models.default]\nengine = \"pocketsphinx\"\nhints = \"refuse\"");
    let form = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    for (name, value, param) in HINTS {
        daemon
            .post(&form.clone().field(name, value))
            .assert_refusal(400, "invalid_parameter", Some(param));
    }
    assert_eq!(daemon.post(&form).text(), TEN_OF_CLUBS.text);
}

#[test]
fn names_of_openai_s_models_are_those_of_the_default_model() {
    let daemon = Daemon::start("");
    for model in [
        "whisper-1",
        "gpt-4o-mini-transcribe",
        "gpt-4o-transcribe",
        "gpt-4o-transcribe-diarize",
        "gpt-transcribe",
    ] {
        let form = Form::of("a.wav", &TEN_OF_CLUBS.wav()).field("model", model);
        assert_eq!(daemon.post(&form).text(), TEN_OF_CLUBS.text, "{model}");
    }
}

#[test]
fn whisper_asr_webservice_s_words_choose_the_format() {
    let daemon = Daemon::start("");
    let form = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    for (output, format) in [("txt", "text"), ("srt", "srt"), ("vtt", "vtt")] {
        let ours = daemon.post(&form.clone().field("response_format", format));
        let theirs = daemon.post(&form.clone().field("output", output));
        assert_eq!((ours.status, theirs.body), (200, ours.body), "{output}");
    }
    // OpenAI's own parameter says it more exactly.
    let both = form.field("output", "txt").field("response_format", "json");
    assert_eq!(daemon.post(&both).json()["text"], TEN_OF_CLUBS.text);
}

#[test]
fn an_engine_is_told_a_language_that_it_declared() {
    let daemon = Daemon::start(FAULT);
    for (asked, told) in [
        ("pt_BR", "pt-br"),
        ("German", "de"),
        ("zh-CN-sichuan", "zh-cn-sichuan"),
    ] {
        let form = Form::of("a.wav", &TEN_OF_CLUBS.wav())
            .field("model", "fault:language")
            .field("language", asked);
        assert_eq!(daemon.post(&form).text(), told, "{asked}");
    }
}

#[test]
fn parameters_reach_the_engine() {
    let daemon = Daemon::start(FAULT);
    let form = Form::of("a.wav", &TEN_OF_CLUBS.wav())
        .field("model", "fault:options")
        .field("prompt", "cards")
        .field("keywords[]", "ten")
        .field("keywords[]", "clubs")
        .field("temperature", "0.5");
    let told = r#"Some("cards") ["ten", "clubs"] Some(0.5) translate=false"#;
    assert_eq!(daemon.post(&form).text(), told);
}

#[test]
fn a_body_may_be_the_recording_alone() {
    let daemon = Daemon::start("");
    let wav = GOFORWARD.wav();
    for (kind, body) in [
        ("audio/wav", &wav),
        ("application/octet-stream", &wav),
        ("audio/pcm;rate=16000;encoding=s16le", &GOFORWARD.samples()),
    ] {
        assert_eq!(post_plain(&daemon, kind, "", body).text(), GOFORWARD.text);
    }
    let query = "?response_format=text&language=en&timestamp_granularities%5B%5D=";
    let answer = post_plain(&daemon, "audio/wav", query, &wav);
    assert_eq!(answer.body, format!("{}\n", GOFORWARD.text));
    // Options of a form, too, may come ahead of it.
    let request = Request::post(format!("{TRANSCRIPTIONS}?response_format=text"))
        .header("host", "x")
        .header("content-type", http::content_type())
        .body(Full::new(Bytes::from(Form::of("a.wav", &wav).body())))
        .unwrap();
    let answer = http::exchange(daemon.socket(), request).unwrap();
    assert_eq!(answer.body, format!("{}\n", GOFORWARD.text));

    for (query, param) in [
        ("?colour=blue", "colour"),
        ("?model=a&model=b", "model"),
        ("?model=def%00ault", "model"),
        ("?prompt=a%00b", "prompt"),
    ] {
        post_plain(&daemon, "audio/wav", query, &wav).assert_refusal(
            400,
            "invalid_parameter",
            Some(param),
        );
    }
    post_plain(&daemon, "audio/wav", "", b"").assert_refusal(
        400,
        "invalid_parameter",
        Some("file"),
    );
    post_plain(&daemon, "text/plain", "", &wav).assert_refusal(400, "invalid_body", None);
    let limited = Daemon::start("[http]\nmax_upload = \"10K\"");
    post_plain(&limited, "audio/wav", "", &wav).assert_refusal(
        413,
        "upload_too_large",
        Some("file"),
    );
}

#[test]
fn one_channel_of_two_is_heard() {
    let daemon = Daemon::start("");
    let (left, right) = (GOFORWARD.samples(), TEN_OF_CLUBS.samples());
    let silence = std::iter::repeat([0, 0].as_slice());
    let right = right.chunks_exact(2).chain(silence);
    let samples = left.chunks_exact(2).zip(right);
    let samples: Vec<u8> = samples.flat_map(|(l, r)| [l, r].concat()).collect();
    let kind = "audio/pcm;rate=16000;channels=2";
    for (query, clip) in [("?channel=0", GOFORWARD), ("?channel=1", TEN_OF_CLUBS)] {
        assert_eq!(post_plain(&daemon, kind, query, &samples).text(), clip.text);
    }
}

#[test]
fn warnings_come_beside_the_text() {
    let daemon = Daemon::start("");
    let mut cut = GOFORWARD.encoded(crate::common::clips::ENCODINGS[0]);
    cut.truncate(cut.len() / 2);
    let form = Form::of("a.flac", &cut).field("response_format", "verbose_json");
    let answer = daemon.post(&form);
    let warnings = answer.json()["stt"]["warnings"].clone();
    assert_eq!(warnings[0], answer.header("x-stt-warnings"), "{answer:?}");
}

#[test]
fn opposite_channels_are_heard_with_a_warning_in_every_format() {
    let daemon = Daemon::start("");
    let body = |answer: &Answer| String::from_utf8_lossy(&answer.body).into_owned();
    let samples = GOFORWARD.samples();
    let turned = |two: &[u8]| {
        i16::from_le_bytes([two[0], two[1]])
            .saturating_neg()
            .to_le_bytes()
    };
    let frames = samples
        .chunks_exact(2)
        .flat_map(|two| [[two[0], two[1]], turned(two)]);
    let samples = frames.flatten().collect::<Vec<u8>>();
    let kind = "audio/pcm;rate=16000;channels=2";
    for format in ["json", "text", "srt", "vtt", "verbose_json"] {
        let query = format!("?response_format={format}");
        let answer = post_plain(&daemon, kind, &query, &samples);
        assert!(body(&answer).contains(GOFORWARD.text), "{answer:?}");
        assert!(
            answer.header("x-stt-warnings").contains("opposite"),
            "{answer:?}"
        );
    }
    let answer = post_plain(&daemon, kind, "?stream=true", &samples);
    let last = body(&answer)
        .trim_end()
        .rsplit("data: ")
        .next()
        .unwrap()
        .to_owned();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert!(
        last["stt"]["warnings"][0]
            .as_str()
            .unwrap()
            .contains("opposite"),
        "{last}"
    );
    // One channel alone cancels nothing out.
    let answer = post_plain(
        &daemon,
        kind,
        "?channel=1&response_format=verbose_json",
        &samples,
    );
    assert_eq!(answer.json()["stt"]["warnings"], json!([]));
}

#[test]
fn subtitles_follow_the_pauses_in_lines_as_long_as_asked() {
    let daemon = Daemon::start("");
    let body = |answer: &Answer| String::from_utf8_lossy(&answer.body).into_owned();
    let pause = crate::common::clips::noise(1, 32_000);
    let faint = pause.chunks_exact(2).flat_map(|two| [two[0] & 7, 0]);
    let pause: Vec<u8> = faint.collect();
    let clip = GOFORWARD.samples();
    let whole = wav(&[&clip[..], &pause, &clip, &pause.repeat(10), &clip].concat());
    let form = || Form::of("a.wav", &whole);
    let form = form()
        .field("response_format", "srt")
        .field("max_line_width", "11");
    let answer = daemon.post(&form);
    let cues: Vec<String> = body(&answer)
        .trim()
        .split("\n\n")
        .map(str::to_owned)
        .collect();
    let texts: Vec<&str> = cues
        .iter()
        .map(|cue| cue.splitn(3, '\n').nth(2).unwrap())
        .collect();
    assert_eq!(texts, ["go forward\nten meters"; 3], "{answer:?}");
    assert!(cues[2].contains("00:00:17"), "{answer:?}");
    for (field, value) in [("max_line_width", "0"), ("max_line_count", "1001")] {
        let form = Form::of("a.wav", &whole)
            .field("response_format", "vtt")
            .field(field, value);
        daemon
            .post(&form)
            .assert_refusal(400, "invalid_parameter", Some(field));
    }
    let form = Form::of("a.wav", &whole).field("max_line_width", "20");
    daemon
        .post(&form)
        .assert_refusal(400, "invalid_parameter", Some("max_line_width"));
}

/// A request for a translation.
fn translate(daemon: &Daemon, form: &Form) -> Answer {
    let request = Request::post("/v1/audio/translations")
        .header("host", "x")
        .header("content-type", http::content_type())
        .body(Full::new(Bytes::from(form.body())))
        .unwrap();
    http::exchange(daemon.socket(), request).unwrap()
}

#[test]
fn only_translating_models_translate() {
    let daemon = Daemon::start(FAULT);
    let form = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    let message = translate(&daemon, &form).assert_refusal(400, "invalid_parameter", Some("model"));
    assert!(message.contains("does not translate"), "{message}");

    let form = form
        .field("model", "fault:options")
        .field("prompt", "cards");
    let told = r#"Some("cards") [] None translate=true"#;
    assert_eq!(translate(&daemon, &form).text(), told);
    let verbose = form.clone().field("response_format", "verbose_json");
    let verbose = translate(&daemon, &verbose).json();
    assert_eq!(verbose["task"], "translate");
    assert_eq!(verbose["language"], "english");
    assert_eq!(verbose["text"], told);
    for name in [
        "language",
        "timestamp_granularities[]",
        "stream",
        "include[]",
    ] {
        translate(&daemon, &form.clone().field(name, "en")).assert_refusal(
            400,
            "invalid_parameter",
            Some(name),
        );
    }
}

#[test]
fn logprobs_are_those_of_the_words() {
    let daemon = Daemon::start("");
    let form = Form::of("a.wav", &GOFORWARD.wav()).field("include[]", "logprobs");
    let answer = daemon.post(&form).json();
    assert_eq!(
        keys(&answer),
        BTreeSet::from(["languages", "logprobs", "text", "usage"])
    );
    let tokens = answer["logprobs"].as_array().unwrap();
    let mut text = String::new();
    for token in tokens {
        assert_eq!(keys(token), BTreeSet::from(["bytes", "logprob", "token"]));
        let string = token["token"].as_str().unwrap();
        assert_eq!(token["bytes"], json!(string.as_bytes()));
        let logprob = token["logprob"].as_f64().unwrap();
        assert!((-100.0..=0.0).contains(&logprob), "{token}");
        text += string;
    }
    assert_eq!(text, GOFORWARD.text);
    assert_eq!(tokens.len(), 4);
    assert!(
        tokens.iter().any(|token| token["logprob"] != 0.0),
        "{tokens:?}"
    );
}
