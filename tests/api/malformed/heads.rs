//! Heads of requests that are too large, cut off, or hold bytes that must not be there.

use super::case::{Case, good, typed};
use crate::common::http::{TRANSCRIPTIONS, content_type};

pub fn families() -> Vec<Case> {
    [
        giant_headers(),
        forbidden_bytes(),
        cut_off_heads(),
        request_lines(),
        targets(),
        header_lines(),
    ]
    .concat()
}

fn get(path: &str, lines: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n").into_bytes()
}

fn giant_headers() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in [70_000, 100_000, 300_000, 1_000_000, 5_000_000] {
        let long = "a".repeat(size);
        for (name, request) in [
            ("target", get(&format!("/{long}"), "")),
            ("query", get(&format!("/healthz?{long}"), "")),
            ("header value", get("/healthz", &format!("X: {long}\r\n"))),
            ("header name", get("/healthz", &format!("{long}: x\r\n"))),
            ("cookie", get("/healthz", &format!("Cookie: {long}\r\n"))),
            ("method", format!("{long} / HTTP/1.1\r\n\r\n").into()),
            ("version", format!("GET / HTTP/1.1{long}\r\n\r\n").into()),
            (
                "white space",
                get("/healthz", &format!("X:{}x\r\n", " ".repeat(size))),
            ),
            (
                "content type",
                typed(
                    format!("multipart/form-data; boundary={long}").as_bytes(),
                    b"",
                ),
            ),
            ("line without an end", long.clone().into()),
            ("zeros", vec![0; size]),
            (
                "line feeds and a letter",
                [&vec![b'\n'; size], &b"x\r\n\r\n"[..]].concat(),
            ),
        ] {
            let case = Case::new(format!("{name} of {size} bytes"), request);
            // Some more is read than is kept between requests, if it comes in one go.
            cases.push(if size < 300_000 { case.either() } else { case });
        }
    }
    for count in [101, 1_000, 5_000, 20_000, 100_000] {
        let lines = "a: b\r\n".repeat(count);
        cases.push(Case::new(
            format!("{count} headers"),
            get("/healthz", &lines),
        ));
    }
    cases
}

/// A good request with a byte put in where none like it may be: line, names, and the values that
/// are looked at.
fn forbidden_bytes() -> Vec<Case> {
    let request = good();
    let find = |what: &str| {
        let found = request
            .windows(what.len())
            .position(|w| w == what.as_bytes());
        found.unwrap()
    };
    let version = find("HTTP/1.1");
    let kind = find("multipart/form-data");
    let boundary = find("boundary=");
    let length = find("Content-Length: ") + "Content-Length: ".len();
    let places = [
        ("method", 2),
        ("target", 8),
        ("version", version + 3),
        ("end of the line", version + 8),
        ("name", find("Host") + 2),
        ("name of the type", find("Content-Type") + 3),
        ("name of the length", find("Content-Length") + 3),
        ("type", kind + 4),
        ("boundary's name", boundary + 3),
        ("length", length + 1),
        ("front of the length", length),
    ];
    // 0x80 and above are no UTF-8 where they stand alone, 0xc0 0x80 is a NUL in disguise.
    let bytes: [&[u8]; 12] = [
        b"\0",
        b"\x01",
        b"\x08",
        b"\x1b",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\r",
        b"\n",
    ];
    let mut cases = Vec::new();
    for (place, at) in places {
        for put_in in bytes {
            let request = [&request[..at], put_in, &request[at..]].concat();
            let case = Case::new(format!("{put_in:x?} in the {place}"), request);
            // The parser takes any byte in a path but control characters; no such page exists. A
            // line feed ends a line for lenient parsers, and white space around a value is nothing.
            let is_lenient = [&b"\r"[..], b"\n"].contains(&put_in);
            cases.push(if is_lenient { case.either() } else { case });
        }
    }
    cases
}

/// A head that stops: its client waits, or says that this was all.
fn cut_off_heads() -> Vec<Case> {
    let request = good();
    let end = request.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let mut cases = Vec::new();
    for length in (1..end).step_by(7).chain([end - 3, end - 2, end - 1]) {
        let case = Case::new(format!("{length} bytes of a head"), &request[..length]);
        cases.extend([case.clone(), case.all()]);
    }
    cases
}

