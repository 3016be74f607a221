//! The engine `whisper` with OpenAI's own weights on people's speech.
//!
//! `whisper.rs` has the shapes and faults that no real model has.
//!
//! Each hearing is seconds of work, so one daemon serves many of them, in one process that is used
//! again (mode `hybrid`), and prompts are joined into recordings of half a minute. The bounds leave
//! room for other builds of the library; a broken engine is beyond them by far.

use std::{collections::HashMap, path::Path};

use http_body_util::Full;
use hyper::{Request, body::Bytes};
use serde_json::{Value, json};

use crate::common::{
    LONG,
    clips::{CLIPS, Clip, GOFORWARD, HARDER_CLIPS, SOMETHING, TEN_OF_CLUBS, call, noise, wav},
    daemon::{Daemon, Setup},
    http::{self, Form, Raw},
    process::{Seen, memory},
    speech::{Joined, Prompt, plain_words, weights, word_errors},
    wait_for,
    wyoming::{self, Client},
};

const TINY: &str = "ggml-tiny.en.bin";
const BASE: &str = "ggml-base.bin";

fn config(file: &Path, more: &str) -> String {
    format!(
        "{more}\n[health]\ninterval = \"0s\"\n[spares]\nmin = 1\nmax = 1\n[recycle]\nmax_growth = \"8G\"\n\
         [models.default]\nengine = \"whisper\"\n[models.default.whisper]\nfile = {file:?}\nthreads = 1\n"
    )
}

/// A daemon with this model in one process, which serves all requests.
fn hybrid(file: &Path) -> Daemon {
    Daemon::start(&config(
        file,
        "[isolation]\nmode = \"hybrid\"\n[jobs]\nmax_running = 1",
    ))
}

fn verbose(daemon: &Daemon, form: Form) -> Value {
    let form = form
        .field("response_format", "verbose_json")
        .field("timestamp_granularities[]", "segment")
        .field("timestamp_granularities[]", "word");
    let answer = daemon.post(&form);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn text(answer: &Value) -> &str {
    answer["text"].as_str().unwrap()
}

/// Each word with its beginning and end.
fn words(answer: &Value) -> Vec<(String, f64, f64)> {
    let time = |time: &Value| time.as_f64().unwrap();
    let word = |word: &Value| {
        let text = word["word"].as_str().unwrap().to_owned();
        (text, time(&word["start"]), time(&word["end"]))
    };
    answer["words"]
        .as_array()
        .unwrap()
        .iter()
        .map(word)
        .collect()
}

/// Prompts of one language.
struct Language {
    code: &'static str,
    /// The language in answers.
    name: &'static str,
    prompts: &'static [&'static str],
}

const LANGUAGES: [Language; 5] = [
    Language {
        code: "en",
        name: "english",
        prompts: &[
            "vm-mailboxfull",
            "vm-starmain",
            "vm-tempremoved",
            "privacy-prompt",
            "vm-dialout",
            "vm-enter-num-to-call",
        ],
    },
    Language {
        code: "es",
        name: "spanish",
        prompts: &[
            "agent-pass",
            "confbridge-unlocked",
            "confbridge-dec-talk-vol-in",
            "confbridge-begin-glorious-a",
            "please-try-again",
        ],
    },
    Language {
        code: "fr",
        name: "french",
        prompts: &[
            "agent-incorrect",
            "conf-now-recording",
            "vm-nobodyavail",
            "auth-incorrect",
            "vm-tempremoved",
        ],
    },
    Language {
        code: "it",
        name: "italian",
        prompts: &[
            "confbridge-inc-list-vol-in",
            "confbridge-begin-leader",
            "all-circuits-busy-now",
            "vm-nobodyavail",
            "confbridge-rest-talk-vol-in",
        ],
    },
    Language {
        code: "ru",
        name: "russian",
        prompts: &[
            "tt-allbusy",
            "all-circuits-busy-now",
            "priv-callpending",
            "confbridge-pin-bad",
            "pls-hold-while-try",
        ],
    },
];

impl Language {
    fn joined(&self, kilohertz: u32) -> Joined {
        let prompts = self.prompts.iter();
        let prompts: Vec<Prompt> = prompts
            .map(|name| Prompt::read(self.code, kilohertz, name))
            .collect();
        Joined::of(&prompts, kilohertz, 1.0)
    }
}

