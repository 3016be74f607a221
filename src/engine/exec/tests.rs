//! Tests of the rules for a program's messages, without a program.

use std::time::Duration;

use super::protocol::{Answer, MAX_LINE, parse};
use crate::transcript::Segment;

fn piece(json: &str, heard: f64) -> Result<Option<Segment>, String> {
    match parse(json.as_bytes()).unwrap() {
        Answer::Segment(piece) => {
            piece.check(Duration::from_secs(1), Some(Duration::from_secs_f64(heard)))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_segment_is_taken_with_all_that_it_may_have() {
    let json = r#"{"segment":{"text":" ten ","start":1,"end":2.5,
        "words":[{"text":"ten","start":1.0,"end":2.25,"confidence":0.5},{"text":" ","start":2,"end":2}],
        "decoding":{"tokens":[1,2],"avg_logprob":-0.5}}}"#;
    let segment = piece(json, 2.0).unwrap().unwrap();
    assert_eq!(segment.text, "ten");
    // Cut where the audio ends.
    assert_eq!(segment.end, Duration::from_secs(2));
    assert_eq!(segment.words.len(), 1);
    assert_eq!(segment.words[0].end, Duration::from_secs(2));
    assert_eq!(segment.decoding.unwrap().tokens, [1, 2]);
    let silence = r#"{"segment":{"text":" ","start":1,"end":1}}"#;
    assert_eq!(piece(silence, 2.0), Ok(None));
}

#[test]
fn impossible_times_are_refused() {
    for (times, reason) in [
        (r#""start":2,"end":1"#, "ends before it starts"),
        (r#""start":0.5,"end":1"#, "before the one before it"),
        (r#""start":1,"end":4"#, "only 2.00 s of audio"),
        (r#""start":-1,"end":1"#, "-1 s is no time"),
        (r#""start":1,"end":1e300"#, "is no time"),
        (
            r#""start":1,"end":1,"words":[{"text":"a","start":1,"end":9}]"#,
            "only 2.00 s of audio",
        ),
    ] {
        let json = format!(r#"{{"segment":{{"text":"a",{times}}}}}"#);
        let error = piece(&json, 2.0).unwrap_err();
        assert!(error.contains(reason), "{times}: {error}");
    }
}

#[test]
fn what_is_no_answer_is_refused_and_quoted() {
    let deep = "[".repeat(MAX_LINE);
    // The name of an answer, or of a field, that an error repeats.
    let name = "x".repeat(5_000);
    let answer = format!(r#"{{"{name}":{{}}}}"#);
    let field = format!(r#"{{"segment":{{"{name}":1}}}}"#);
    for line in [
        "",
        "Loading the model…",
        "{}",
        "[]",
        r#"{"segment":{"txt":"a","start":0,"end":1}}"#,
        r#"{"done":{}} and more"#,
        r#"{"failed":{"kind":"other","message":""}}"#,
        r#"{"progress":"1"}"#,
        &deep,
        &answer,
        &field,
    ] {
        let error = parse(line.as_bytes()).unwrap_err();
        let start: String = line.chars().take(20).collect();
        assert!(error.contains(&start), "{error}");
        assert!(error.len() < 1000, "{error}");
    }
    let error = parse(b"\xff\xfe").unwrap_err();
    assert!(error.contains("no UTF-8"), "{error}");
}