fn request_lines() -> Vec<Case> {
    let lines = [
        "GET",
        "GET ",
        "GET /healthz",
        "GET /healthz ",
        "GET  /healthz HTTP/1.1",
        "GET /healthz  HTTP/1.1",
        "GET\t/healthz\tHTTP/1.1",
        "/healthz HTTP/1.1",
        " GET /healthz HTTP/1.1",
        "GET /healthz HTTP/1.1 ",
        "GET /healthz HTTP/1.1 x",
        "GET /health z HTTP/1.1",
        "GET /healthz HTTP/1.2",
        "GET /healthz HTTP/1.10",
        "GET /healthz HTTP/1",
        "GET /healthz HTTP/2.0",
        "GET /healthz HTTP/3",
        "GET /healthz HTTP/9.9",
        "GET /healthz HTTP/-1.1",
        "GET /healthz HTTP",
        "GET /healthz http/1.1",
        "GET /healthz HTP/1.1",
        "GET /healthz RTSP/1.0",
        "GET /healthz ICY",
        "get /healthz HTTP/1.1",
        "G\u{cb}T /healthz HTTP/1.1",
        "GET( /healthz HTTP/1.1",
        "GET/healthz HTTP/1.1",
        "\"GET\" /healthz HTTP/1.1",
        "GE,T /healthz HTTP/1.1",
        "HTTP/1.1 200 OK",
        ":",
        "GET:/ HTTP/1.1",
        "GET /healthz\u{a0}HTTP/1.1",
    ];
    let request =
        |line: &&str| Case::new(format!("{line:?}"), format!("{line}\r\nHost: x\r\n\r\n"));
    // Whether more than one space parts the words is a matter of taste.
    let lenient = |case: Case| match case.name.contains("  ") || case.name.ends_with(" \"") {
        true => case.either(),
        false => case,
    };
    lines.iter().map(request).map(lenient).collect()
}

fn targets() -> Vec<Case> {
    let targets = [
        "*",
        "x",
        "//",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/%00",
        "/%ff",
        "/%",
        "/%zz",
        "/healthz/",
        "/healthz%00",
        "/HEALTHZ",
        "/v1/models/%00",
        "/v1/models/%ff",
        "/v1/models/%",
        "/v1/models/..%2f..",
        "/v1/models/",
        "/v1/models//",
        "/v1/audio/transcriptions/",
        "/v1/audio/",
        "healthz",
        "http:",
        "http://",
        "http:///healthz",
        "http://[::1/healthz",
        "x:443",
        "/\u{e9}",
        "/v1/models/\u{1f600}",
        "/healthz#x y",
        "/\\",
        "/{model}",
        "/v1/models/{model}",
        "?",
        "#",
        "%2fhealthz",
        "/;",
        "/v1/models/a%0d%0ax:y",
    ];
    let mut cases: Vec<Case> = targets
        .iter()
        .map(|target| Case::new(format!("target {target:?}"), get(target, "")))
        .collect();
    for method in [
        "GET", "PUT", "DELETE", "TRACE", "CONNECT", "PROPFIND", "post", "M-SEARCH", "OPTIONS",
    ] {
        let request = format!("{method} {TRANSCRIPTIONS} HTTP/1.1\r\nHost: x\r\n\r\n");
        cases.push(Case::new(format!("method {method}"), request));
    }
    cases.push(Case::new(
        "authority",
        "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
    ));
    cases
}

fn header_lines() -> Vec<Case> {
    let lines = [
        "no colon",
        ": no name",
        "space : x",
        " folded: x",
        "\tfolded: x",
        "na me: x",
        "n(ame: x",
        "n\u{e4}me: x",
        "a: b\r\n folded",
        "a: b\r\n\tfolded",
        "\"a\": b",
        "a\u{0}b: x",
        "a: b\u{0}c",
        "a: \u{7f}",
        "a: \u{1}",
        "{}: x",
        "@: x",
        "a:b\rc: d",
    ];
    let kind = content_type();
    let mut cases = Vec::new();
    for line in lines {
        cases.push(Case::new(
            format!("header {line:?}"),
            get("/healthz", &format!("{line}\r\n")),
        ));
        let head = format!(
            "POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n{line}\r\n\r\n"
        );
        cases.push(Case::new(format!("header {line:?} of an upload"), head).all());
    }
    cases
}
