//! The engine `whisper` from upload to answer, with models that hear what they are told to
//! (`common/ggml.rs`).

use std::{
    cell::Cell,
    fs::{self, File, OpenOptions},
    io::Write,
    ops::ControlFlow,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::common::{
    LONG,
    clips::{GOFORWARD, wav},
    daemon::{Daemon, Setup},
    ggml::{self, Ggml, SMALL, Say, Shape, TOY, TRANSLATED_LATER, segment},
    http::{self, Answer, Form, Raw},
    process::{Seen, memory},
    wait_for, wait_until,
    wyoming::{self, Client},
};
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use serde_json::{Value, json};
use stt_isolated::{
    engine::{
        AudioSource, Engine as _, EngineError, HearsSamples as _, Said,
        whisper::{self, WhisperSettings},
    },
    request::Ask,
    transcript::Segment,
};
use tempfile::TempDir;

/// Two segments, which end with `GOFORWARD`.
fn two_segments() -> Vec<ggml::Say> {
    [
        segment(0.0, "go forward", 1.2),
        segment(1.4, "ten meters", 2.6),
    ]
    .concat()
}

/// A model's file, and its folder, which lives as long.
struct Model {
    folder: TempDir,
}

impl Model {
    fn new(model: &Ggml) -> Model {
        let folder = TempDir::new().unwrap();
        let made = Model { folder };
        model.write(&made.file());
        made
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ggml-test.bin")
    }

    /// The configuration of this model, with more lines in its own table.
    fn config(&self, more: &str) -> String {
        config("default", &self.file(), more)
    }

    fn start(&self) -> Daemon {
        Daemon::start(&self.config(""))
    }
}

fn config(name: &str, file: &Path, more: &str) -> String {
    format!(
        "[models.{name}]\nengine = \"whisper\"\n[models.{name}.whisper]\nfile = {file:?}\n{more}\n"
    )
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

fn goforward() -> Form {
    Form::of("a.wav", &GOFORWARD.wav())
}

#[test]
fn text_times_and_figures_are_the_models() {
    let model = Model::new(&Ggml::english(two_segments()));
    let daemon = Daemon::start(&model.config("threads = 2"));
    assert_eq!(daemon.post(&goforward()).text(), "go forward ten meters");
    let answer = verbose(&daemon, goforward());
    assert_eq!(answer["language"], "english");
    let segments = answer["segments"].as_array().unwrap();
    let texts: Vec<&Value> = segments.iter().map(|segment| &segment["text"]).collect();
    assert_eq!(texts, ["go forward", "ten meters"]);
    // The library lets a segment begin where the one before it ends.
    for (segment, start, end) in [(&segments[0], 0.0, 1.2), (&segments[1], 1.2, 2.6)] {
        assert_eq!(
            (&segment["start"], &segment["end"]),
            (&json!(start), &json!(end))
        );
        assert_eq!(
            (&segment["seek"], &segment["temperature"]),
            (&json!(0), &json!(0.0))
        );
        assert!(segment["avg_logprob"].as_f64() > Some(-0.1), "{segment}");
        assert!(segment["no_speech_prob"].as_f64() < Some(0.1), "{segment}");
        // As Python's zlib has it.
        assert_eq!(segment["compression_ratio"], 0.555_556);
    }
    assert_eq!(segments[0]["tokens"], json!([50_363, 1000, 1001, 50_423]));
    assert_eq!(segments[1]["tokens"], json!([1002, 1003, 50_493]));
    let words = answer["words"].as_array().unwrap();
    let texts: Vec<&str> = words.iter().map(|w| w["word"].as_str().unwrap()).collect();
    assert_eq!(texts, ["go", "forward", "ten", "meters"]);
    let times = words.iter().flat_map(|word| [&word["start"], &word["end"]]);
    let times: Vec<f64> = times.map(|time| time.as_f64().unwrap()).collect();
    assert!(times.is_sorted() && times[7] <= 2.6, "{times:?}");
    assert!(times[3] <= 1.2 && times[4] >= 1.2, "{times:?}");
}

#[test]
fn subtitles_and_events_work() {
    let daemon = Model::new(&Ggml::english(two_segments())).start();
    let answer = daemon.post(&goforward().field("response_format", "srt"));
    // A cue lasts as long as its words.
    let expected = "1\n00:00:00,000 --> 00:00:01,120\ngo forward\n\n2\n00:00:01,290 --> 00:00:02,600\nten meters\n";
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    assert_eq!(body.trim_end(), expected.trim_end());
    let answer = daemon.post(
        &goforward()
            .field("stream", "true")
            .field("include[]", "logprobs"),
    );
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    let events = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = events
        .map(|event| serde_json::from_str(event).unwrap())
        .collect();
    let deltas: Vec<&Value> = events
        .iter()
        .filter_map(|event| event.get("delta"))
        .collect();
    assert_eq!(deltas, ["go forward", " ten meters"]);
    assert_eq!(events[0]["logprobs"][1]["token"], " forward");
    assert_eq!(events.last().unwrap()["text"], "go forward ten meters");
}

#[test]
fn wyoming_hears_what_http_does() {
    let model = Model::new(&Ggml::multilingual(2, two_segments()));
    let socket = model.folder.path().join("wyoming.sock");
    let _daemon = Setup::new(&model.config(""))
        .listen_as("wyoming", socket.to_str().unwrap())
        .start();
    let mut client = Client::connect(&socket);
    client.send(&wyoming::request(json!({}), &GOFORWARD.samples()));
    let transcript = json!({"text": "go forward ten meters", "language": "de"});
    assert_eq!(client.transcript(), transcript);
    client.send(&wyoming::request(
        json!({"language": "fr"}),
        &GOFORWARD.samples(),
    ));
    assert_eq!(client.transcript()["language"], "fr");
}

#[test]
fn the_language_is_found_out_or_told() {
    // The language with this number is German.
    let daemon = Model::new(&Ggml::multilingual(2, two_segments())).start();
    let answer = verbose(&daemon, goforward());
    assert_eq!(
        (&answer["language"], &answer["task"]),
        (&json!("german"), &json!("transcribe"))
    );
    assert_eq!(answer["text"], "go forward ten meters");
    assert_eq!(answer["segments"][0]["start"], 0.0);
    let answer = verbose(&daemon, goforward().field("language", "fr-CA"));
    assert_eq!(answer["language"], "french");
    // Models of this size do not know Cantonese, which came with `large-v3`.
    for language in ["yue", "tlh"] {
        let answer = daemon.post(&goforward().field("language", language));
        answer.assert_refusal(400, "invalid_parameter", Some("language"));
    }
}

#[test]
fn a_choice_of_languages_restricts_what_is_found() {
    let daemon = Model::new(&Ggml::multilingual(2, two_segments())).start();
    let one_of = |codes: [&str; 2]| {
        let fields = codes
            .iter()
            .fold(goforward(), |form, code| form.field("languages[]", *code));
        verbose(&daemon, fields)
    };
    let answer = one_of(["fr", "de"]);
    assert_eq!(
        (&answer["language"], &answer["languages"]),
        (&json!("german"), &json!(["de"]))
    );
    let answer = one_of(["fr", "es"]);
    let heard = answer["languages"][0].as_str().unwrap();
    assert!(["fr", "es"].contains(&heard), "{answer}");
    assert_eq!(answer["text"], "go forward ten meters");
    let unknown = goforward()
        .field("languages[]", "de")
        .field("languages[]", "yue");
    let answer = daemon.post(&unknown);
    assert_eq!(answer.text(), "go forward ten meters");
    let left_out = "does not know the language `yue`: it was left out";
    assert!(answer.header("x-stt-warnings").ends_with(left_out));
    let none = goforward().field("languages[]", "yue,tlh");
    daemon
        .post(&none)
        .assert_refusal(400, "invalid_parameter", Some("languages"));
    let english = Model::new(&Ggml::english(two_segments())).start();
    let several = goforward()
        .field("languages[]", "en")
        .field("languages[]", "de");
    let answer = english.post(&several);
    assert_eq!(answer.text(), "go forward ten meters");
    assert!(
        answer
            .header("x-stt-warnings")
            .contains("`de`: it was left out")
    );
}

#[test]
fn the_language_is_found_where_the_model_gives_no_times() {
    // The library takes it for one of the first distilled models, and asks it for text alone.
    let model = Model::new(&Ggml {
        shape: Shape { layers: 2, ..TOY },
        ..Ggml::multilingual(2, segment(0.0, "go forward", 1.2))
    });
    let answer = verbose(&model.start(), goforward());
    assert_eq!(answer["languages"], json!(["de"]));
    let text = answer["text"].as_str().unwrap();
    assert!(text.starts_with("go forward"), "{text}");
}

#[test]
fn each_piece_may_have_a_language_of_its_own() {
    let model = Model::new(&Ggml::multilingual(2, two_segments()));
    let daemon = Daemon::start(&model.config("language = \"each\""));
    assert_eq!(verbose(&daemon, goforward())["languages"], json!(["de"]));
    let told = verbose(&daemon, goforward().field("language", "fr"));
    assert_eq!(told["language"], "french");
}

#[test]
fn the_settings_name_the_default_language() {
    let model = Model::new(&Ggml::multilingual(2, two_segments()));
    let daemon = Daemon::start(&model.config("language = \"es\"\nbeam_size = 3"));
    let answer = verbose(&daemon, goforward());
    assert_eq!(answer["language"], "spanish");
    assert_eq!(answer["text"], "go forward ten meters");
}

#[test]
fn a_multilingual_model_translates() {
    let daemon = Model::new(&Ggml::multilingual(2, two_segments())).start();
    let answer = translate(&daemon);
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    assert_eq!(
        (&answer["language"], &answer["task"]),
        (&json!("english"), &json!("translate"))
    );
    assert_eq!(answer["segments"][0]["start"], TRANSLATED_LATER);
}

fn translate(daemon: &Daemon) -> Answer {
    let form = goforward().field("response_format", "verbose_json");
    let request = Request::post("/v1/audio/translations")
        .header("host", "x")
        .header("content-type", http::content_type())
        .body(Full::new(Bytes::from(form.body())))
        .unwrap();
    http::exchange(daemon.socket(), request).unwrap()
}

#[test]
fn an_english_model_takes_only_english() {
    let daemon = Model::new(&Ggml::english(two_segments())).start();
    let answer = daemon.post(&goforward().field("language", "de"));
    answer.assert_refusal(400, "invalid_parameter", Some("language"));
    translate(&daemon).assert_refusal(400, "invalid_parameter", Some("model"));
    assert_eq!(
        verbose(&daemon, goforward().field("language", "en"))["language"],
        "english"
    );
}

#[test]
fn a_prompt_leads_up_to_the_recording() {
    let daemon = Model::new(&Ggml::english(two_segments())).start();
    // The library puts its mark and the word before everything else: the model is two positions
    // further at the start.
    let form = goforward().field("prompt", " go");
    assert_eq!(daemon.post(&form).text(), "forward ten meters");
    // So do keywords.
    let form = goforward().field("keywords[]", "go");
    assert_eq!(daemon.post(&form).text(), "forward ten meters");
    // Far more than a model can take.
    let form = goforward().field("prompt", "go  ".repeat(2000));
    assert_eq!(daemon.post(&form).status, 200);
}

#[test]
fn the_temperature_rises_if_not_given() {
    let sure = Model::new(&Ggml::english(two_segments()));
    let unsure = Model::new(&Ggml {
        certainty: 9.0,
        ..Ggml::english(two_segments())
    });
    let more = config("unsure", &unsure.file(), "");
    let daemon = Daemon::start(&(sure.config("") + &more));
    let temperature = |form: Form| {
        let answer = verbose(&daemon, form);
        assert_eq!(answer["text"], "go forward ten meters");
        answer["segments"][0]["temperature"].as_f64().unwrap()
    };
    assert_eq!(temperature(goforward()), 0.0);
    assert_eq!(temperature(goforward().field("temperature", "0.5")), 0.5);
    assert_eq!(temperature(goforward().field("model", "unsure")), 0.2);
}

#[test]
fn nothing_is_heard_in_silence() {
    let daemon = Model::new(&Ggml::english(segment(0.0, "thank you", 4.8))).start();
    let silence = wav(&vec![0; 5 * 32_000]);
    assert_eq!(daemon.transcribe("a.wav", &silence).text(), "");
    // So says the model itself, as real ones do.
    let form = Form::of("a.wav", &silence).field("vad", "false");
    assert_eq!(daemon.post(&form).text(), "thank you");
}

#[test]
fn a_reused_process_answers_alike() {
    let model = Model::new(&Ggml::multilingual(2, two_segments()));
    for mode in ["hybrid", "thread"] {
        let daemon = Setup::new(&model.config(""))
            .env("STT_ISOLATED_ISOLATION__MODE", mode)
            .start();
        let form = || goforward().field("temperature", "0.4");
        let mut first = verbose(&daemon, form());
        let pid = first["stt"]["pid"].clone();
        assert_eq!(
            verbose(&daemon, goforward().field("language", "fr"))["language"],
            "french"
        );
        let mut last = verbose(&daemon, form());
        assert_eq!(last["stt"]["pid"], pid, "{mode}");
        for answer in [&mut first, &mut last] {
            answer.as_object_mut().unwrap().remove("stt");
        }
        assert_eq!(last, first, "{mode}");
    }
}

/// One block of silence, of which somebody wants to know a few times.
struct Silence {
    samples: Vec<f32>,
    is_given: bool,
    asked: Cell<usize>,
    wanted: usize,
}

impl Silence {
    fn of(wanted: usize) -> Silence {
        Silence {
            samples: vec![0.0; 30 * 16_000],
            is_given: false,
            asked: Cell::new(0),
            wanted,
        }
    }
}

impl AudioSource for Silence {
    fn next_block(&mut self) -> Result<Option<&[f32]>, EngineError> {
        let block = (!self.is_given).then_some(self.samples.as_slice());
        self.is_given = true;
        Ok(block)
    }

    fn is_wanted(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.asked.get() <= self.wanted
    }
}

/// The only kind of result that Whisper gives.
fn segment_of(said: Said) -> Segment {
    match said {
        Said::Segment(segment) => segment,
        Said::Hypothesis(guess) => panic!("{guess:?}"),
    }
}

#[test]
fn the_engine_stops_on_request() {
    // Its first text ends after three seconds, so it goes on from there, with that text in mind.
    let script = [segment(0.0, "and again", 3.0), vec![Say::Time(3.0)]].concat();
    let model = Model::new(&Ggml::english(script));
    let settings = WhisperSettings::of(model.file());
    let mut engine = whisper::load(&settings).unwrap();
    let mut segments = |silence: &mut Silence, wanted: usize| {
        let mut starts = Vec::new();
        engine.begin();
        let result = engine.transcribe(silence, &Ask::default(), &mut |said| {
            let segment = segment_of(said);
            starts.push(segment.start.as_secs());
            match starts.len() < wanted {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        result.unwrap();
        starts
    };
    let all = usize::MAX;
    assert_eq!(segments(&mut Silence::of(all), all), [0, 3]);
    assert_eq!(segments(&mut Silence::of(all), 1), [0]);
    // In the middle of the first text.
    let mut silence = Silence::of(2);
    assert_eq!(segments(&mut silence, all), [0; 0]);
    assert_eq!(silence.asked.get(), 3);
    assert_eq!(segments(&mut Silence::of(all), all), [0, 3]);
}

#[test]
fn later_windows_are_in_the_language_that_was_found() {
    let script = [segment(0.0, "and again", 3.0), vec![Say::Time(3.0)]].concat();
    // The language with this number is German, and not the library's first one.
    let model = Model::new(&Ggml::multilingual(2, script));
    let mut engine = whisper::load(&WhisperSettings::of(model.file())).unwrap();
    let mut heard = Vec::new();
    engine.begin();
    let mut silence = Silence::of(usize::MAX);
    let result = engine.transcribe(&mut silence, &Ask::default(), &mut |said| {
        let segment = segment_of(said);
        heard.push((segment.start.as_secs(), segment.text));
        ControlFlow::Continue(())
    });
    result.unwrap();
    assert_eq!(
        heard[..2],
        [(0, "and again".into()), (3, "and again".into())]
    );
    assert_eq!(engine.languages(), ["de"]);
}

/// Ways to spoil a model file, and what is said of it.
fn spoilt(folder: &Path) -> Vec<(&'static str, PathBuf, &'static str)> {
    let whole = folder.join("whole.bin");
    Ggml::english(two_segments()).write(&whole);
    let length = fs::metadata(&whole).unwrap().len();
    let copy = |name: &str| {
        let path = folder.join(format!("{name}.bin"));
        fs::copy(&whole, &path).unwrap();
        (OpenOptions::new().write(true).open(&path).unwrap(), path)
    };
    // A tensor's first words: dimensions, length of the name, kind of the numbers, sizes.
    let another_tensor = |name: &str, head: &[i32]| {
        let path = folder.join(format!("{name}.bin"));
        fs::copy(&whole, &path).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        for number in head {
            file.write_all(&number.to_le_bytes()).unwrap();
        }
        file.write_all(b"decoder.ln.bias").unwrap();
        path
    };
    let (file, truncated) = copy("truncated");
    // In the middle of the last weights, which the library itself would take for zeros.
    file.set_len(length - 100).unwrap();
    let (file, half) = copy("half");
    file.set_len(length / 2).unwrap();
    let (file, vocabulary) = copy("vocabulary");
    file.set_len(100_000).unwrap();
    let (file, other) = copy("other");
    file.write_all_at(b"RIFF", 0).unwrap();
    let (file, tokens) = copy("tokens");
    file.write_all_at(&60_000_i32.to_le_bytes(), 4).unwrap();
    let (file, aborts) = copy("aborts");
    // A kind of weights that the library has a name for and no code: it aborts.
    file.write_all_at(&6_i32.to_le_bytes(), 44).unwrap();
    let (file, floats) = copy("floats");
    // Weights of 32 bits, at which the library would abort the first transcription.
    file.write_all_at(&0_i32.to_le_bytes(), 44).unwrap();
    let empty = folder.join("empty.bin");
    File::create(&empty).unwrap();
    let dimensions = another_tensor("dimensions", &[5, 15, 0, 1, 1, 1, 1, 1]);
    let zero = another_tensor("zero", &[1, 15, 0, 0]);
    let kind = another_tensor("kind", &[1, 15, 99, 1]);
    vec![
        (
            "truncated",
            truncated,
            "it ends in the middle of its weights",
        ),
        ("half", half, "it ends in the middle of its weights"),
        ("vocabulary", vocabulary, "it ends in its vocabulary"),
        ("other", other, "it is no model of whisper.cpp"),
        ("tokens", tokens, "no model of Whisper has 60000 tokens"),
        ("floats", floats, "all its weights have 32 bits"),
        ("empty", empty, "it is empty"),
        (
            "dimensions",
            dimensions,
            "its weights are impossible (5 dimensions)",
        ),
        (
            "zero",
            zero,
            "its weights are impossible (a dimension of 0)",
        ),
        (
            "kind",
            kind,
            "its weights are impossible (numbers of kind 99)",
        ),
        ("aborts", aborts, "SIGABRT"),
    ]
}

#[test]
fn a_damaged_file_is_one_clear_message() {
    let folder = TempDir::new().unwrap();
    let spoilt = spoilt(folder.path());
    let model = Model::new(&Ggml::english(two_segments()));
    let more: String = spoilt
        .iter()
        .map(|(name, file, _)| config(name, file, ""))
        .collect();
    let daemon = Setup::new(&(model.config("") + &more)).launch();
    let ready = || daemon.post(&goforward()).status == 200;
    wait_until("the sound model is ready", LONG, ready);
    for (name, file, complaint) in &spoilt {
        wait_until("the model was tried", LONG, || {
            daemon
                .log()
                .lines()
                .any(|line| line.contains(&format!("model {name}:")) && line.contains(complaint))
        });
        let log = daemon.log();
        let about =
            |line: &&str| line.contains(&format!("model {name}:")) && !line.contains(" INFO ");
        let lines: Vec<&str> = log.lines().filter(about).collect();
        println!("{}", lines[0]);
        if *complaint != "SIGABRT" {
            let begin = format!("the model {} cannot be used: {complaint}", file.display());
            assert!(lines.iter().all(|line| line.contains(&begin)), "{lines:#?}");
        }
        let answer = daemon.post(&goforward().field("model", name));
        answer.assert_come_back(503, "engine_unavailable");
        let message = answer.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(complaint), "{message}");
        let reason = &daemon.get("/readyz").json()["models"][name]["reason"];
        assert!(reason.as_str().unwrap().contains(complaint), "{reason}");
    }
    assert_eq!(daemon.post(&goforward()).text(), "go forward ten meters");
}

#[test]
fn mistakes_in_the_settings_are_named() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("ggml-none.bin");
    let more = "beam_size = 9\nlanguage = \"tlh\"\nthreads = 99";
    let text = config("default", &missing, more);
    let path = folder.path().join("c.toml");
    fs::write(&path, text).unwrap();
    let output = std::process::Command::new(crate::common::daemon::BINARY)
        .args(["check-config", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said =
        String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
    for what in [
        "there is no file",
        "99 threads are more than limits.pids, 32, allows",
        "the model does not know the language `tlh`",
        "must be between 1 and 8",
    ] {
        assert!(said.contains(what), "{what}: {said}");
    }
}

#[test]
fn the_kernels_for_this_cpu_are_used() {
    let program = Path::new(crate::common::daemon::BINARY).parent().unwrap();
    let folder = program.join("../lib/stt-isolated");
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let kernels = names.into_iter().find(|name| name.ends_with("-avx512.so"));
    let Some(kernels) = kernels.filter(|_| has_avx512()) else {
        println!("not looked at: this machine has no AVX-512, or packaging/kernels did not run");
        return;
    };
    if !nix::unistd::geteuid().is_root() {
        println!("not looked at: only root may see which files a zygote has mapped");
        return;
    }
    let daemon = Model::new(&Ggml::english(two_segments())).start();
    assert_eq!(daemon.post(&goforward()).text(), "go forward ten meters");
    let children = daemon.children();
    let zygote = children.iter().find(|child| !child.is_job()).unwrap();
    let maps = fs::read_to_string(format!("/proc/{}/maps", zygote.pid)).unwrap();
    assert!(maps.contains(&kernels), "{maps}");
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512vbmi") && is_x86_feature_detected!("avx512vnni")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

/// This keeps all CPUs busy: nothing runs at the same time.
mod alone {
    use super::*;

    #[test]
    fn eight_jobs_at_work_share_one_model() {
        if !nix::unistd::geteuid().is_root() {
            println!("not looked at: only root may see how jobs share their memory");
            return;
        }
        let model = Model::new(&Ggml {
            shape: SMALL,
            ..Ggml::english(two_segments())
        });
        let size = fs::metadata(model.file()).unwrap().len() as f64 / f64::from(1 << 20);
        let daemon =
            Setup::new(&(model.config("") + "[jobs]\nmax_running = 8\n[zygote]\nload_timeout = \"10min\"\n[limits]\ndeadline = \"10min\"")).launch();
        wait_until("the daemon is ready", 4 * LONG, || daemon.is_ready());
        // As long as the model's window, so that the window is not cut.
        let silence = wav(&vec![0; 29 * 32_000]);
        let request = Form::of("a.wav", &silence).field("vad", "false").request();
        let clients: Vec<Raw> = (0..8)
            .map(|_| {
                let mut client = daemon.connect();
                client.send(&request);
                client
            })
            .collect();
        // By then each has used all the memory that it needs.
        let jobs = wait_for("eight jobs are at work", 4 * LONG, || {
            let jobs = daemon
                .children()
                .into_iter()
                .filter(|job| job.is_job() && job.cpu > 2.0);
            let jobs: Vec<Seen> = jobs.collect();
            (jobs.len() == 8).then_some(jobs)
        });
        let of_jobs: Vec<(f64, f64)> = jobs.iter().map(memory).collect();
        let others = daemon
            .children()
            .into_iter()
            .filter(|child| !jobs.iter().any(|job| job.pid == child.pid));
        let of_others: f64 = others.map(|child| memory(&child).1).sum();
        let scratch: f64 = of_jobs.iter().map(|(own, _)| own).sum();
        let all: f64 = of_jobs.iter().map(|(_, share)| share).sum::<f64>() + of_others;
        println!(
            "model {size:.0} MiB; scratch {of_jobs:.0?}; all together {all:.0} MiB of which scratch {scratch:.0}"
        );
        assert!(
            of_jobs.iter().all(|(own, _)| *own < 0.8 * size),
            "{of_jobs:?}"
        );
        // The caches of the state that was made before the fork lie in the zygote once: 12 layers
        // of 512 and of 1536 places, and one of 1536, with 768 keys and values of 16 bits each.
        let caches = f64::from((12 * (512 + 1536) + 1536) * 768 * 4) / f64::from(1 << 20);
        assert!(all <= 1.15 * size + caches + scratch, "{all} MiB");
        drop(clients);
    }
}
