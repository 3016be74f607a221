//! The pages of whisper-asr-webservice, asked as Bazarr asks them.

use http_body_util::Full;
use hyper::{Request, body::Bytes};
use serde_json::{Value, json};

use crate::common::{
    clips::GOFORWARD,
    daemon::Daemon,
    http::{self, Answer, Form},
};

/// Posts a form with the recording as Bazarr names it.
fn post(daemon: &Daemon, page: &str, recording: &[u8]) -> Answer {
    let form = Form::default().field("audio_file", recording);
    let request = Request::post(page)
        .header("host", "x")
        .header("content-type", http::content_type())
        .body(Full::new(Bytes::from(form.body())))
        .unwrap();
    http::exchange(daemon.socket(), request).unwrap()
}

fn text(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[test]
fn bazarr_gets_its_subtitles() {
    let daemon = Daemon::start("");
    // Samples without a header, which ffmpeg made of a film's sound.
    let samples = GOFORWARD.samples();
    let page = "/asr?task=transcribe&language=en&output=srt&encode=false";
    let srt = text(&post(&daemon, page, &samples));
    assert!(srt.starts_with("1\n00:00:00,"), "{srt}");
    assert!(srt.trim_end().ends_with(GOFORWARD.text), "{srt}");
    let answer = post(&daemon, "/detect-language?encode=false", &samples);
    let english = json!({"detected_language": "english", "language_code": "en"});
    assert_eq!(answer.json(), english);
}

#[test]
fn each_output_is_as_theirs() {
    let daemon = Daemon::start("");
    let wav = GOFORWARD.wav();
    let line = format!("{}\n", GOFORWARD.text);
    assert_eq!(text(&post(&daemon, "/asr", &wav)), line);
    assert_eq!(
        text(&post(&daemon, "/asr?output=txt&encode=true", &wav)),
        line
    );
    assert!(text(&post(&daemon, "/asr?output=vtt", &wav)).starts_with("WEBVTT\n"));
    let table = text(&post(&daemon, "/asr?output=tsv", &wav));
    let row: Vec<&str> = table.lines().nth(1).unwrap().split('\t').collect();
    let [start, end] = [row[0], row[1]].map(|time| time.parse::<u32>().unwrap());
    assert!(
        start < end && end < 3_000 && row[2] == GOFORWARD.text,
        "{table}"
    );
    let words = |page: &str| -> Value {
        let whole = post(&daemon, page, &wav).json();
        assert_eq!(
            (&whole["text"], &whole["language"]),
            (&json!(GOFORWARD.text), &json!("en"))
        );
        whole["segments"][0]["words"].clone()
    };
    assert_eq!(words("/asr?output=json"), Value::Null);
    let words = words("/asr?output=json&word_timestamps=true");
    assert_eq!(words.as_array().unwrap().len(), 4);
    assert!(words[0]["start"].as_f64() < words[3]["start"].as_f64());
    assert!(words[0]["probability"].as_f64() <= Some(1.0));
}

#[test]
fn mistakes_name_the_parameter() {
    let daemon = Daemon::start("");
    let wav = GOFORWARD.wav();
    for (page, param) in [
        ("/asr?task=sing", "task"),
        ("/asr?output=docx", "output"),
        ("/asr?encode=maybe", "encode"),
        ("/asr?language=klingonese", "language"),
        ("/asr?word_timestamps=true", "word_timestamps"),
        ("/asr?response_format=json", "response_format"),
        ("/asr?task=translate", "model"),
        ("/detect-language?output=json", "output"),
    ] {
        post(&daemon, page, &wav).assert_refusal(400, "invalid_parameter", Some(param));
    }
    let form = Form::of("a.wav", &wav);
    let request = Request::post("/asr")
        .header("host", "x")
        .header("content-type", http::content_type())
        .body(Full::new(Bytes::from(form.body())))
        .unwrap();
    let answer = http::exchange(daemon.socket(), request).unwrap();
    answer.assert_refusal(400, "invalid_parameter", Some("file"));
}
