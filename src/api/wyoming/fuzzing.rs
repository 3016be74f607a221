//! Fuzzing of events from a client: the pieces in which bytes arrive must not matter, and few bytes
//! are kept.

use serde_json::json;

use super::{
    event::Event,
    frame::{Frames, MAX_DATA, MAX_HEADER, encode},
};

/// Everything understood of the bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Understood {
    /// Kind and meaning of each event, or its error.
    events: Vec<String>,
    /// Payloads of all recordings, one after the other.
    samples: Vec<u8>,
    /// The error that ended the stream.
    end: Option<String>,
}

/// `data` is everything that a client sends.
pub fn wyoming(data: &[u8]) {
    let whole = understand(data, data.len().max(1));
    for piece in [1, 1 + data.len() % 61] {
        assert_eq!(understand(data, piece), whole);
    }
    // Any text sent to a client must be exactly one event.
    let text = String::from_utf8_lossy(data);
    let said = json!({"text": text});
    let mut frames = Frames::default();
    frames.push(&encode("transcript-chunk", &said));
    // We never send a longer text.
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
        // Unused bytes are a header or data, both of bounded length.
        let most = MAX_HEADER.max(MAX_DATA as usize) + piece.len();
        assert!(frames.unread() <= most, "{}", frames.unread());
    }
    assert!(understood.samples.len() <= data.len());
    understood
}
