//! The engine `sherpa` with the real library, which `tests/engines/setup` puts below target/: with
//! real weights of Whisper (`tests/weights/setup`), and with models of other kinds that hear what
//! they are told to (`common/onnx.rs`).

use std::{
    fs::{self, OpenOptions},
    path::Path,
    process::Command,
    thread,
};

use crate::common::{
    LONG,
    clips::{CLIPS, GOFORWARD, HARDER_CLIPS, TEN_OF_CLUBS, wav},
    daemon::{BINARY, Daemon, Setup},
    http::{self, Answer, Form},
    onnx::{self, library, whisper},
    process::Seen,
    wait_until,
    wyoming::{self, Client},
};
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use procfs::process::Process;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The configuration of a model, with more of its settings and of its own table.
fn config(name: &str, model: &Path, more: &str, own: &str) -> String {
    let library = library();
    format!(
        "[models.{name}]\nengine = \"sherpa\"\n{more}\n[models.{name}.sherpa]\nmodel = {model:?}\nlibrary = {library:?}\n{own}\n"
    )
}

fn start(model: &Path, own: &str) -> Daemon {
    Daemon::start(&config("default", model, "", own))
}

fn goforward() -> Form {
    Form::of("a.wav", &GOFORWARD.wav())
}

fn verbose(daemon: &Daemon, form: Form) -> Value {
    let answer = daemon.post(&form.field("response_format", "verbose_json"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The same with the times of words.
fn with_words(daemon: &Daemon, form: Form) -> Value {
    let form = form.field("timestamp_granularities[]", "segment");
    verbose(daemon, form.field("timestamp_granularities[]", "word"))
}

fn translate(daemon: &Daemon, form: &Form) -> Answer {
    let request = Request::post("/v1/audio/translations")
        .header("host", "x")
        .header("content-type", http::content_type())
        .body(Full::new(Bytes::from(form.body())))
        .unwrap();
    http::exchange(daemon.socket(), request).unwrap()
}

/// The words of a text, in small letters; some figures as words.
fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| match word {
            "10" => "ten".into(),
            "7" => "seven".into(),
            "4" => "four".into(),
            "8" => "eight".into(),
            "5" => "five".into(),
            "mr" => "mister".into(),
            other => other.to_owned(),
        })
        .collect()
}

#[test]
fn real_weights_hear_real_speech_in_every_mode() {
    let modes = ["process", "hybrid", "thread"];
    let text: String = modes
        .iter()
        .map(|mode| {
            let more = format!("mode = {mode:?}\nspares = {{ min = 1, max = 1 }}");
            config(mode, &whisper("tiny.en"), &more, "")
        })
        .collect();
    let daemon = Daemon::start(&format!("default_model = \"process\"\n{text}"));
    let first = verbose(&daemon, goforward());
    assert_eq!(first["text"], "Go forward 10 meters.");
    assert_eq!(first["language"], "english");
    // This export of Whisper tells no times: the segment is the piece.
    let segment = &first["segments"][0];
    assert_eq!(segment["start"], 0.0);
    assert!(
        (segment["end"].as_f64().unwrap() - 2.79).abs() < 0.02,
        "{first}"
    );
    for mode in modes {
        for clip in [GOFORWARD, TEN_OF_CLUBS, GOFORWARD] {
            let form = Form::of("a.wav", &clip.wav());
            let text = daemon.post(&form.field("model", mode)).text();
            if clip.text == GOFORWARD.text {
                assert_eq!(text, "Go forward 10 meters.", "{mode}");
            }
        }
    }
}

#[test]
fn few_words_of_real_speech_are_wrong() {
    let daemon = start(&whisper("base"), "language = \"en\"");
    let (mut said, mut right) = (0, 0);
    // Digits are written as one number, and "five five" as two.
    let clips = CLIPS
        .into_iter()
        .filter(|clip| !clip.text.starts_with("two nine"));
    for clip in clips.chain(HARDER_CLIPS) {
        let heard = words(&daemon.post(&Form::of("a.wav", &clip.wav())).text());
        let expected = words(clip.text);
        let found = expected.iter().filter(|word| heard.contains(word)).count();
        println!("{found} of {}: {heard:?}", expected.len());
        said += expected.len();
        right += found;
    }
    assert!(right * 100 >= said * 93, "{right} of {said}");
}

#[test]
fn languages_are_found_out_told_and_translated() {
    let daemon = start(&whisper("base"), "");
    let answer = verbose(&daemon, goforward());
    assert_eq!(
        (&answer["language"], &answer["text"]),
        (&json!("english"), &json!("Go forward 10 meters."))
    );
    let answer = verbose(&daemon, goforward().field("language", "de-AT"));
    assert_eq!(answer["language"], "german");
    // A language that one request told does not stay for the next.
    assert_eq!(verbose(&daemon, goforward())["language"], "english");
    let refused = daemon.post(&goforward().field("language", "tlh"));
    refused.assert_refusal(400, "invalid_parameter", Some("language"));
    let answer = translate(
        &daemon,
        &goforward().field("response_format", "verbose_json"),
    );
    assert_eq!(
        (answer.status, &answer.json()["task"]),
        (200, &json!("translate"))
    );
    for (parameter, value) in [
        ("prompt", "Cards"),
        ("temperature", "0.5"),
        ("keywords[]", "forward"),
    ] {
        let answer = daemon.post(&goforward().field(parameter, value));
        assert_eq!(answer.status, 200, "{parameter}");
        assert!(answer.header("x-stt-warnings").ends_with("was left out"));
    }
    daemon
        .post(&goforward().field("include[]", "logprobs"))
        .assert_refusal(400, "invalid_parameter", Some("include"));
}

#[test]
fn an_english_model_takes_only_english() {
    let daemon = start(&whisper("tiny.en"), "");
    let answer = daemon.post(&goforward().field("language", "de"));
    answer.assert_refusal(400, "invalid_parameter", Some("language"));
    translate(&daemon, &goforward()).assert_refusal(400, "invalid_parameter", Some("model"));
    assert_eq!(
        daemon.post(&goforward().field("language", "en")).status,
        200
    );
}

/// Speech without a pause, longer than the library hears at once: nothing of it is lost.
#[test]
fn long_speech_is_heard_to_its_end() {
    let daemon = start(&whisper("tiny.en"), "");
    let samples = HARDER_CLIPS[1].samples();
    let last = CLIPS[5].samples();
    let recording = wav(&[samples.repeat(4), last].concat());
    let text = daemon
        .post(&Form::of("a.wav", &recording).field("vad", "false"))
        .text();
    assert_eq!(text.matches("Dashwood").count(), 4, "{text}");
    assert!(text.ends_with("do something."), "{text}");
}

#[test]
fn silence_is_no_text_and_the_shortest_recordings_are_heard() {
    let daemon = start(&whisper("tiny.en"), "");
    assert_eq!(daemon.transcribe("a.wav", &wav(&[0; 64_000])).text(), "");
    // The service takes nothing that is shorter than 0.1 s.
    for samples in [1600, 1601, 4000] {
        let form = Form::of("a.wav", &wav(&vec![1; 2 * samples])).field("vad", "false");
        assert_eq!(daemon.post(&form).status, 200, "{samples}");
    }
}

#[test]
fn wyoming_hears_what_http_does() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("wyoming.sock");
    let _daemon = Setup::new(&config("default", &whisper("base"), "", ""))
        .listen_as("wyoming", socket.to_str().unwrap())
        .start();
    let mut client = Client::connect(&socket);
    client.send(&wyoming::request(json!({}), &GOFORWARD.samples()));
    let transcript = json!({"text": "Go forward 10 meters.", "language": "en"});
    assert_eq!(client.transcript(), transcript);
}

