//! Any bytes as events of a client: it does not matter in what pieces they arrive, and little is kept of them.

use serde_json::json;

use super::{
    event::Event,
    frame::{Frames, MAX_DATA, MAX_HEADER, encode},
};

/// What was understood of the bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Understood {
    /// Kind and meaning of each event, or what was wrong with it.
    events: Vec<String>,
    /// All payloads of recordings, one after the other.
    samples: Vec<u8>,
    /// Where it is no event any more.
    end: Option<String>,
}

/// What a client sends, from its first byte on.
pub fn wyoming(data: &[u8]) {
    let whole = understand(data, data.len().max(1));
    for piece in [1, 1 + data.len() % 61] {
        assert_eq!(understand(data, piece), whole);
    }
    // Whatever is said to a client is one event.
    let text = String::from_utf8_lossy(data);
    let said = json!({"text": text});
    let mut frames = Frames::default();
    frames.push(&encode("transcript-chunk", &said));
    // A longer text is none that is ever said.
    if text.len() < 1 << 14 {
        let frame = frames.next().expect("an event").expect("all of it");
        assert_eq!(frame.data(|over, _| over).ok(), Some(said));
        assert!(frame.kind == "transcript-chunk" && !frames.is_amid());
    }
}

fn understand(data: &[u8], piece: usize) -> Understood {
    let mut frames = Frames::default();
    let mut understood = Understood::default();
    let mut is_wanted = false;
    for piece in data.chunks(piece) {
        frames.push(piece);
        loop {
            while is_wanted && let Some(samples) = frames.payload() {
                understood.samples.extend_from_slice(&samples);
            }
            if is_wanted && frames.payload_left() > 0 {
                break;
            }
            match frames.next() {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    let event = Event::of(&frame);
                    is_wanted = matches!(event, Ok(Event::AudioChunk(_)));
                    understood.events.push(format!("{}: {event:?}", frame.kind));
                }
                Err(error) => {
                    understood.end = Some(error.to_string());
                    return understood;
                }
            }
        }
        // What cannot be understood yet is a header or data, of bounded length.
        let most = MAX_HEADER.max(MAX_DATA as usize) + piece.len();
        assert!(frames.unread() <= most, "{}", frames.unread());
    }
    assert!(understood.samples.len() <= data.len());
    understood
}
