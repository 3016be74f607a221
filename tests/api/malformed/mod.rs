//! Requests that are none: each is refused or hung up on soon, never with a 5xx, and nothing stays
//! behind.

mod bodies;
mod case;
mod heads;
mod protocols;

use std::{
    collections::{BTreeMap, HashSet},
    io::Read,
    sync::Mutex,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use crate::common::{clips::TEN_OF_CLUBS, daemon::Daemon, process::private_memory};
use case::{Case, Expected};
use procfs::process::Process;
use serde_json::Value;

/// Clients are patient for long, the daemon is not.
const CONFIG: &str = r#"
    [http]
    max_upload = "2M"
    header_timeout = "1s"
    body_timeout = "1s"
"#;

/// How many clients there are at once.
const CLIENTS: usize = 16;

/// Bytes that the supervisor may keep after it has seen everything once: two thousand requests are
/// 500 bytes each. The layout of its heap after many clients at once differs by half of it.
const GROWTH: u64 = 1 << 20;

/// Everything that came back: the statuses of all answers, and whether the connection is over.
#[derive(Debug, Default)]
struct Reply {
    statuses: Vec<u16>,
    /// Codes of the errors among them.
    codes: Vec<String>,
    is_over: bool,
}

/// All of them; what two families have in common is sent once.
fn families() -> Vec<Case> {
    let mut cases = [heads::families(), bodies::families(), protocols::families()].concat();
    let mut seen = HashSet::new();
    cases.retain(|case| seen.insert((case.bytes.clone(), case.is_all)));
    cases
}

/// Sends it, and reads until there are as many answers as there may be, or none can come. Fails if
/// nothing comes.
fn send(daemon: &Daemon, case: &Case) -> Reply {
    let mut connection = daemon.connect();
    let bytes = case.bytes.clone();
    let is_all = case.is_all;
    let sending = connection.send_in_background(bytes);
    let mut sending = Some(sending);
    if is_all {
        sending.take().unwrap().join().unwrap();
        // It may have been hung up on already.
        let _ = connection.0.shutdown(std::net::Shutdown::Write);
    }
    let most = match &case.expected {
        Expected::Answers(statuses) => statuses.len(),
        _ => 1,
    };
    let mut reply = Reply::default();
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while reply.statuses.len() < most {
        match connection.0.read(&mut buffer) {
            Ok(0) => reply.is_over = true,
            Ok(length) => received.extend(&buffer[..length]),
            // A Unix socket says this when the other side closed it with something unread in it.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                reply.is_over = true
            }
            Err(error) => panic!(
                "{}: {error} after {:?}",
                case.name,
                String::from_utf8_lossy(&received)
            ),
        }
        while let Some((status, code)) = take_answer(&mut received) {
            // The interim answer to `Expect: 100-continue`.
            if status != 100 {
                reply.statuses.push(status);
                reply.codes.push(code);
            }
        }
        if reply.is_over {
            break;
        }
    }
    let _ = connection.0.shutdown(std::net::Shutdown::Both);
    if let Some(sending) = sending {
        sending.join().unwrap();
    }
    reply
}

/// Status of the first complete answer in `received`, which is taken out; and an error's code, if
/// it is in OpenAI's shape.
fn take_answer(received: &mut Vec<u8>) -> Option<(u16, String)> {
    let head = received.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&received[..head])
        .unwrap()
        .to_ascii_lowercase();
    let status = text["http/1.1 ".len()..][..3].parse().unwrap();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    if received.len() < head + length {
        return None;
    }
    let body: Option<Value> = serde_json::from_slice(&received[head..head + length]).ok();
    received.drain(..head + length);
    let error = body.map(|body| body["error"].clone());
    let code = error.filter(|error| error["message"].is_string());
    let code = code.and_then(|error| Some(error["code"].as_str()?.to_owned()));
    Some((status, code.unwrap_or_default()))
}

/// Says what is wrong with the reply, if anything is.
fn judge(case: &Case, reply: &Reply) -> Result<(), String> {
    let is_refusal = match *reply.statuses {
        [status] => (400..500).contains(&status),
        [] => reply.is_over,
        _ => false,
    };
    let is_right = match &case.expected {
        Expected::Refusal => is_refusal,
        Expected::Status(status) => reply.statuses == [*status],
        Expected::Either => is_refusal || reply.statuses == [200],
        Expected::Answers(statuses) => reply.statuses == *statuses,
    };
    let told = reply.statuses.iter().zip(&reply.codes);
    // An error that is told properly, and was found before a job had anything to do with it.
    let mut told =
        told.map(|(status, code)| *status < 400 || !["", "invalid_audio"].contains(&&**code));
    match is_right && told.all(|told| told) {
        true => Ok(()),
        false => Err(format!(
            "{}: {reply:?} instead of {:?}",
            case.name, case.expected
        )),
    }
}

/// Sends all of them, several at once; gives what went wrong, and how many were answered 200 for an
/// upload.
fn send_all(daemon: &Daemon, cases: &[Case]) -> (Vec<String>, BTreeMap<String, usize>) {
    let next = AtomicUsize::new(0);
    let found = Mutex::new((Vec::new(), BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let reply = send(daemon, case);
                    let mut found = found.lock().unwrap();
                    found.0.extend(judge(case, &reply).err());
                    *found.1.entry(format!("{:?}", reply.statuses)).or_default() += 1;
                }
            });
        }
    });
    found.into_inner().unwrap()
}

fn accepted(daemon: &Daemon) -> u64 {
    let stats = daemon.get("/v1/stats").json();
    let requests = &stats["total"]["requests"];
    assert_eq!(requests["accepted"], requests["ok"], "{requests}");
    requests["ok"].as_u64().unwrap()
}

fn threads(daemon: &Daemon) -> u64 {
    let process = Process::new(daemon.pid()).unwrap();
    process.status().unwrap().threads
}

#[test]
fn every_malformed_request_is_refused() {
    let daemon = Daemon::start(CONFIG);
    let cases = families();
    assert!(cases.len() >= 500, "{}", cases.len());
    // The supervisor keeps after the first round what there is to keep.
    let begin = Instant::now();
    let (wrong, replies) = send_all(&daemon, &cases);
    println!(
        "{} requests in {:?}: {replies:?}",
        cases.len(),
        begin.elapsed()
    );
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
    let idle = || {
        let text = daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav()).text();
        assert_eq!(text, TEN_OF_CLUBS.text);
        let open = daemon.idle_descriptors(2);
        (open, threads(&daemon), private_memory(daemon.pid()))
    };
    let before = idle();
    let jobs = accepted(&daemon);
    let malformed: Vec<Case> = (cases.into_iter())
        .filter(|case| matches!(case.expected, Expected::Refusal | Expected::Status(_)))
        .collect();
    assert!(malformed.len() >= 500, "{}", malformed.len());
    for _ in 0..2 {
        let (wrong, _) = send_all(&daemon, &malformed);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
    assert_eq!(accepted(&daemon), jobs, "a job was started for one of them");
    let after = idle();
    println!("{before:?}, then {after:?}");
    assert_eq!(after.0, before.0, "descriptors are left open");
    assert!(
        after.1 <= before.1,
        "{} threads instead of {}",
        after.1,
        before.1
    );
    let grown = after.2.saturating_sub(before.2);
    assert!(grown <= GROWTH, "the supervisor grew by {grown} bytes");
}