#[test]
fn the_zygote_reports_to_nobody() {
    let daemon = start(&whisper("tiny.en"), "");
    let zygote = Process::new(daemon.zygote().pid).unwrap();
    let environment = zygote.environ().unwrap();
    let value = environment.get(std::ffi::OsStr::new("ORT_DISABLE_TELEMETRY"));
    assert_eq!(value.and_then(|value| value.to_str()), Some("1"));
    // Neither the library nor its runtime has started a thread or opened a socket of its own.
    assert_eq!(zygote.stat().unwrap().num_threads, 1);
}

/// A process's own memory, and its share of all that it uses, in MiB.
fn memory(seen: &Seen) -> (f64, f64) {
    let rollup = Process::new(seen.pid).unwrap().smaps_rollup().unwrap();
    let map = &rollup.memory_map_rollup.0[0].extension.map;
    let mib = |name: &str| map[name] as f64 / f64::from(1 << 20);
    (mib("Private_Dirty") + mib("Private_Clean"), mib("Pss"))
}

/// Whisper `base` in 8 bits takes this much memory, in MiB, once it is loaded.
const MODEL: f64 = 200.0;

#[test]
fn eight_jobs_share_one_model() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can read the memory maps of jobs");
        return;
    }
    let more = "spares = { min = 8, max = 8 }";
    let daemon = Daemon::start(&config("default", &whisper("base"), more, ""));
    let jobs = daemon.wait_spares(8);
    let all: Vec<(f64, f64)> = jobs.iter().map(memory).collect();
    let zygote = memory(&daemon.zygote());
    let sum = zygote.1 + all.iter().map(|(_, share)| share).sum::<f64>();
    let own = all.iter().map(|(own, _)| own).sum::<f64>();
    println!(
        "zygote {zygote:?}, jobs {all:?}: {sum:.0} MiB, of which {own:.0} MiB are the jobs' own"
    );
    assert!(sum - own < 1.5 * MODEL, "{sum} {own}");
}

