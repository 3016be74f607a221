//! Other versions of HTTP, other protocols, and what HTTP/1.1 has that few clients use: some of it
//! is right.

use super::case::{Case, chunked, good, good_body};
use crate::common::{
    clips::noise,
    http::{TRANSCRIPTIONS, content_type},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub fn families() -> Vec<Case> {
    [
        http_1_0(),
        expectations(),
        pipelines(),
        http_2(),
        other_protocols(),
        random_requests(),
    ]
    .concat()
}

fn head(version: &str, lines: &str) -> String {
    let (kind, length) = (content_type(), good_body().len());
    format!(
        "POST {TRANSCRIPTIONS} {version}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{lines}\r\n"
    )
}

fn with_body(head: String) -> Vec<u8> {
    [head.into_bytes(), good_body()].concat()
}

fn http_1_0() -> Vec<Case> {
    let chunked = String::from_utf8_lossy(&chunked(5_000)).replace("HTTP/1.1", "HTTP/1.0");
    let zero_nine: [&[u8]; 3] = [b"GET /healthz\r\n\r\n", b"GET /\r\n", b"GET /\n\n"];
    let mut cases = vec![
        Case::new("1.0", "GET /healthz HTTP/1.0\r\n\r\n").answers(&[200]),
        Case::new(
            "1.0 with a host",
            "GET /healthz HTTP/1.0\r\nHost: x\r\n\r\n",
        )
        .answers(&[200]),
        Case::new("1.0 to nowhere", "GET /nowhere HTTP/1.0\r\n\r\n").status(404),
        Case::new(
            "1.0 that stays",
            "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n",
        )
        .answers(&[200, 200]),
        Case::new(
            "1.0 that does not stay",
            "GET /healthz HTTP/1.0\r\n\r\nGET /nowhere HTTP/1.0\r\n\r\n",
        )
        .answers(&[200]),
        Case::new("an upload by 1.0", with_body(head("HTTP/1.0", ""))).answers(&[200]),
        Case::new("chunks by 1.0", chunked),
        Case::new(
            "1.0 without a length",
            format!("POST {TRANSCRIPTIONS} HTTP/1.0\r\n\r\nabc"),
        ),
        Case::new(
            "1.0 with a bad length",
            format!("POST {TRANSCRIPTIONS} HTTP/1.0\r\nContent-Length: -1\r\n\r\n"),
        ),
        Case::new(
            "1.0 with a chunked nothing",
            format!(
                "POST {TRANSCRIPTIONS} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
    ];
    for request in zero_nine {
        cases.push(Case::new(
            format!("{:?}", String::from_utf8_lossy(request)),
            request,
        ));
    }
    cases
}

fn expectations() -> Vec<Case> {
    let expect =
        |version: &str, what: &str| head(version, &format!("Host: x\r\nExpect: {what}\r\n"));
    let refused = |lines: &str| {
        format!("POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{lines}\r\n")
    };
    let too_large = refused(&format!(
        "Content-Type: {}\r\nContent-Length: 99999999999\r\n",
        content_type()
    ));
    vec![
        Case::new("100-continue", with_body(expect("HTTP/1.1", "100-continue"))).answers(&[200]),
        Case::new("100-Continue", with_body(expect("HTTP/1.1", "100-Continue"))).answers(&[200]),
        Case::new("another expectation", with_body(expect("HTTP/1.1", "200-maybe"))).either(),
        Case::new("an empty expectation", with_body(expect("HTTP/1.1", ""))).either(),
        Case::new("100-continue by 1.0", with_body(expect("HTTP/1.0", "100-continue"))).either(),
        Case::new("100-continue, and no body comes", expect("HTTP/1.1", "100-continue")).status(408),
        Case::new("100-continue", expect("HTTP/1.1", "100-continue")).all(),
        Case::new("100-continue for too much", too_large).status(413),
        Case::new("100-continue without a type", refused("Content-Length: 5\r\n")).status(400),
        Case::new("100-continue with a bad length", refused("Content-Length: -5\r\n")),
        Case::new("100-continue with a bad chunk", [refused("Transfer-Encoding: chunked\r\n").as_bytes(), b"-5\r\n"].concat()),
        Case::new("100-continue to nowhere", "POST /nowhere HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").status(404),
        Case::new("100-continue without a body", "GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n").answers(&[200]),
    ]
}

fn pipelines() -> Vec<Case> {
    let health = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let nowhere = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n";
    let join = |requests: &[&[u8]]| requests.concat();
    let good = good();
    // Its body is what the next request would be.
    let smuggled = format!(
        "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        nowhere.len()
    );
    let mut cases = vec![
        Case::new("two good ones", join(&[health, health])).answers(&[200, 200]),
        Case::new("fifty good ones", health.repeat(50)).answers(&[200; 50]),
        Case::new("good and nowhere", join(&[health, nowhere, health])).answers(&[200, 404, 200]),
        Case::new("three uploads", join(&[&good, &good, health])).answers(&[200, 200, 200]),
        Case::new("chunks, and a next one", join(&[&chunked(3_000), health])).answers(&[200, 200]),
        Case::new("line ends between", join(&[health, b"\r\n", health])).answers(&[200, 200]),
        Case::new(
            "good, then TLS",
            join(&[health, b"\x16\x03\x01\x02\r\n\r\n"]),
        )
        .answers(&[200, 400]),
        Case::new("good, then HTTP/2", join(&[health, PREFACE])).answers(&[200, 400]),
        Case::new(
            "good, then a bad length",
            join(&[health, b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"]),
        )
        .answers(&[200, 400]),
        Case::new(
            "an upload, then noise",
            join(&[&good, &noise(7, 3_000), b"\r\n\r\n"]),
        )
        .answers(&[200, 400]),
        Case::new(
            "a body that is a request",
            [smuggled.as_bytes(), nowhere, health].concat(),
        )
        .answers(&[405, 200]),
        Case::new(
            "good, and a last one",
            join(&[
                b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                health,
            ]),
        )
        .answers(&[200]),
        Case::new("garbage, then good", join(&[b"garbage\r\n\r\n", health])).status(400),
    ];
    for bad in [
        "Content-Length: -1",
        "Content-Length: 1\r\nContent-Length: 2",
        "no colon",
    ] {
        let bad = format!("POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: x\r\n{bad}\r\n\r\n");
        let name = format!("{bad:?}, then good");
        // Nobody knows where the next one begins.
        cases.push(Case::new(name, [bad.as_bytes(), &good].concat()).status(400));
    }
    cases
}

fn http_2() -> Vec<Case> {
    let frames: [(&str, &[u8]); 8] = [
        ("no frame", b""),
        ("settings", b"\0\0\0\x04\0\0\0\0\0"),
        (
            "a longer settings",
            b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64",
        ),
        ("a ping", b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("headers", b"\0\0\x05\x01\x05\0\0\0\x01\x82\x86\x84\x41\x8a"),
        ("a reset", b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08"),
        ("a giant frame", b"\xff\xff\xff\0\0\0\0\0\x01"),
        ("line ends", b"\r\n\r\n"),
    ];
    let mut cases = Vec::new();
    for (name, frame) in frames {
        let case = Case::new(format!("HTTP/2 with {name}"), [PREFACE, frame].concat());
        cases.extend([case.clone().status(400), case.all()]);
    }
    for length in 1..PREFACE.len() {
        cases.push(Case::new(format!("{length} bytes of the preface"), &PREFACE[..length]).all());
    }
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n";
    // A client that asks for another protocol may go on with this one.
    for (name, lines) in [("h2c", upgrade), ("websocket", websocket)] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        cases.push(Case::new(format!("upgrade to {name}"), request).answers(&[200]));
    }
    cases
}

fn other_protocols() -> Vec<Case> {
    let protocols: [(&str, &[u8]); 16] = [
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        ("SSL 2", b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10"),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("SMTP", b"EHLO example.org\r\n"),
        ("FTP", b"USER anonymous\r\nPASS x\r\n"),
        ("Redis", b"*1\r\n$4\r\nPING\r\n"),
        ("memcached", b"stats\r\n"),
        (
            "Wyoming",
            b"{\"type\": \"describe\", \"version\": \"1.5.2\"}\n",
        ),
        ("SOCKS 5", b"\x05\x01\0"),
        (
            "PROXY",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /healthz HTTP/1.1\r\n\r\n",
        ),
        (
            "PROXY 2",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x50\0\x50",
        ),
        ("D-Bus", b"\0AUTH EXTERNAL 30\r\n"),
        ("RTSP", b"OPTIONS rtsp://x RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
        ("SIP", b"INVITE sip:x SIP/2.0\r\n\r\n"),
        ("WAV", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0"),
        ("JSON-RPC", b"Content-Length: 2\r\n\r\n{}"),
    ];
    let mut cases = Vec::new();
    for (name, bytes) in protocols {
        let case = Case::new(name, bytes);
        cases.extend([case.clone(), case.all()]);
    }
    cases
}

fn random_requests() -> Vec<Case> {
    let case = |seed: u64| {
        let noise = noise(1_000 + seed, 10 + seed as usize * 97);
        Case::new(format!("noise {seed}"), [&noise[..], b"\r\n\r\n"].concat())
    };
    (0..40).map(case).collect()
}
