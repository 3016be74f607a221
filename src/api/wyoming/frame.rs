//! Events on the wire: a line of JSON, an optional block of JSON, and an optional payload, each of
//! bounded length.

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Longest header line, in bytes. The reference implementation has the same limit.
pub(super) const MAX_HEADER: usize = 64 * 1024;

/// Longest block of data, in bytes. The longest that clients send are lists of names, of about ten
/// kilobytes.
pub(super) const MAX_DATA: u64 = 256 * 1024;

/// Most bytes read at once.
const PIECE: usize = 64 * 1024;

/// Version of the protocol's reference implementation whose events we use.
const VERSION: &str = "1.10.2";

/// Splits the bytes of one connection into events. It does not wait or read: bytes go in, events
/// come out.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes that are not parsed yet.
    buffer: BytesMut,
    /// Number of bytes in `buffer` that contain no line end.
    searched: usize,
    /// Header of an event whose data is incomplete.
    header: Option<Header>,
    /// Bytes of the last event's payload that are still to be taken.
    payload: u64,
    /// Payload bytes still to be skipped; they come before those of `payload`.
    skip: u64,
}

/// An event without its payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Type of the event.
    pub(super) kind: String,
    /// Data in the header itself.
    inline: Map<String, Value>,
    /// Data behind the header, which overrides the data in it.
    block: Bytes,
}

/// Missing numbers, or `null`, count as zero. Other values, such as a version, are ignored.
#[derive(Debug, Deserialize)]
struct Header {
    #[serde(rename = "type")]
    kind: String,
    data: Option<Map<String, Value>>,
    data_length: Option<u64>,
    payload_length: Option<u64>,
}

/// Reasons why bytes are not an event. The start of the next event is then unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    /// The header line is too long.
    #[error("no line of up to {MAX_HEADER} bytes begins here")]
    LongHeader,
    /// The header is not a JSON object of the right form.
    #[error("the line is no header of an event: {0}")]
    Header(serde_json::Error),
    /// The block of data is too long.
    #[error("the event has {0} bytes of data, and no more than {MAX_DATA} are read")]
    LongData(u64),
}

impl Frame {
    /// Parse the data into `T`, which has a default for every value. The block overrides the
    /// header.
    ///
    /// # Errors
    /// The data is not a JSON object, or a value has the wrong type.
    pub(super) fn data<T>(&self, over: impl Fn(T, T) -> T) -> serde_json::Result<T>
    where
        T: for<'de> Deserialize<'de>,
    {
        let inline = T::deserialize(Value::Object(self.inline.clone()))?;
        if self.block.is_empty() {
            return Ok(inline);
        }
        Ok(over(serde_json::from_slice(&self.block)?, inline))
    }
}

impl Frames {
    /// Add bytes as if they had been received.
    #[cfg(any(test, fuzzing))]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Number of received bytes that are not parsed yet.
    #[cfg(any(test, fuzzing))]
    pub(super) fn unread(&self) -> usize {
        self.buffer.len()
    }

    /// The buffer for the next bytes, with room for [`PIECE`].
    pub(super) fn room(&mut self) -> &mut BytesMut {
        // The buffer may have grown for an earlier event, although it is empty now.
        if self.buffer.is_empty() && self.buffer.capacity() > PIECE {
            self.buffer = BytesMut::new();
        }
        self.buffer.reserve(PIECE);
        &mut self.buffer
    }

    /// True if more may be read before the present bytes are processed.
    pub(super) fn has_room(&self) -> bool {
        self.buffer.len() < PIECE
    }

    /// True if a part of an event has arrived.
    pub(super) fn is_amid(&self) -> bool {
        self.header.is_some() || self.payload > 0 || self.skip > 0 || !self.buffer.is_empty()
    }

    /// Skip the rest of the last event's payload.
    pub(super) fn pass_over(&mut self) {
        self.skip += std::mem::take(&mut self.payload);
    }