/// "go" after 0.4 s, "forward" after 0.8 s, in frames of 40 ms.
const TOKENS: [&str; 6] = ["<blk>", "<unk>", "▁go", "▁for", "ward", "▁meters"];

#[test]
fn a_zipformer_tells_words_times_and_probabilities() {
    let folder = TempDir::new().unwrap();
    onnx::transducer(
        folder.path(),
        &TOKENS,
        &[(10, "▁go"), (20, "▁for"), (22, "ward")],
    );
    let daemon = start(folder.path(), "language = \"en\"\nblank_penalty = 0.5");
    let answer = with_words(&daemon, goforward());
    assert_eq!(answer["text"], "go forward");
    let expected = json!([
        {"word": "go", "start": 0.4, "end": 0.8},
        {"word": "forward", "start": 0.8, "end": 1.28},
    ]);
    assert_eq!(answer["words"], expected);
    let form = goforward()
        .field("include[]", "logprobs")
        .field("response_format", "json");
    let answer = daemon.post(&form).json();
    let logprob = answer["logprobs"][0]["logprob"].as_f64().unwrap();
    assert!((-0.1..0.0).contains(&logprob), "{answer}");
    let refused = daemon.post(&goforward().field("language", "de"));
    refused.assert_refusal(400, "invalid_parameter", Some("language"));
}

#[test]
fn a_transducer_expects_the_words_of_a_request() {
    let folder = TempDir::new().unwrap();
    let tokens = ["<blk>", "<unk>", "背", "景", "北", "京"];
    let script = [(10, "背"), (10, "北"), (20, "景"), (20, "京")];
    onnx::transducer(folder.path(), &tokens, &script);
    let daemon = start(folder.path(), "beam_size = 4\nmodeling_unit = \"cjkchar\"");
    assert_eq!(daemon.post(&goforward()).text(), "背景");
    let form = || goforward().field("keywords[]", "北京");
    assert_eq!(daemon.post(&form()).text(), "北京");
    // Words that would be orders to the library are words.
    let form = form()
        .field("keywords[]", ":x /#y\n@z :1e99")
        .field("keywords[]", "/");
    assert_eq!(daemon.post(&form).text(), "北京");
    assert_eq!(daemon.post(&goforward()).text(), "背景");
}

#[test]
fn a_parakeet_tells_how_long_words_last() {
    let folder = TempDir::new().unwrap();
    let tokens = ["<unk>", "▁Go", "▁forward", "."];
    onnx::parakeet(
        folder.path(),
        &tokens,
        &[(5, "▁Go"), (10, "▁forward"), (12, ".")],
    );
    let daemon = start(folder.path(), "");
    let answer = with_words(&daemon, goforward());
    assert_eq!(answer["text"], "Go forward.");
    let expected = json!([
        {"word": "Go", "start": 0.4, "end": 0.56},
        {"word": "forward.", "start": 0.8, "end": 1.12},
    ]);
    assert_eq!(answer["words"], expected);
}

#[test]
fn a_sense_voice_tells_the_language_and_writes_figures() {
    let folder = TempDir::new().unwrap();
    onnx::sense_voice(folder.path());
    let words = config("words", folder.path(), "", "itn = false");
    let chinese = config("chinese", folder.path(), "", "language = \"zh\"");
    let daemon = Daemon::start(&(config("default", folder.path(), "", "") + &words + &chinese));
    let answer = with_words(&daemon, goforward());
    assert_eq!(
        (&answer["text"], &answer["language"]),
        (&json!("10 meters"), &json!("english"))
    );
    assert_eq!(
        answer["words"][1],
        json!({"word": "meters", "start": 0.6, "end": 1.12})
    );
    assert_eq!(
        daemon.post(&goforward().field("model", "words")).text(),
        "ten meters"
    );
    let answer = verbose(&daemon, goforward().field("model", "chinese"));
    assert_eq!(answer["language"], "chinese");
    let refused = daemon.post(
        &goforward()
            .field("model", "chinese")
            .field("language", "en"),
    );
    refused.assert_refusal(400, "invalid_parameter", Some("language"));
}

