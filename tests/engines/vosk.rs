//! The engine `vosk` with the real library, which `tests/engines/setup` puts below target/, and
//! models that hear what they are told to (`common/kaldi.rs`).

use std::{fs, path::Path};

use crate::common::{
    LONG,
    clips::{GOFORWARD, TEN_OF_CLUBS},
    daemon::{Daemon, Setup},
    http::Form,
    kaldi, wait_until,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Two words, which end after 0.9 s; half a second later they are heard again.
const SCRIPT: &kaldi::Script = &[("go", 10), ("forward", 20)];

fn model() -> TempDir {
    let folder = TempDir::new().unwrap();
    kaldi::write(folder.path(), SCRIPT);
    folder
}

/// The configuration of a model, with more of its settings.
fn config(name: &str, model: &Path, more: &str) -> String {
    let library = kaldi::library();
    format!(
        "[models.{name}]\nengine = \"vosk\"\n{more}\n[models.{name}.vosk]\nmodel = {model:?}\nlibrary = {library:?}\n"
    )
}

fn verbose(daemon: &Daemon, model: &str) -> Value {
    let form = Form::of("a.wav", &GOFORWARD.wav())
        .field("model", model)
        .field("response_format", "verbose_json")
        .field("timestamp_granularities[]", "segment")
        .field("timestamp_granularities[]", "word");
    let answer = daemon.post(&form);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn every_mode_gives_text_and_times() {
    let model = model();
    let modes = ["process", "hybrid", "thread"];
    let text: String = modes
        .iter()
        .map(|mode| {
            config(
                mode,
                model.path(),
                &format!("mode = {mode:?}\nspares = {{ min = 1, max = 1 }}"),
            )
        })
        .collect();
    let daemon = Daemon::start(&format!("default_model = \"process\"\n{text}"));
    let first = verbose(&daemon, "process");
    let segments = first["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 2, "{first}");
    for segment in segments {
        assert_eq!(segment["text"], "go forward");
        let times = ["start", "end"].map(|key| segment[key].as_f64().unwrap());
        assert!((times[1] - times[0] - 0.9).abs() < 1e-6, "{segment}");
    }
    assert_eq!(
        (&segments[0]["start"], &segments[0]["end"]),
        (&json!(0.0), &json!(0.9))
    );
    let words = first["words"].as_array().unwrap();
    assert_eq!(words.len(), 4);
    for (word, text, start, end) in [
        (&words[0], "go", 0.0, 0.3),
        (&words[1], "forward", 0.3, 0.9),
    ] {
        assert_eq!(word, &json!({"word": text, "start": start, "end": end}));
    }
    // Nothing of one recording remains in the next one, even in the same process.
    for mode in modes {
        for _ in 0..3 {
            let again = verbose(&daemon, mode);
            assert_eq!(
                (&again["segments"], &again["words"]),
                (&first["segments"], &first["words"]),
                "{mode}"
            );
        }
    }
    let form = Form::of("a.wav", &GOFORWARD.wav());
    let answer = daemon.post(&form.field("response_format", "srt"));
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(
        body.starts_with("1\n00:00:00,000 --> 00:00:00,900\ngo forward\n"),
        "{body}"
    );
}

#[test]
fn the_settings_name_the_language() {
    let model = model();
    let german = config("german", model.path(), "") + "language = \"de\"\n";
    let text = config("default", model.path(), "") + &german;
    let daemon = Daemon::start(&text);
    let ask = |model: &str, language: &str| {
        let form = Form::of("a.wav", &TEN_OF_CLUBS.wav());
        daemon.post(&form.field("model", model).field("language", language))
    };
    assert_eq!(ask("german", "de-AT").status, 200);
    let refused = ask("german", "en");
    refused.assert_refusal(400, "invalid_parameter", Some("language"));
    for language in ["en", "de", "xx"] {
        assert_eq!(ask("default", language).status, 200);
    }
    assert_eq!(verbose(&daemon, "german")["language"], "german");
}

/// A model of the right layout, and nonsense in each file.
fn nonsense(folder: &Path) {
    for file in [
        "am/final.mdl",
        "conf/mfcc.conf",
        "conf/model.conf",
        "graph/HCLG.fst",
        "graph/words.txt",
    ] {
        let file = folder.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "nonsense").unwrap();
    }
}

#[test]
fn each_mistake_is_one_clear_message() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let (empty, damaged, no_graph, options) =
        (at("empty"), at("damaged"), at("no_graph"), at("options"));
    let (cut_model, cut_graph) = (at("cut_model"), at("cut_graph"));
    for (model, file) in [(&cut_model, "am/final.mdl"), (&cut_graph, "graph/HCLG.fst")] {
        kaldi::write(model, SCRIPT);
        let whole = fs::read(model.join(file)).unwrap();
        fs::write(model.join(file), &whole[..whole.len() / 2]).unwrap();
    }
    for model in [&damaged, &no_graph, &options] {
        nonsense(model);
    }
    fs::write(damaged.join("conf/mfcc.conf"), "--sample-frequency=16000\n").unwrap();
    fs::write(damaged.join("conf/model.conf"), "--min-active=200\n").unwrap();
    fs::remove_file(no_graph.join("graph/HCLG.fst")).unwrap();
    let no_library = folder.path().join("libvosk.so");
    fs::write(&no_library, "no library").unwrap();
    let real = kaldi::library();
    let real = real.to_str().unwrap();
    let cases: [(&str, &Path, &str, &str); 9] = [
        (
            "absent",
            &damaged,
            "/no/where/libvosk.so",
            "vosk is not available: /no/where/libvosk.so: cannot open",
        ),
        (
            "text",
            &damaged,
            no_library.to_str().unwrap(),
            "file too short; models.<name>.vosk.library is",
        ),
        (
            "other",
            &damaged,
            "libm.so.6",
            "libm.so.6 is not Vosk, or of an unsupported version: it has no vosk_set_log_level",
        ),
        (
            "empty",
            &empty,
            real,
            "empty/am/final.mdl: No such file or directory (os error 2); models.<name>.vosk.model is",
        ),
        (
            "no_graph",
            &no_graph,
            real,
            "no_graph/graph/HCLG.fst: No such file",
        ),
        (
            "damaged",
            &damaged,
            real,
            "a file is damaged, or made for another version; its last words: ERROR (VoskAPI:ExpectToken",
        ),
        (
            "options",
            &options,
            real,
            "its last words: ERROR (VoskAPI:ReadConfigFile",
        ),
        ("cut_model", &cut_model, real, "its last words: "),
        ("cut_graph", &cut_graph, real, "its last words: "),
    ];
    let mut text = String::from("[models.default]\nengine = \"pocketsphinx\"\n");
    for (name, model, library, _) in cases {
        text += &format!(
            "[models.{name}]\nengine = \"vosk\"\nvosk = {{ model = {model:?}, library = {library:?}, language = \"en\" }}\n"
        );
    }
    let daemon = Setup::new(&text).launch();
    let health = || daemon.get("/readyz").json()["models"].clone();
    wait_until("all were tried", LONG, || {
        let health = health();
        cases
            .iter()
            .all(|(name, ..)| health[name]["status"] == "failed")
            && health["default"]["status"] == "ready"
    });
    let health = health();
    for (name, _, _, complaint) in cases {
        let reason = health[name]["reason"].as_str().unwrap();
        println!("{name}: {reason}");
        assert!(reason.contains(complaint), "{name}: {reason}");
        assert_eq!(reason.lines().count(), 1);
    }
    let clip = Form::of("a.wav", &TEN_OF_CLUBS.wav());
    assert_eq!(daemon.post(&clip).text(), TEN_OF_CLUBS.text);
    let refused = daemon.post(&clip.field("model", "damaged"));
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["error"]["code"], "engine_unavailable");
}
