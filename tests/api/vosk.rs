//! Vosk's protocol through the real daemon, on real speech.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use crate::common::{
    clips::{GOFORWARD, TEN_OF_CLUBS},
    daemon::{Daemon, Setup},
    realtime::{Stream, unix},
};

struct Served {
    _daemon: Daemon,
    folder: TempDir,
}

impl Served {
    fn start() -> Served {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("vosk.sock");
        let setup = Setup::new("").listen_as("vosk", socket.to_str().unwrap());
        Served {
            _daemon: setup.start(),
            folder,
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("vosk.sock")
    }

    fn connect(&self) -> WebSocket<Box<dyn Stream>> {
        let stream = unix(&self.socket());
        tungstenite::client("ws://localhost/", stream).unwrap().0
    }
}

fn say(client: &mut WebSocket<Box<dyn Stream>>, message: &Value) {
    client.send(Message::text(message.to_string())).unwrap();
}

fn answer(client: &mut WebSocket<Box<dyn Stream>>) -> Value {
    let message = client.read().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

#[test]
fn each_message_has_one_answer_and_the_last_one_has_the_rest() {
    let served = Served::start();
    let mut client = served.connect();
    say(
        &mut client,
        &json!({"config": {"sample_rate": 16000, "words": 1, "model": "/etc"}}),
    );
    let mut audio = vec![0; 16_000];
    for clip in [GOFORWARD, TEN_OF_CLUBS] {
        audio.extend(clip.samples());
        audio.extend([0; 40_000]);
    }
    let mut texts = Vec::new();
    let mut words = Vec::new();
    let mut note = |answer: &Value| {
        if let Some(text) = answer["text"].as_str().filter(|text| !text.is_empty()) {
            texts.push(text.to_owned());
            words.extend(answer["result"].as_array().unwrap().clone());
        }
    };
    for piece in audio.chunks(8_000) {
        client.send(Message::binary(piece.to_vec())).unwrap();
        let answer = answer(&mut client);
        assert!(
            answer["partial"].is_string() || answer["text"].is_string(),
            "{answer}"
        );
        note(&answer);
    }
    say(&mut client, &json!({"eof": 1}));
    let last = answer(&mut client);
    assert!(last["text"].is_string(), "{last}");
    note(&last);
    assert!(client.read().unwrap().is_close());
    assert_eq!(
        texts.join(" "),
        format!("{} {}", GOFORWARD.text, TEN_OF_CLUBS.text)
    );
    // Times count from the beginning of the stream.
    let starts: Vec<f64> = words
        .iter()
        .map(|word| word["start"].as_f64().unwrap())
        .collect();
    assert!(starts.is_sorted(), "{words:?}");
    let second = 0.5 + GOFORWARD.samples().len() as f64 / 32_000.0 + 1.25;
    assert!(starts[0] > 0.4 && starts[4] > second - 0.3, "{words:?}");
}

#[test]
fn a_language_is_answered_and_nonsense_ends_it() {
    let served = Served::start();
    let mut client = served.connect();
    for (language, success) in [("en", true), ("de", false)] {
        say(&mut client, &json!({"config": {"language": language}}));
        assert_eq!(
            answer(&mut client),
            json!({"success": success}),
            "{language}"
        );
    }
    say(&mut client, &json!({"config": {"sample_rate": 1}}));
    let Message::Close(Some(frame)) = client.read().unwrap() else {
        panic!("it goes on");
    };
    assert_eq!(u16::from(frame.code), 1003);
}