#[test]
fn other_kinds_are_told_by_their_files() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let signs = ["<unk>", "<s>", "</s>", "▁go", "▁forward"];
    onnx::moonshine(&at("moonshine"), &signs, &["▁go", "▁forward"]);
    onnx::nemo_ctc(
        &at("ctc"),
        &["<unk>", "▁go", "▁forward"],
        &[(5, "▁go"), (10, "▁forward")],
    );
    onnx::punctuation(&at("punctuation"));
    let own = format!("punctuation = {:?}", at("punctuation"));
    let text = config("default", &at("ctc"), "", "")
        + &config("moonshine", &at("moonshine"), "", "")
        + &config("punctuated", &at("ctc"), "", &own);
    let daemon = Daemon::start(&text);
    assert_eq!(
        with_words(&daemon, goforward())["words"][1],
        json!({"word": "forward", "start": 0.8, "end": 1.2})
    );
    assert_eq!(
        daemon.post(&goforward().field("model", "moonshine")).text(),
        "go forward"
    );
    let refused = daemon.post(
        &goforward()
            .field("model", "moonshine")
            .field("response_format", "verbose_json")
            .field("timestamp_granularities[]", "word"),
    );
    refused.assert_refusal(400, "invalid_parameter", Some("timestamp_granularities"));
    // The model's signs are those of Chinese; after other letters they are written as there.
    assert_eq!(
        daemon
            .post(&goforward().field("model", "punctuated"))
            .text(),
        "go forward."
    );
}

#[test]
fn a_folder_in_the_models_directory_is_served() {
    let folder = TempDir::new().unwrap();
    onnx::transducer(&folder.path().join("zipformer"), &TOKENS, &[(10, "▁go")]);
    fs::create_dir(folder.path().join("half")).unwrap();
    fs::write(folder.path().join("half/encoder.onnx"), "").unwrap();
    let text = format!("models_directory = {:?}\n", folder.path());
    let daemon = Setup::new(&text)
        .env(
            "LD_LIBRARY_PATH",
            library().parent().unwrap().to_str().unwrap(),
        )
        .launch();
    let remark = "for sherpa it has only encoder.onnx; a model for sherpa has tokens.txt";
    wait_until("the models are known", LONG, || {
        daemon.get("/v1/models").json()["data"]
            .to_string()
            .contains("zipformer")
    });
    // The log arrives in another way than the answers.
    wait_until("the other folder is remarked on", LONG, || {
        daemon.log().contains(remark)
    });
}

