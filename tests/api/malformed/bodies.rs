//! Bodies whose length is a lie, whose chunks are none, or which are no form.

use super::case::{Case, chunked, chunked_head, end, form, good_body, part, transcription, typed};
use crate::common::{
    clips::noise,
    http::{BOUNDARY, Form, content_type},
};

pub fn families() -> Vec<Case> {
    [
        lengths(),
        several_lengths(),
        chunk_sizes(),
        chunked_without_end(),
        cut_off_bodies(),
        content_types(),
        boundaries_in_bodies(),
        part_heads(),
        values(),
        random_bodies(),
    ]
    .concat()
}

fn with_lines(lines: &str) -> Vec<u8> {
    let kind = content_type();
    transcription(&format!("Content-Type: {kind}\r\n{lines}"), &good_body())
}

fn lengths() -> Vec<Case> {
    let lengths = [
        "-1",
        "-0",
        "+5",
        "0x10",
        "1e3",
        "1.5",
        "5 5",
        "5,6",
        "5;",
        "\"5\"",
        "five",
        "",
        " ",
        "\u{0}",
        "5\u{0}",
        "99999999999999999999",
        "18446744073709551616",
        "18446744073709551615",
        "9223372036854775808",
        "9223372036854775807",
        "99999999999",
        "00000000000000000000000000000000-1",
        "NaN",
        "inf",
        "\u{0665}",
        "0b1",
        "1_000",
        "- 1",
        "--1",
        "5-",
        "%35",
    ];
    let case = |length: &&str| {
        let request = with_lines(&format!("Content-Length: {length}\r\n"));
        Case::new(format!("length {length:?}"), request)
    };
    lengths.iter().map(case).collect()
}

