//! Every `curl` line in docs/API.md works as it stands, and gives what is shown below it.

use std::{fs, path::Path, process::Command};

use crate::common::{
    clips::{ENCODINGS, GOFORWARD, call},
    daemon::Daemon,
};
use serde_json::Value;

const PAGE: &str = include_str!("../../docs/API.md");

/// The socket as the page has it.
const SOCKET: &str = "/run/stt-isolated/http.sock";

/// A placeholder that matches anything.
const ANYTHING: &str = "…";

/// A command with the status of its answer, and what is shown of it.
#[derive(Debug)]
struct Example {
    command: String,
    status: u16,
    shown: Option<(String, String)>,
}

/// The language and content of every block of code.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut parts = page.split("\n```");
    parts.next();
    let mut blocks = Vec::new();
    while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
        let (language, content) = block.split_once('\n').unwrap();
        blocks.push((language.into(), format!("{content}\n")));
    }
    blocks
}

fn examples(page: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for (language, content) in blocks(page) {
        if language != "sh" {
            let example = examples.last_mut().expect("an answer without a command");
            assert!(example.shown.is_none(), "a second answer: {content}");
            example.shown = Some((language, content));
            continue;
        }
        assert_eq!(content.lines().count(), 1, "not one line: {content}");
        let (command, status) = match content.trim_end().rsplit_once(" # ") {
            Some((command, status)) => (command.to_owned(), status.parse().unwrap()),
            None => (content.trim_end().to_owned(), 200),
        };
        examples.push(Example {
            command,
            status,
            shown: None,
        });
    }
    examples
}

/// Whether `real` is what is `shown`.
fn is_text(shown: &str, real: &str) -> bool {
    let mut parts = shown.split(ANYTHING);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = real.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

fn is_json(shown: &Value, real: &Value) -> bool {
    match (shown, real) {
        (Value::String(shown), _) if shown == ANYTHING => true,
        (Value::String(shown), Value::String(real)) => is_text(shown, real),
        (Value::Array(shown), Value::Array(real)) => {
            shown.len() == real.len() && shown.iter().zip(real).all(|(s, r)| is_json(s, r))
        }
        (Value::Object(shown), Value::Object(real)) => {
            let is_there = |(key, value): (&String, &Value)| {
                real.get(key).is_some_and(|real| is_json(value, real))
            };
            shown.len() == real.len() && shown.iter().all(is_there)
        }
        (shown, real) => shown == real,
    }
}

/// The recordings that the page speaks of.
fn record(folder: &Path) {
    let samples = GOFORWARD.samples();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    write("recording.wav", &GOFORWARD.wav());
    write("recording.raw", &samples);
    write("call.wav", &call());
    let swapped: Vec<u8> = samples.chunks_exact(2).flat_map(|s| [s[1], s[0]]).collect();
    write("recording.l16", &swapped);
    let flac = GOFORWARD.encoded(ENCODINGS[0]);
    write("truncated.flac", &flac[..flac.len() / 2]);
    // Speech on the right, silence on the left: mixed it would be half as loud, and the left alone
    // says nothing.
    let stereo = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-loglevel",
            "error",
            "-i",
            "recording.wav",
            "-af",
        ])
        .args(["pan=stereo|c0=0*c0|c1=c0", "stereo.wav"])
        .current_dir(folder)
        .output()
        .expect("install ffmpeg");
    assert!(stereo.status.success(), "{stereo:?}");
}

#[test]
fn every_curl_line_works_as_shown() {
    let daemon = Daemon::start("");
    let folder = tempfile::tempdir().unwrap();
    record(folder.path());
    let examples = examples(PAGE);
    assert!(examples.len() > 20, "{examples:#?}");
    for example in examples {
        let command = &example.command;
        assert!(
            command.starts_with("curl ") && command.contains(SOCKET),
            "{command}"
        );
        let command = command.replace(SOCKET, daemon.socket().to_str().unwrap());
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("{command} --silent --show-error --max-time 60 --write-out '%{{stderr}}%{{http_code}}'"))
            .current_dir(folder.path())
            .output()
            .unwrap();
        let body = String::from_utf8(output.stdout).unwrap();
        let status = String::from_utf8(output.stderr).unwrap();
        assert_eq!(status, example.status.to_string(), "{command}\n{body}");
        let is_as_shown = match &example.shown {
            None => !body.is_empty(),
            Some((language, shown)) if language == "json" => {
                let shown = serde_json::from_str(shown).unwrap_or_else(|e| panic!("{e}: {shown}"));
                is_json(&shown, &serde_json::from_str(&body).unwrap())
            }
            Some((_, shown)) => is_text(shown, &body),
        };
        assert!(
            is_as_shown,
            "{command}\nshown: {:?}\nreal: {body}",
            example.shown
        );
    }
}

#[test]
fn the_comparison_can_fail() {
    for (shown, real, is_same) in [
        ("a…c", "abc", true),
        ("a…c", "abd", false),
        ("a…", "abd", true),
        ("abc", "abcd", false),
        ("…b…d", "abcd", true),
        ("…b…d", "acbd!", false),
    ] {
        assert_eq!(is_text(shown, real), is_same, "{shown} {real}");
    }
    let json = |text| serde_json::from_str::<Value>(text).unwrap();
    let shown = json(r#"{"a": "…", "b": [1]}"#);
    assert!(is_json(&shown, &json(r#"{"a": 7, "b": [1]}"#)));
    for wrong in [
        r#"{"a": 7, "b": [2]}"#,
        r#"{"b": [1]}"#,
        r#"{"a": 7, "b": [1], "c": 1}"#,
    ] {
        assert!(!is_json(&shown, &json(wrong)), "{wrong}");
    }
    let broken = "\n```sh\ncurl x # 404\n```\n```json\n{}\n```\n";
    let examples = examples(broken);
    assert_eq!((examples.len(), examples[0].status), (1, 404));
    assert!(examples[0].shown.is_some());
}
