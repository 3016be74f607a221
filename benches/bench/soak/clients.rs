//! One random request of a client, with a check of its answer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use stt_isolated::engine::fault::TEXT;

use super::{CANCELS, FAULTS, Tally};
use crate::common::{
    clips::{CLIPS, Clip, ENCODINGS, wav},
    daemon::Daemon,
    http::{Answer, Form, post_head},
    wyoming,
};

/// Kinds of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sends speech in any format and asks for any kind of answer.
    Form,
    /// Asks for the text as a stream.
    Stream,
    Wyoming,
    /// Sends almost nothing, as fast as it can.
    Quick,
    /// Sends speech to a model in mode `hybrid`.
    Warm,
}

/// Faults, with the code that each must give.
const TROUBLE: [(&str, &str); 10] = [
    ("segfault", "worker_crashed"),
    ("abort", "worker_crashed"),
    ("stack-overflow", "worker_crashed"),
    ("exit=3", "worker_crashed"),
    ("fail", "engine_failed"),
    ("ready-twice", "worker_misbehaved"),
    ("out-of-order", "worker_misbehaved"),
    ("output-flood", "worker_misbehaved"),
    ("hang", TIMEOUT),
    ("spin", TIMEOUT),
];

const TIMEOUT: &str = "timeout";

/// A pseudo-random generator, the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(0x9e37_79b9_7f4a_7c15 ^ seed.wrapping_mul(0xff51_afd7_ed55_8ccd))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn one<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

/// Sends one request. If its answer is wrong, `tally` records it.
pub fn once(daemon: &Daemon, socket: &Path, kind: Kind, random: &mut Random, tally: &Tally) {
    let chance = random.below(100);
    let (count, what) = if chance < FAULTS {
        (&tally.faults, "a fault")
    } else if chance < FAULTS + CANCELS {
        (&tally.cancelled, "a cancelled request")
    } else {
        (&tally.good, "a good request")
    };
    let work = || match what {
        "a fault" => fault(daemon, socket, kind, random),
        "a cancelled request" => cancel(daemon, socket, kind, random),
        _ => good(daemon, socket, kind, random),
    };
    if judged(tally, &format!("{kind:?}, {what}"), work) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// True if `work` went well; otherwise the problem is recorded.
fn judged(tally: &Tally, what: &str, work: impl FnOnce()) -> bool {
    let result = catch_unwind(AssertUnwindSafe(work));
    if let Err(panic) = &result {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
        tally.lost(format!("{what}: {}", text.unwrap_or_default()));
    }
    result.is_ok()
}

fn good(daemon: &Daemon, socket: &Path, kind: Kind, random: &mut Random) {
    let clip = *random.one(&CLIPS);
    match kind {
        Kind::Form => {
            let format = *random.one(&["json", "text", "verbose_json", "srt", "vtt"]);
            let form = recorded(clip, random).field("response_format", format);
            let answer = daemon.post(&form.field("model", "speech"));
            assert_eq!(text_of(&answer, format), clip.text, "{format}: {answer:?}");
        }
        Kind::Warm => {
            let answer = daemon.post(&recorded(clip, random).field("model", "warm"));
            assert_eq!(answer.text(), clip.text);
        }
        Kind::Stream => {
            let form = recorded(clip, random)
                .field("model", "speech")
                .field("stream", "true");
            let answer = daemon.post(&form);
            assert_eq!(streamed(&answer), clip.text, "{answer:?}");
        }
        Kind::Wyoming => {
            let mut client = wyoming::Client::connect(socket);
            client.send(&wyoming::request(
                json!({"name": "speech"}),
                &clip.samples(),
            ));
            assert_eq!(client.text(), clip.text);
        }
        Kind::Quick => {
            let answer = daemon.post(&moment().field("model", "fault"));
            assert_eq!(answer.text(), TEXT);
        }
    }
}

/// Runs each fault more than once, several at a time: the memory that a burst leaves in the
/// allocator depends on all of them.
pub fn all_faults(daemon: &Daemon, tally: &Tally) {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (mode, code) in TROUBLE.repeat(2) {
                    judged(tally, "each fault", || trouble(daemon, mode, code));
                }
            });
        }
    });
}