/// Share of the words that may be wrong.
const ERRORS: f64 = 0.25;

/// How far from speech, in seconds, a word may begin.
const TOLERANCE: f64 = 1.1;

#[test]
fn five_languages_are_heard_told_apart_and_translated() {
    let Some(file) = weights(BASE) else { return };
    let daemon = hybrid(&file);
    for language in &LANGUAGES {
        let wide = language.joined(16);
        let answer = verbose(&daemon, Form::of("a.wav", &wide.wav));
        let errors = word_errors(&wide.text, text(&answer));
        println!("{} 16 kHz: {errors:.2} {}", language.code, text(&answer));
        assert_eq!(answer["language"], language.name);
        assert!(errors <= ERRORS, "{errors}: {answer}");
        times_are_those_of_speech(&words(&answer), &wide.places);

        let narrow = language.joined(8);
        let form = Form::of("a.wav", &narrow.wav).field("language", language.code);
        let answer = verbose(&daemon, form);
        let errors = word_errors(&narrow.text, text(&answer));
        println!("{}  8 kHz: {errors:.2} {}", language.code, text(&answer));
        assert!(errors <= ERRORS, "{errors}: {answer}");
    }
    // One prompt each: of several in one recording, `base` writes some as they are spoken.
    for (language, expected) in [
        (&LANGUAGES[1], ["only", "person", "conference"]),
        (&LANGUAGES[2], ["only", "participant", "conference"]),
    ] {
        let prompt = Prompt::read(language.code, 16, "conf-onlyperson");
        let form = Form::of("a.wav", &Joined::of(&[prompt], 16, 1.0).wav);
        let answer = translate(&daemon, &form);
        println!("{} in English: {}", language.code, text(&answer));
        assert_eq!(
            (&answer["language"], &answer["task"]),
            (&json!("english"), &json!("translate"))
        );
        let heard = plain_words(text(&answer));
        let found = expected
            .iter()
            .filter(|word| heard.iter().any(|h| h == *word));
        assert!(found.count() >= 2, "{expected:?} in {answer}");
    }
}

