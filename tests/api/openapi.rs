//! The description of the API is true of the daemon that serves it.

use std::collections::BTreeSet;

use crate::common::{
    clips::{TEN_OF_CLUBS, call},
    daemon::Daemon,
    http::{Answer, Form},
};
use hyper::Method;
use serde_json::Value;

const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

fn keys(value: &Value) -> BTreeSet<&str> {
    let keys = value.as_object().unwrap().keys();
    keys.map(String::as_str).collect()
}

/// The content of `value`, or of what it refers to.
fn resolve<'a>(description: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').unwrap();
            let found = description.pointer(pointer);
            resolve(description, found.unwrap_or_else(|| panic!("{reference}")))
        }
        None => value,
    }
}

/// True if `value` fits this schema: required fields, allowed fields, and their kinds. The schema's
/// other rules are not checked.
fn fits(description: &Value, schema: &Value, value: &Value) -> bool {
    let schema = resolve(description, schema);
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.iter().any(|one| fits(description, one, value));
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    let of_kind = match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| is(kind.as_str().unwrap())),
        _ => true,
    };
    let is_allowed = schema["const"].is_null() || schema["const"] == *value;
    let is_listed = (schema["enum"].as_array()).is_none_or(|list| list.contains(value));
    let inner = match value {
        Value::Array(items) if !schema["items"].is_null() => {
            (items.iter()).all(|item| fits(description, &schema["items"], item))
        }
        Value::Object(object) => {
            let required = schema["required"].as_array();
            let has_all = required.is_none_or(|names| {
                (names.iter()).all(|name| object.contains_key(name.as_str().unwrap()))
            });
            let more = &schema["additionalProperties"];
            let each_fits =
                object
                    .iter()
                    .all(|(name, value)| match (&schema["properties"][name], more) {
                        (Value::Null, Value::Bool(false)) => false,
                        (Value::Null, Value::Object(_)) => fits(description, more, value),
                        (Value::Null, _) => true,
                        (known, _) => fits(description, known, value),
                    });
            has_all && each_fits
        }
        _ => true,
    };
    of_kind && is_allowed && is_listed && inner
}

/// Fails unless this answer of `operation` is described: its status, its type, its content and its
/// headers.
#[track_caller]
fn assert_described(description: &Value, operation: &Value, answer: &Answer) {
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "not described: {answer:?}");
    let response = resolve(description, response);
    let kind = answer.header("content-type");
    let content = &response["content"][kind];
    assert!(content.is_object(), "{kind}: not described: {answer:?}");
    if kind == "application/json" {
        let json = answer.json();
        assert!(fits(description, &content["schema"], &json), "{json}");
    }
    let ours = answer.headers.keys().map(|name| name.as_str());
    for name in ours.filter(|name| name.starts_with("x-") || *name == "retry-after") {
        let is_cost = name.starts_with("x-stt-") && answer.status != 200;
        assert!(is_cost || response["headers"][name].is_object(), "{name}");
    }
}

#[test]
fn paths_have_the_described_methods() {
    let daemon = Daemon::start("");
    let description = daemon.get("/openapi.json").json();
    assert_eq!(description["openapi"], "3.1.0");
    for (path, page) in description["paths"].as_object().unwrap() {
        let described = keys(page);
        let real = path.replace("{model}", "default");
        for method in METHODS {
            let answer = daemon.request(method.clone(), &real);
            let name = method.as_str().to_lowercase();
            // A page that can be read by GET can also be asked for its head.
            let is_there = described.contains(name.as_str())
                || (method == Method::HEAD && described.contains("get"));
            if is_there {
                assert_ne!(answer.status, 405, "{method} {path}");
            } else {
                assert_eq!(answer.status, 405, "{method} {path}");
                let allowed = answer.header("allow").to_lowercase();
                let allowed: BTreeSet<&str> = allowed.split(',').map(str::trim).collect();
                assert!(described.is_subset(&allowed), "{path}: {allowed:?}");
            }
            if described.contains(name.as_str()) {
                assert_described(&description, &page[&name], &answer);
            }
        }
    }
}

#[test]
fn answers_are_as_described() {
    let daemon = Daemon::start("");
    let description = daemon.get("/openapi.json").json();
    let post = &description["paths"]["/v1/audio/transcriptions"]["post"];
    let form = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    let formats = &post["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]["response_format"]
        ["enum"];
    let formats = formats.as_array().unwrap();
    assert_eq!(formats.len(), 6);
    for format in formats {
        let answer = daemon.post(
            &form
                .clone()
                .field("response_format", format.as_str().unwrap()),
        );
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_described(&description, post, &answer);
    }
    let verbose = form.clone().field("response_format", "verbose_json");
    let call = Form::of("call.wav", &call()).field("response_format", "diarized_json");
    for (form, status) in [
        (verbose.field("timestamp_granularities", "word"), 200),
        (form.clone().field("include[]", "logprobs"), 200),
        (form.clone().field("stream", "true"), 200),
        (call.clone(), 200),
        (call.field("stream", "true"), 200),
        (form.clone().field("model", "another"), 404),
        (form.clone().field("temperature", "2"), 400),
        (Form::of("a.wav", b"no audio"), 400),
        (Form::default(), 400),
    ] {
        let answer = daemon.post(&form);
        assert_eq!(answer.status, status, "{answer:?}");
        assert_described(&description, post, &answer);
    }
    let limited = Daemon::start("[http]\nmax_upload = \"10K\"");
    let answer = limited.post(&form);
    assert_eq!(answer.status, 413);
    assert_described(&description, post, &answer);
}

#[test]
fn the_check_itself_can_fail() {
    let description = Daemon::start("").get("/openapi.json").json();
    let fits = |name: &str, value: Value| {
        fits(
            &description,
            &description["components"]["schemas"][name],
            &value,
        )
    };
    let usage = serde_json::json!({"type": "duration", "seconds": 2});
    assert!(fits("Usage", usage.clone()));
    for (key, value) in [
        ("type", serde_json::json!("tokens")),
        ("seconds", serde_json::json!("2")),
        ("colour", serde_json::json!("blue")),
    ] {
        let mut wrong = usage.clone();
        wrong[key] = value;
        assert!(!fits("Usage", wrong.clone()), "{wrong}");
    }
    assert!(!fits("Usage", serde_json::json!({"type": "duration"})));
}