fn fault(daemon: &Daemon, socket: &Path, kind: Kind, random: &mut Random) {
    let (mode, code) = *random.one(&TROUBLE);
    // A client of Wyoming cannot say how long it will wait.
    if kind == Kind::Wyoming && code != TIMEOUT {
        let mut client = wyoming::Client::connect(socket);
        let wish = json!({"name": format!("fault:{mode}")});
        client.send(&wyoming::request(wish, &[0; 32_000]));
        client.late_error(code);
    } else {
        trouble(daemon, mode, code);
    }
}

fn trouble(daemon: &Daemon, mode: &str, code: &str) {
    let mut form = moment().field("model", format!("fault:{mode}"));
    if code == TIMEOUT {
        form = form.field("deadline", "1");
    }
    let answer = daemon.post(&form);
    assert_eq!(answer.error()["code"], code, "{mode}: {answer:?}");
}

/// Sends a request, and disconnects before there can be an answer.
fn cancel(daemon: &Daemon, socket: &Path, kind: Kind, random: &mut Random) {
    let pause = Duration::from_millis(random.below(200));
    if kind == Kind::Wyoming {
        let mut client = wyoming::Client::connect(socket);
        client.send(&wyoming::request(
            json!({"name": "fault:hang"}),
            &[0; 32_000],
        ));
        thread::sleep(pause);
    } else {
        let form = moment().field("model", "fault:hang").body();
        // Some clients disconnect while they are still sending.
        let sent = if random.below(2) == 0 {
            form.len() / 2
        } else {
            form.len()
        };
        let mut raw = daemon.connect();
        let head = post_head(&format!("Content-Length: {}\r\n", form.len()));
        raw.send(&head).send(&form[..sent]);
        thread::sleep(pause);
    }
}

fn moment() -> Form {
    Form::of("a.wav", &wav(&[0; 3200]))
}

/// The clip in one of the formats.
fn recorded(clip: Clip, random: &mut Random) -> Form {
    match random.below(ENCODINGS.len() as u64 + 1) {
        0 => Form::of("a.wav", &clip.wav()),
        _ => {
            let encoding = *random.one(&ENCODINGS);
            Form::of(
                &format!("a.{}", encoding.extension),
                &clip.encoded(encoding),
            )
        }
    }
}

/// The recognised text in an answer of any format.
fn text_of(answer: &Answer, format: &str) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = std::str::from_utf8(&answer.body).unwrap();
    match format {
        "json" => answer.text(),
        "verbose_json" => answer.json()["text"].as_str().unwrap().into(),
        "text" => body.trim().into(),
        // Numbers, times and the first line of VTT are not speech.
        _ => {
            let lines = body.lines().filter(|line| {
                line.chars().any(char::is_alphabetic) && !line.contains("-->") && *line != "WEBVTT"
            });
            lines.collect::<Vec<_>>().join(" ")
        }
    }
}

/// The text of a stream; checks that its pieces give the same text.
fn streamed(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = std::str::from_utf8(&answer.body).unwrap();
    let events = body.trim_end().split("\n\n").map(|event| -> Value {
        serde_json::from_str(event.strip_prefix("data: ").expect("a line of data")).unwrap()
    });
    let mut pieces = String::new();
    for event in events {
        match event["type"].as_str() {
            Some("transcript.text.delta") => pieces += event["delta"].as_str().unwrap(),
            _ => {
                assert_eq!(event["type"], "transcript.text.done", "{event}");
                assert_eq!(event["text"], pieces);
                return pieces;
            }
        }
    }
    panic!("no end: {answer:?}")
}