fn translate(daemon: &Daemon, form: &Form) -> Value {
    let form = form.clone().field("response_format", "verbose_json");
    let request = Request::post("/v1/audio/translations")
        .header("host", "x")
        .header("content-type", http::content_type())
        .body(Full::new(Bytes::from(form.body())))
        .unwrap();
    let answer = http::exchange(daemon.socket(), request).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Fails if a word is further from speech than the tolerance, or a prompt has no word.
fn times_are_those_of_speech(words: &[(String, f64, f64)], places: &[(f64, f64)]) {
    assert!(
        words.is_sorted_by(|(_, a, _), (_, b, _)| a <= b),
        "{words:?}"
    );
    // The end of a word before a pause may be anywhere in the pause.
    let within = |(_, start, _): &(String, f64, f64), (from, to): (f64, f64)| {
        (from - TOLERANCE..to + TOLERANCE).contains(start)
    };
    for word in words {
        let found = places.iter().any(|place| within(word, *place));
        assert!(found, "{word:?} is in a pause: {places:?}");
    }
    for place in places {
        let found = words.iter().any(|word| within(word, *place));
        assert!(found, "nothing between {place:?}: {words:?}");
    }
}

#[test]
fn english_is_heard_in_every_way_to_ask() {
    let Some(file) = weights(TINY) else { return };
    let folder = tempfile::TempDir::new().unwrap();
    let socket = folder.path().join("wyoming.sock");
    let more = "[isolation]\nmode = \"hybrid\"\n[jobs]\nmax_running = 1";
    let daemon = Setup::new(&config(&file, more))
        .listen_as("wyoming", socket.to_str().unwrap())
        .start();
    let (mut said, mut heard) = (String::new(), String::new());
    for clip in CLIPS.iter().chain(&HARDER_CLIPS[1..4]) {
        let answer = daemon.transcribe("a.wav", &clip.wav());
        println!("{}: {}", clip.text, answer.text());
        said = format!("{said} {}", clip.text);
        heard = format!("{heard} {}", answer.text());
    }
    let errors = word_errors(&said, &heard);
    assert!(errors <= ERRORS, "{errors}: {heard}");

    let expected = daemon.transcribe("a.wav", &GOFORWARD.wav()).text();
    assert_eq!(plain_words(&expected), plain_words(GOFORWARD.text));
    events_join_to(&daemon, &GOFORWARD, &expected);
    let mut client = Client::connect(&socket);
    client.send(&wyoming::request(json!({}), &GOFORWARD.samples()));
    assert_eq!(client.text(), expected);

    a_prompt_spells_names(&daemon);
    words_lie_on_their_side_of_a_pause(&daemon);
    nothing_is_heard_where_nobody_speaks(&daemon);
    an_unlikely_text_is_tried_again(&daemon);
}

fn events_join_to(daemon: &Daemon, clip: &Clip, expected: &str) {
    let answer = daemon.post(&Form::of("a.wav", &clip.wav()).field("stream", "true"));
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    let events = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = events
        .map(|event| serde_json::from_str(event).unwrap())
        .collect();
    let deltas = events.iter().filter_map(|event| event["delta"].as_str());
    assert_eq!(deltas.collect::<String>(), expected);
    assert_eq!(events.last().unwrap()["text"], expected);
}

/// In a sentence of a novel, "Mr. John Dashwood" without a prompt.
fn a_prompt_spells_names(daemon: &Daemon) {
    let form = Form::of("a.wav", &HARDER_CLIPS[1].wav());
    let plain = daemon.post(&form).text();
    assert!(plain.contains("John Dashwood "), "{plain}");
    let prompt = "A novel about Mr. Jon Dashwoode and his sisters.";
    let prompted = daemon.post(&form.field("prompt", prompt)).text();
    assert!(prompted.contains("Jon Dashwoode "), "{prompted}");
}

/// A pause of two seconds is within a piece, one of five seconds is between two pieces.
fn words_lie_on_their_side_of_a_pause(daemon: &Daemon) {
    let prompt = |clip: Clip| Prompt {
        text: clip.text.into(),
        samples: clip.samples(),
    };
    for pause in [2.0, 5.0] {
        let joined = Joined::of(&[prompt(GOFORWARD), prompt(CLIPS[5])], 16, pause);
        let answer = verbose(daemon, Form::of("a.wav", &joined.wav));
        let words = words(&answer);
        times_are_those_of_speech(&words, &joined.places);
        let middle = joined.places[0].1 + pause / 2.0;
        let before = words
            .iter()
            .take_while(|(_, start, end)| f64::midpoint(*start, *end) < middle);
        let before: Vec<&str> = before.map(|(text, ..)| text.as_str()).collect();
        let before = plain_words(&before.join(" "));
        let expected = plain_words(GOFORWARD.text);
        assert!(before.starts_with(&expected), "{pause}: {words:?}");
        // Within a piece, the first word after a pause may begin where the pause does.
        let astray = before.len() - expected.len();
        assert!(astray <= usize::from(pause < 3.0), "{pause}: {words:?}");
    }
}

fn nothing_is_heard_where_nobody_speaks(daemon: &Daemon) {
    let tone = (0..4 * 16_000).flat_map(|n| {
        let angle = f64::from(n) / 16_000.0 * 440.0 * std::f64::consts::TAU;
        ((angle.sin() * 8000.0) as i16).to_le_bytes()
    });
    let hiss = noise(7, 4 * 16_000).into_iter();
    let hiss = hiss.flat_map(|byte| (i16::from(byte) - 128).to_le_bytes());
    let sounds: [(&str, Vec<u8>); 3] = [
        ("silence", vec![0; 4 * 32_000]),
        ("a tone", tone.collect()),
        ("a hiss", hiss.collect()),
    ];
    for (what, samples) in sounds {
        assert_eq!(
            daemon.transcribe("a.wav", &wav(&samples)).text(),
            "",
            "{what}"
        );
    }
}

/// Speech that runs backwards is like speech, but no text is likely.
fn an_unlikely_text_is_tried_again(daemon: &Daemon) {
    let samples = CLIPS[4].samples();
    let (pairs, _) = samples.as_chunks::<2>();
    let backwards: Vec<u8> = pairs.iter().rev().flatten().copied().collect();
    let temperature = |form: Form| {
        let answer = verbose(daemon, form.field("vad", "false"));
        println!("{}", answer["segments"]);
        answer["segments"][0]["temperature"].as_f64()
    };
    let form = || Form::of("a.wav", &wav(&backwards));
    assert!(temperature(form()) >= Some(0.2));
    let sure = || Form::of("a.wav", &CLIPS[4].wav());
    assert_eq!(temperature(sure()), Some(0.0));
    assert_eq!(temperature(sure().field("temperature", "0.5")), Some(0.5));
}

#[test]
fn all_modes_hear_the_same() {
    let Some(file) = weights("ggml-tiny.en-q8_0.bin") else {
        return;
    };
    let mut said: HashMap<&str, String> = HashMap::new();
    for mode in ["process", "hybrid", "thread"] {
        let more = format!("[isolation]\nmode = {mode:?}\n[jobs]\nmax_running = 1");
        let daemon = Daemon::start(&config(&file, &more));
        for clip in [TEN_OF_CLUBS, GOFORWARD] {
            let heard = daemon.transcribe("a.wav", &clip.wav()).text();
            assert_eq!(plain_words(&heard), plain_words(clip.text), "{mode}");
            said.entry(clip.text).or_insert(heard.clone());
            assert_eq!(heard, said[clip.text], "{mode}");
        }
    }
}

/// This keeps all CPUs busy: nothing runs at the same time.
mod alone {
    use super::*;

    #[test]
    fn eight_jobs_at_work_share_the_weights() {
        let Some(file) = weights(TINY) else { return };
        if !nix::unistd::geteuid().is_root() {
            println!("not looked at: only root may see how jobs share their memory");
            return;
        }
        let size = std::fs::metadata(&file).unwrap().len() as f64 / f64::from(1 << 20);
        let daemon = Daemon::start(&config(&file, "[jobs]\nmax_running = 8"));
        let request = Form::of("a.wav", &wav(&HARDER_CLIPS[1].samples().repeat(40))).request();
        let clients: Vec<Raw> = (0..8)
            .map(|_| {
                let mut client = daemon.connect();
                client.send(&request);
                client
            })
            .collect();
        // By then each has used all the memory that it needs.
        let jobs = wait_for("eight jobs are at work", 4 * LONG, || {
            let jobs = daemon.children().into_iter();
            let jobs: Vec<Seen> = jobs.filter(|job| job.is_job() && job.cpu > 2.0).collect();
            (jobs.len() == 8).then_some(jobs)
        });
        let all = daemon.children();
        let all: Vec<(f64, f64)> = all.iter().map(memory).collect();
        let own: f64 = all.iter().map(|(own, _)| own).sum();
        let shared = all.iter().map(|(_, share)| share).sum::<f64>() - own;
        println!("weights {size:.0} MiB; processes {all:.0?}; they share {shared:.0} MiB");
        // Everything that they share: the weights, the program, its libraries, and the caches of
        // the state that was made before the fork (15 MiB).
        assert!(shared <= 1.15 * size + 45.0, "{shared} MiB");
        assert!(
            shared >= 0.8 * size,
            "the weights are not shared: {shared} MiB"
        );
        for job in &jobs {
            let (own, _) = memory(job);
            assert!(own <= 0.9 * size + 60.0, "{own} MiB");
        }
        drop(clients);
    }
}

#[test]
fn each_side_of_a_call_is_heard_by_a_job_of_its_own() {
    let Some(file) = weights(TINY) else { return };
    let daemon = Daemon::start(&config(&file, ""));
    let form = Form::of("call.wav", &call()).field("response_format", "diarized_json");
    let answer = daemon.post(&form);
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    let segments = json["segments"].as_array().unwrap();
    for (speaker, clip) in [("A", GOFORWARD), ("B", SOMETHING)] {
        let own = segments.iter().filter(|one| one["speaker"] == speaker);
        let own: Vec<&str> = own.map(|one| one["text"].as_str().unwrap()).collect();
        println!("{speaker}: {own:?}");
        assert_eq!(
            plain_words(&own.join(" ")),
            plain_words(clip.text),
            "{json}"
        );
    }
    let pids = json["stt"]["channels"].as_array().unwrap().iter();
    let pids: Vec<u64> = pids.map(|one| one["pid"].as_u64().unwrap()).collect();
    assert!(pids.len() == 2 && pids[0] != pids[1], "{pids:?}");
}