    /// Take the next event. Skips the rest of the previous event's payload.
    ///
    /// # Errors
    /// The bytes are not an event. Nothing more can be read then.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Malformed> {
        self.pass_over();
        let here = self.skip.min(self.buffer.len() as u64);
        self.buffer.advance(here as usize);
        self.skip -= here;
        if self.skip > 0 {
            return Ok(None);
        }
        let header = match self.header.take() {
            Some(header) => header,
            None => match self.line()? {
                Some(line) => serde_json::from_slice(&line).map_err(Malformed::Header)?,
                None => return Ok(None),
            },
        };
        let length = header.data_length.unwrap_or(0);
        if length > MAX_DATA {
            return Err(Malformed::LongData(length));
        }
        let length = length as usize;
        if self.buffer.len() < length {
            self.header = Some(header);
            return Ok(None);
        }
        let block = self.buffer.split_to(length).freeze();
        self.payload = header.payload_length.unwrap_or(0);
        Ok(Some(Frame {
            kind: header.kind,
            inline: header.data.unwrap_or_default(),
            block,
        }))
    }

    fn line(&mut self) -> Result<Option<Bytes>, Malformed> {
        let rest = &self.buffer[self.searched..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        match end.map(|end| self.searched + end) {
            Some(end) if end <= MAX_HEADER => {
                self.searched = 0;
                let line = self.buffer.split_to(end).freeze();
                self.buffer.advance(1);
                Ok(Some(line))
            }
            None if self.buffer.len() <= MAX_HEADER => {
                self.searched = self.buffer.len();
                Ok(None)
            }
            _ => Err(Malformed::LongHeader),
        }
    }

    /// Bytes of the last event's payload that were not taken yet, including those that have not
    /// arrived.
    pub(super) fn payload_left(&self) -> u64 {
        self.payload
    }

    /// Take the arrived bytes of the last event's payload; `None` if there are none.
    pub(super) fn payload(&mut self) -> Option<Bytes> {
        let here = self.buffer.len() as u64;
        let length = here.min(self.payload);
        self.payload -= length;
        (length > 0).then(|| self.buffer.split_to(length as usize).freeze())
    }
}