/// A copy of the English model, in which `change` then does something.
fn spoilt(folder: &Path, change: impl Fn(&Path)) {
    fs::create_dir(folder).unwrap();
    for file in fs::read_dir(whisper("tiny.en")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    change(folder);
}

const ENCODER: &str = "tiny.en-encoder.int8.onnx";
const DECODER: &str = "tiny.en-decoder.int8.onnx";
const WORDS: &str = "tiny.en-tokens.txt";

/// A fault of a model, the files of its folder then, and the complaint about it.
type Mistake = (&'static str, fn(&Path), &'static str);

const MISTAKES: [Mistake; 10] = [
    (
        "no_tokens",
        |at| fs::remove_file(at.join(WORDS)).unwrap(),
        "it has no tokens.txt",
    ),
    (
        "no_decoder",
        |at| fs::remove_file(at.join(DECODER)).unwrap(),
        "it has only tiny.en-encoder.int8.onnx",
    ),
    (
        "pointer",
        |at| {
            fs::write(
                at.join(DECODER),
                "version https://git-lfs.github.com/spec/v1\n",
            )
            .unwrap()
        },
        "git lfs pull",
    ),
    (
        "page",
        |at| fs::write(at.join(ENCODER), "<!DOCTYPE html>").unwrap(),
        "it is a web page",
    ),
    (
        "cut",
        |at| {
            let file = OpenOptions::new()
                .write(true)
                .open(at.join(DECODER))
                .unwrap();
            file.set_len(50_000_000).unwrap();
        },
        "tiny.en-decoder.int8.onnx: it is cut off after 50000000 bytes",
    ),
    (
        "empty",
        |at| fs::write(at.join(ENCODER), "").unwrap(),
        "it is empty",
    ),
    (
        "other_tokens",
        |at| fs::write(at.join(WORDS), "{\"a\": 1}\n").unwrap(),
        "it has no tokens",
    ),
    (
        "few_tokens",
        |at| fs::write(at.join(WORDS), "IQ== 0\nIg== 1\n").unwrap(),
        "it has 2 tokens, and the model has 51864",
    ),
    (
        "nonsense",
        |at| fs::write(at.join(DECODER), b"\x08\x08\x3a\x03abc").unwrap(),
        "its last words: ",
    ),
    (
        "no_kind",
        |at| {
            for entry in fs::read_dir(at).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
            fs::write(at.join("tokens.txt"), "<blk> 0\n").unwrap();
            fs::write(at.join("model.onnx"), b"\x08\x08\x3a\x03abc").unwrap();
        },
        "its files do not tell its kind; models.<name>.sherpa.kind names it",
    ),
];

#[test]
fn each_mistake_is_one_clear_message() {
    let folder = TempDir::new().unwrap();
    let no_library = folder.path().join("libsherpa-onnx-c-api.so");
    fs::write(&no_library, "no library").unwrap();
    let mut text = String::from("[models.default]\nengine = \"pocketsphinx\"\n");
    let mut cases: Vec<(&str, &str)> = Vec::new();
    for (name, change, complaint) in MISTAKES {
        let model = folder.path().join(name);
        spoilt(&model, change);
        text += &config(name, &model, "", "");
        cases.push((name, complaint));
    }
    for (name, library, complaint) in [
        (
            "absent",
            "/no/where.so",
            "sherpa is not available: /no/where.so: cannot open",
        ),
        (
            "text",
            no_library.to_str().unwrap(),
            "file too short; models.<name>.sherpa.library is",
        ),
        (
            "other",
            "libm.so.6",
            "libm.so.6 is not sherpa-onnx, or not version 2.0.1: it has no Sherpa",
        ),
    ] {
        let model = whisper("tiny.en");
        text += &format!(
            "[models.{name}]\nengine = \"sherpa\"\nsherpa = {{ model = {model:?}, library = {library:?} }}\n"
        );
        cases.push((name, complaint));
    }
    let daemon = Setup::new(&text).launch();
    let health = || daemon.get("/readyz").json()["models"].clone();
    wait_until("all were tried", LONG, || {
        let health = health();
        cases
            .iter()
            .all(|(name, _)| health[name]["status"] == "failed")
            && health["default"]["status"] == "ready"
    });
    let health = health();
    for (name, complaint) in &cases {
        let reason = health[name]["reason"].as_str().unwrap();
        println!("{name}: {reason}");
        assert!(reason.contains(complaint), "{name}: {reason}");
        assert_eq!(reason.lines().count(), 1);
    }
    let clip = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    assert_eq!(daemon.post(&clip).text(), TEN_OF_CLUBS.text);
    let refused = daemon.post(&clip.field("model", "nonsense"));
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["error"]["code"], "engine_unavailable");
}

#[test]
fn mistakes_in_the_settings_are_named() {
    let folder = TempDir::new().unwrap();
    let own = "beam_size = 4\nlanguage = \"tlh\"\nthreads = 99\nblank_penalty = -1.0";
    let path = folder.path().join("c.toml");
    fs::write(&path, config("default", &whisper("base"), "", own)).unwrap();
    let output = Command::new(BINARY)
        .args(["check-config", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = [output.stderr, output.stdout]
        .map(|it| String::from_utf8(it).unwrap())
        .concat();
    for what in [
        "only transducers obey it, and the model is of the kind whisper",
        "99 threads are more than limits.pids, 32, allows",
        "the model does not know the language `tlh`",
        "must be between 0 and 100",
    ] {
        assert!(said.contains(what), "{what}: {said}");
    }
}

#[test]
fn with_more_threads_each_job_loads_the_model() {
    let daemon = start(&whisper("tiny.en"), "threads = 2");
    let texts = thread::scope(|scope| {
        let ask = || daemon.post(&goforward()).text();
        let all: Vec<_> = (0..2).map(|_| scope.spawn(ask)).collect();
        all.into_iter()
            .map(|it| it.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(texts, ["Go forward 10 meters."; 2]);
}
