//! The engine `vosk` with the real library, which `tests/engines/setup` puts below target/.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{LONG, clips::TEN_OF_CLUBS, daemon::Setup, http::Form, wait_until};
use tempfile::TempDir;

/// The library of Vosk's wheel.
fn library() -> PathBuf {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/engines/lib/vosk/libvosk.so");
    assert!(library.exists(), "run tests/engines/setup first");
    library
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
fn what_is_missing_or_wrong_is_one_clear_message_and_no_trouble_to_others() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let (empty, damaged, no_graph, config) =
        (at("empty"), at("damaged"), at("no_graph"), at("config"));
    for model in [&damaged, &no_graph, &config] {
        nonsense(model);
    }
    fs::write(damaged.join("conf/mfcc.conf"), "--sample-frequency=16000\n").unwrap();
    fs::write(damaged.join("conf/model.conf"), "--min-active=200\n").unwrap();
    fs::remove_file(no_graph.join("graph/HCLG.fst")).unwrap();
    let no_library = folder.path().join("libvosk.so");
    fs::write(&no_library, "no library").unwrap();
    let real = library();
    let real = real.to_str().unwrap();
    let cases: [(&str, &Path, &str, &str); 7] = [
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
            "config",
            &config,
            real,
            "its last words: ERROR (VoskAPI:ReadConfigFile",
        ),
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