/// Encode an event. The data goes behind the header, where every client looks for it.
pub(super) fn encode(kind: &str, data: &Value) -> Vec<u8> {
    let block = match data {
        Value::Null => String::new(),
        data => data.to_string(),
    };
    let mut header = json!({"type": kind, "version": VERSION});
    if !block.is_empty() {
        header["data_length"] = block.len().into();
    }
    format!("{header}\n{block}").into_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Frames {
        let mut frames = Frames::default();
        frames.push(bytes);
        frames
    }

    fn data(frame: &Frame) -> Map<String, Value> {
        let over = |mut over: Map<_, _>, mut under: Map<_, _>| {
            under.append(&mut over);
            under
        };
        frame.data(over).unwrap()
    }

    const EVENT: &[u8] =
        b"{\"type\":\"a\",\"data\":{\"x\":1,\"y\":2},\"data_length\":7,\"payload_length\":3}\n{\"x\":3}PAY";

    #[test]
    fn data_comes_from_the_header_and_from_the_block_over_it() {
        let mut frames = of(EVENT);
        let frame = frames.next().unwrap().unwrap();
        assert_eq!((frame.kind.as_str(), frames.payload_left()), ("a", 3));
        assert_eq!(Value::Object(data(&frame)), json!({"x": 3, "y": 2}));
        assert_eq!(frames.payload().unwrap(), "PAY".as_bytes());
        assert!(frames.payload().is_none() && !frames.is_amid());
    }

    #[test]
    fn it_does_not_matter_in_what_pieces_events_arrive() {
        let bytes = [EVENT, b"{\"type\":\"b\"}\n", EVENT].concat();
        for piece in 1..bytes.len() {
            let mut frames = of(b"");
            let (mut kinds, mut payload) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(piece) {
                frames.push(piece);
                loop {
                    while let Some(piece) = frames.payload() {
                        payload.extend(piece);
                    }
                    if frames.payload_left() > 0 {
                        break;
                    }
                    match frames.next().unwrap() {
                        Some(frame) => kinds.push(frame.kind),
                        None => break,
                    }
                }
            }
            assert_eq!(kinds, ["a", "b", "a"]);
            assert_eq!(payload, b"PAYPAY");
        }
    }

    #[test]
    fn a_payload_that_nobody_takes_is_passed_over() {
        let mut frames = of(&[EVENT, b"{\"type\":\"b\"}\n"].concat());
        assert_eq!(frames.next().unwrap().unwrap().kind, "a");
        assert_eq!(frames.next().unwrap().unwrap().kind, "b");
        assert!(frames.next().unwrap().is_none());
    }

    #[test]
    fn what_is_cut_off_is_waited_for() {
        for length in 1..EVENT.len() {
            let mut frames = of(&EVENT[..length]);
            let _ = frames.next().unwrap();
            while frames.payload().is_some() {}
            assert!(frames.is_amid(), "{length}");
        }
    }

    #[test]
    fn null_is_nothing() {
        let header =
            b"{\"type\":\"a\",\"data\":null,\"data_length\":null,\"payload_length\":null}\n";
        let mut frames = of(header);
        let frame = frames.next().unwrap().unwrap();
        assert!(data(&frame).is_empty() && frames.payload_left() == 0);
    }

    #[test]
    fn headers_are_bounded_with_and_without_an_end() {
        let header = |length: usize| {
            let mut header = b"{\"type\":\"a\"".to_vec();
            header.resize(length - 1, b' ');
            header.push(b'}');
            header
        };
        let most = [header(MAX_HEADER).as_slice(), b"\n"].concat();
        assert!(of(&most).next().unwrap().is_some());
        assert!(of(&most[..MAX_HEADER]).next().unwrap().is_none());
        let more = [header(MAX_HEADER + 1).as_slice(), b"\n"].concat();
        for bytes in [more.as_slice(), &more[..=MAX_HEADER], &[0; MAX_HEADER + 1]] {
            assert!(matches!(of(bytes).next(), Err(Malformed::LongHeader)));
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for line in [
            "",
            "RIFF\u{0}\u{0}",
            "GET / HTTP/1.1\r",
            "[]",
            "null",
            "{}",
            "{\"type\":5}",
            "{\"type\":\"a\"",
            "{\"type\":\"a\"}{}",
            "{\"type\":\"a\",\"data\":5}",
            "{\"type\":\"a\",\"data_length\":-1}",
            "{\"type\":\"a\",\"data_length\":1.5}",
            "{\"type\":\"a\",\"data_length\":\"9\"}",
            "{\"type\":\"a\",\"payload_length\":-1}",
            "{\"type\":\"a\",\"payload_length\":99999999999999999999}",
        ] {
            let result = of(format!("{line}\n").as_bytes()).next();
            assert!(matches!(result, Err(Malformed::Header(_))), "{line}");
        }
        let deep = format!("{{\"type\":\"a\",\"data\":{}\n", "[".repeat(60_000));
        assert!(of(deep.as_bytes()).next().is_err());
        assert!(of(b"\xff\xfe\n").next().is_err());
    }

    #[test]
    fn data_is_bounded_before_it_arrives() {
        for (length, is_good) in [(MAX_DATA, true), (MAX_DATA + 1, false), (u64::MAX, false)] {
            let header = format!("{{\"type\":\"a\",\"data_length\":{length}}}\n");
            assert_eq!(of(header.as_bytes()).next().is_ok(), is_good, "{length}");
        }
    }

    #[test]
    fn data_that_is_no_object_is_refused() {
        for block in ["[]", "5", "{", "{}x", "\"\""] {
            let length = block.len();
            let bytes = format!("{{\"type\":\"a\",\"data_length\":{length}}}\n{block}");
            let frame = of(bytes.as_bytes()).next().unwrap().unwrap();
            let result = frame.data(|over: Map<String, Value>, _| over);
            assert!(result.is_err(), "{block}");
        }
    }

    #[test]
    fn what_is_sent_can_be_read() {
        let mut frames = of(&[
            encode("a", &Value::Null),
            encode("b", &json!({"text": "a\nü"})),
        ]
        .concat());
        let a = frames.next().unwrap().unwrap();
        assert!(a.kind == "a" && data(&a).is_empty());
        let b = frames.next().unwrap().unwrap();
        assert_eq!(Value::Object(data(&b)), json!({"text": "a\nü"}));
        assert!(!frames.is_amid());
    }
}