fn several_lengths() -> Vec<Case> {
    let length = good_body().len();
    let lines = [
        format!("Content-Length: {length}\r\nContent-Length: 5\r\n"),
        format!("Content-Length: 5\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}, 5\r\n"),
        format!("Content-Length: {length}\r\nContent-Length: -1\r\n"),
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n".into(),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        "Transfer-Encoding: chunked, identity\r\n".into(),
        "Transfer-Encoding: identity\r\n".into(),
        "Transfer-Encoding: gzip\r\n".into(),
        "Transfer-Encoding: gzip, chunked\r\n".into(),
        "Transfer-Encoding: xchunked\r\n".into(),
        "Transfer-Encoding: chunked;\r\n".into(),
        "Transfer-Encoding: chunke\u{0}d\r\n".into(),
        "Transfer-Encoding: \"chunked\"\r\n".into(),
        "Transfer-Encoding:\r\n".into(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".into(),
        "Transfer-Encoding: CHUNKED\r\n".into(),
        "Transfer-Encoding : chunked\r\n".into(),
        "Content-Length : 5\r\n".into(),
    ];
    // The body is not a chunk in any of them; where its length is taken to be the small one, it is
    // cut off.
    lines
        .iter()
        .map(|lines| Case::new(format!("{lines:?}"), with_lines(lines)).all())
        .collect()
}

fn chunk_sizes() -> Vec<Case> {
    let sizes = [
        "-1",
        "+1",
        "0x5",
        "g",
        " ",
        "",
        "\u{0}",
        "5\u{0}",
        "FFFFFFFFFFFFFFFF",
        "FFFFFFFFFFFFFFFFF",
        "10000000000000000",
        "7FFFFFFFFFFFFFFF",
        "80000000",
        "5 5",
        "5,",
        "5.",
        "\u{ff}",
        "five",
        "-0",
        "\t",
        "5\r",
        "5\n\n",
        "1e",
        "\u{0665}",
    ];
    let mut cases = Vec::new();
    for size in sizes {
        let request = [
            &chunked_head()[..],
            size.as_bytes(),
            b"\r\n",
            &good_body(),
            b"\r\n0\r\n\r\n",
        ]
        .concat();
        cases.push(Case::new(format!("chunk size {size:?}"), request).all());
    }
    for length in [100, 20_000, 200_000] {
        let long = "a".repeat(length);
        for size in [
            format!("5;{long}"),
            format!("5;a={long}"),
            "0".repeat(length),
            format!("0\r\n{long}: x"),
        ] {
            let request = [
                &chunked_head()[..],
                size.as_bytes(),
                b"\r\nhello\r\n0\r\n\r\n",
            ]
            .concat();
            let name = format!("chunk size {:?}… of {length} bytes", &size[..5]);
            cases.push(Case::new(name, request).all());
        }
    }
    let many = "1;a=b\r\nx\r\n".repeat(20_000);
    let request = [&chunked_head()[..], many.as_bytes(), b"0\r\n\r\n"].concat();
    cases.push(Case::new("20000 chunks with an extension each", request));
    let trailers = "a: b\r\n".repeat(20_000);
    let request = [&chunked_head()[..], b"0\r\n", trailers.as_bytes(), b"\r\n"].concat();
    cases.push(Case::new("20000 trailers", request));
    cases
}

fn chunked_without_end() -> Vec<Case> {
    let mut cases = Vec::new();
    let head = chunked_head().len();
    for size in [5, 1_000, 20_000] {
        let request = chunked(size);
        let body = request.len() - head;
        for percent in [0, 1, 10, 50, 90] {
            let length = head + body * percent / 100;
            let name = format!("{percent} % of a body in chunks of {size}");
            let case = Case::new(name, &request[..length]);
            cases.extend([case.clone(), case.all()]);
        }
    }
    let request = chunked(1_000);
    for missing in 1..=5 {
        let length = request.len() - missing;
        let case = Case::new(
            format!("{missing} bytes missing to the last chunk's end"),
            &request[..length],
        );
        cases.extend([case.clone(), case.all()]);
    }
    cases
}

fn cut_off_bodies() -> Vec<Case> {
    let request = form(&good_body());
    let head = request.len() - good_body().len();
    let mut cases = Vec::new();
    for length in [
        0,
        1,
        10,
        40,
        60,
        90,
        120,
        150,
        1_000,
        10_000,
        good_body().len() - 1,
    ] {
        let case = Case::new(
            format!("{length} bytes of a body"),
            &request[..head + length],
        );
        cases.extend([case.clone(), case.all()]);
        let whole = form(&good_body()[..length]);
        cases.push(Case::new(format!("a form of {length} bytes"), whole).either());
    }
    cases
}

fn content_types() -> Vec<Case> {
    let boundary = BOUNDARY;
    let other = [
        "multipart/form-data".into(),
        "multipart/form-data;".into(),
        "multipart/form-data; boundary".into(),
        "multipart/form-data; boundary=".into(),
        "multipart/form-data; boundary=\"\"".into(),
        "multipart/form-data; boundary=\"".into(),
        format!("multipart/form-data; boundary=\"{boundary}"),
        format!("multipart/form-data; boundary={boundary}x"),
        format!("multipart/form-data; boundary=x{boundary}"),
        format!("multipart/form-data; boundary={}", boundary.to_uppercase()),
        format!("multipart/form-data; boundary={}", &boundary[1..]),
        format!("multipart/form-data; boundary={}", "a".repeat(71)),
        format!("multipart/form-data; boundary={}", "a".repeat(5_000)),
        "multipart/form-data; boundary=\u{e4}".into(),
        "multipart/form-data; boundary=a b".into(),
        "multipart/form-data; boundary==".into(),
        "multipart/form-data; boundary=\\".into(),
        "multipart/form-data; boundary=\"\\\"\"".into(),
        "multipart/form-data; boundary=--".into(),
        "multipart/form-data; boundary=\r".into(),
        format!("multipart/form-data, boundary={boundary}"),
        format!("multipart/form-data boundary={boundary}"),
        format!("multipart/mixed; boundary={boundary}"),
        format!("multipart/; boundary={boundary}"),
        format!("multipart; boundary={boundary}"),
        format!("/form-data; boundary={boundary}"),
        format!("text/form-data; boundary={boundary}"),
        format!("; boundary={boundary}"),
        "boundary=x".into(),
        "application/json".into(),
        "application/x-www-form-urlencoded".into(),
        "text/plain".into(),
        "text/html; charset=\u{ff}".into(),
        "*/*".into(),
        "".into(),
        "/".into(),
        ";;;".into(),
        "\u{1f600}".into(),
    ];
    let body = good_body();
    let mut cases: Vec<Case> = other
        .iter()
        .map(|kind: &String| Case::new(format!("type {kind:?}"), typed(kind.as_bytes(), &body)))
        .collect();
    let none = transcription(&format!("Content-Length: {}\r\n", body.len()), &body);
    cases.push(Case::new("no type", none));
    cases
}

fn boundaries_in_bodies() -> Vec<Case> {
    let good = good_body();
    let text = |body: String| body.into_bytes();
    let replaced = |from: &str, to: &str| {
        let at = good
            .windows(from.len())
            .position(|w| w == from.as_bytes())
            .unwrap();
        [&good[..at], to.as_bytes(), &good[at + from.len()..]].concat()
    };
    let boundary = BOUNDARY;
    let bodies = [
        ("nothing", Vec::new()),
        ("only the end", end()),
        ("only a boundary", text(format!("--{boundary}\r\n"))),
        (
            "only a boundary without its line's end",
            text(format!("--{boundary}")),
        ),
        (
            "the end without a line's end",
            text(format!("--{boundary}-")),
        ),
        ("two ends", [end(), end()].concat()),
        ("nothing but line ends", b"\r\n".repeat(1_000)),
        ("nothing but dashes", vec![b'-'; 10_000]),
        (
            "nothing but boundaries",
            text(format!("--{boundary}\r\n").repeat(500)),
        ),
        (
            "a boundary too long",
            replaced(&format!("--{boundary}"), &format!("--{boundary}x")),
        ),
        (
            "a boundary too short",
            replaced(&format!("--{boundary}"), &format!("--{}", &boundary[1..])),
        ),
        (
            "a boundary without dashes",
            replaced(&format!("--{boundary}"), boundary),
        ),
        ("no end", Form::of("a.wav", b"RIFF").unfinished()),
        (
            "line feeds alone",
            text(String::from_utf8_lossy(&part(b"a: b", b"c")).replace('\r', "")),
        ),
        (
            "carriage returns alone",
            text(String::from_utf8_lossy(&part(b"a: b", b"c")).replace('\n', "")),
        ),
        (
            "a NUL behind the boundary",
            replaced(boundary, &format!("{boundary}\0")),
        ),
        (
            "JSON",
            b"{\"file\": \"a.wav\", \"model\": \"default\"}".to_vec(),
        ),
        ("a form in a URL", b"model=default&file=a.wav".to_vec()),
    ];
    bodies
        .map(|(name, body)| Case::new(format!("body: {name}"), form(&body)))
        .into()
}

fn part_heads() -> Vec<Case> {
    let heads: [(&str, Vec<u8>); 23] = [
        ("empty", b"".to_vec()),
        ("no name", b"Content-Disposition: form-data".to_vec()),
        (
            "an empty name",
            b"Content-Disposition: form-data; name=\"\"".to_vec(),
        ),
        (
            "an open quote",
            b"Content-Disposition: form-data; name=\"file".to_vec(),
        ),
        ("no disposition", b"Content-Type: audio/wav".to_vec()),
        ("no colon", b"Content-Disposition form-data".to_vec()),
        ("no value", b"Content-Disposition:".to_vec()),
        (
            "a NUL in the header's name",
            b"Content-Dis\0position: form-data; name=\"file\"".to_vec(),
        ),
        (
            "a NUL in the name",
            b"Content-Disposition: form-data; name=\"fi\0le\"".to_vec(),
        ),
        (
            "a NUL behind the name",
            b"Content-Disposition: form-data; name=\"file\"\0".to_vec(),
        ),
        (
            "no UTF-8 in the name",
            b"Content-Disposition: form-data; name=\"fi\xffle\"".to_vec(),
        ),
        (
            "a NUL in disguise",
            b"Content-Disposition: form-data; name=\"fi\xc0\x80le\"".to_vec(),
        ),
        (
            "half a surrogate",
            b"Content-Disposition: form-data; name=\"\xed\xa0\x80\"".to_vec(),
        ),
        (
            "a control character",
            b"Content-Disposition: form-data; name=\"\x1b[31m\"".to_vec(),
        ),
        (
            "a folded line",
            b"Content-Disposition: form-data;\r\n name=\"file\"".to_vec(),
        ),
        (
            "a space in front of the colon",
            b"Content-Disposition : form-data; name=\"file\"".to_vec(),
        ),
        (
            "an unknown name",
            b"Content-Disposition: form-data; name=\"colour\"".to_vec(),
        ),
        (
            "a path as its name",
            b"Content-Disposition: form-data; name=\"../file\"".to_vec(),
        ),
        (
            "a name that is long",
            [
                &b"Content-Disposition: form-data; name=\""[..],
                &[b'a'; 9_000],
                b"\"",
            ]
            .concat(),
        ),
        (
            "a head that is long",
            [&b"X: "[..], &[b'a'; 300_000]].concat(),
        ),
        (
            "a head that is longer",
            [&b"X: "[..], &[b'a'; 900_000]].concat(),
        ),
        ("many headers", b"a: b\r\n".repeat(1_000)),
        ("very many headers", b"a: b\r\n".repeat(60_000)),
    ];
    let mut cases = Vec::new();
    for (name, head) in heads {
        let alone = [part(&head, b"RIFF"), end()].concat();
        cases.push(Case::new(format!("part: {name}"), form(&alone)));
        // In front of a good one it may be passed over by nobody either.
        let before = [part(&head, b"default"), good_body()].concat();
        cases.push(Case::new(
            format!("part in front of the file: {name}"),
            form(&before),
        ));
    }
    cases
}

/// Parameters with impossible values, next to a good recording.
fn values() -> Vec<Case> {
    let values: [&[u8]; 8] = [
        b"a\0b",
        b"\0",
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"en\xe9",
        b"\x80abc",
    ];
    let mut cases = Vec::new();
    for name in [
        "model",
        "language",
        "response_format",
        "memory_limit",
        "deadline",
        "colour",
        "file",
    ] {
        for value in values {
            let head = format!("Content-Disposition: form-data; name=\"{name}\"");
            let body = [part(head.as_bytes(), value), good_body()].concat();
            cases.push(Case::new(format!("{name} is {value:x?}"), form(&body)));
        }
    }
    for (name, value) in [
        ("deadline", "-1"),
        ("deadline", "0"),
        ("deadline", "1e400"),
        ("deadline", "NaN"),
        ("deadline", "-inf"),
        ("deadline", "99999999999999999999999y"),
        ("memory_limit", "-1"),
        ("memory_limit", "18446744073709551616"),
        ("memory_limit", "1e30"),
        ("memory_limit", "99999999999999G"),
        ("memory_limit", "12 bananas"),
        ("response_format", "xml"),
        ("response_format", "JSON "),
        ("language", "-"),
        ("language", "klingonese"),
        ("model", "nobody"),
        ("model", "../../etc/passwd"),
        ("model", "default:crash"),
    ] {
        let head = format!("Content-Disposition: form-data; name=\"{name}\"");
        let body = [part(head.as_bytes(), value.as_bytes()), good_body()].concat();
        cases.push(Case::new(format!("{name} is {value:?}"), form(&body)));
    }
    for count in [65, 100, 5_000] {
        let part = part(b"Content-Disposition: form-data; name=\"language\"", b"");
        cases.push(Case::new(
            format!("{count} parts"),
            form(&[part.repeat(count), end()].concat()),
        ));
    }
    cases
}

fn random_bodies() -> Vec<Case> {
    let case = |seed: u64| {
        let body = noise(seed, 1 + seed as usize * 311);
        Case::new(format!("noise {seed} as a body"), form(&body))
    };
    (0..20).map(case).collect()
}
