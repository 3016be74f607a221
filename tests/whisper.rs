//! The engine `whisper` from upload to answer, with models that hear what they are told to (`common/ggml.rs`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/ggml.rs"]
mod ggml;

use std::path::Path;

use common::{clips::GOFORWARD, daemon::Daemon, http::Form};
use ggml::{Ggml, segment};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Two segments, which end with `GOFORWARD`.
fn two_segments() -> Vec<ggml::Say> {
    [
        segment(0.0, "go forward", 1.2),
        segment(1.4, "ten meters", 2.6),
    ]
    .concat()
}

/// The configuration of a model, and a folder that lives as long.
struct Model {
    folder: TempDir,
}

impl Model {
    fn new(model: &Ggml) -> Model {
        let folder = TempDir::new().unwrap();
        model.write(&folder.path().join("ggml-test.bin"));
        Model { folder }
    }

    fn config(&self, more: &str) -> String {
        config(&self.folder.path().join("ggml-test.bin"), more)
    }
}

fn config(file: &Path, more: &str) -> String {
    format!(
        "[models.default]\nengine = \"whisper\"\n[models.default.whisper]\nfile = {:?}\nthreads = 2\n{more}",
        file
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
fn text_times_and_figures_come_as_the_model_says_them() {
    let model = Model::new(&Ggml::english(two_segments()));
    let daemon = Daemon::start(&model.config(""));
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
