//! A speech service on this machine's own loopback. It speaks the part of the protocol of
//! Microsoft's Speech SDK that version 1.53.0 uses, and accepts what the SDK sends. It is not known
//! whether Microsoft's service answers in the same way.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use serde_json::{Value, json};
use tungstenite::{
    Message, WebSocket,
    handshake::server::{ErrorResponse, Request, Response},
    protocol::{CloseFrame, frame::coding::CloseCode},
};

/// Bytes of a second: 16 kHz, 16 bits.
const RATE: usize = 32_000;

/// The service's units in a millisecond.
const TICKS: u64 = 10_000;

/// The core library of the SDK, fetched if it is not there yet.
pub fn library() -> PathBuf {
    try_library().unwrap()
}

/// The same where there may be no way to fetch it; what was said then.
pub fn try_library() -> Result<PathBuf, String> {
    static PATH: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let fetch = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engines/azure-sdk");
        let output = Command::new(script).output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap().trim().into()),
            false => Err(format!("{output:?}")),
        }
    };
    PATH.get_or_init(fetch).clone()
}

/// The treatment of a request.
#[derive(Clone, Copy, Debug)]
pub enum Scene {
    /// It is heard.
    Speak,
    /// It is heard, and its last phrase comes so late.
    Late(Duration),
    /// It is heard and never answered.
    Mute,
    /// It is not even accepted: a status of HTTP.
    Status(u16),
    /// The connection breaks off after a second of audio.
    Drop,
    /// It is closed then, with this code of WebSocket's.
    Close(u16),
    /// The answer is not JSON.
    NoJson,
    /// The answer is that there was an error.
    Error,
}

/// One connection, as the service saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Path and query.
    pub target: String,
    pub key: Option<String>,
    /// All that it was told in addition to the audio, message by message.
    pub told: BTreeMap<String, Value>,
    /// The samples.
    pub audio: Vec<u8>,
}

struct State {
    scene: Mutex<Scene>,
    /// One after the other; then from the beginning.
    phrases: Vec<String>,
    seen: Mutex<Vec<Seen>>,
}

/// The service, for as long as the test runs.
pub struct Service {
    port: u16,
    state: Arc<State>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A certificate of one's own, and the key for it.
pub struct Identity {
    pub pem: String,
    pub config: Arc<rustls::ServerConfig>,
}

impl Identity {
    pub fn new() -> Identity {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.unwrap())
            .unwrap();
        Identity {
            pem: made.cert.pem(),
            config: Arc::new(config),
        }
    }
}

impl Service {
    /// It says these phrases, each to ten seconds of audio or to what is left at the end.
    pub fn saying(phrases: &[&str]) -> Service {
        Service::start(phrases, None)
    }

    /// The same over TLS.
    pub fn encrypted(phrases: &[&str], identity: &Identity) -> Service {
        Service::start(phrases, Some(identity.config.clone()))
    }

    fn start(phrases: &[&str], tls: Option<Arc<rustls::ServerConfig>>) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            scene: Mutex::new(Scene::Speak),
            phrases: phrases.iter().map(|phrase| (*phrase).into()).collect(),
            seen: Mutex::default(),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (state, tls) = (shared.clone(), tls.clone());
                let connection = connection.unwrap();
                std::thread::spawn(move || serve(connection, tls, &state));
            }
        });
        Service { port, state }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets the treatment of requests from now on.
    pub fn plays(&self, scene: Scene) {
        *self.state.scene.lock().unwrap() = scene;
    }

    /// All connections so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// The only connection since it was asked last.
    #[track_caller]
    pub fn only(&self) -> Seen {
        let mut seen = std::mem::take(&mut *self.state.seen.lock().unwrap());
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }
}

/// A message of the protocol: headers in small letters, and what is behind them.
struct Told<'a> {
    headers: BTreeMap<String, String>,
    body: &'a [u8],
}

impl Told<'_> {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

fn headers(text: &str) -> BTreeMap<String, String> {
    let lines = text.split("\r\n").filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().into()))
        .collect()
}

fn understand(message: &Message) -> Told<'_> {
    match message {
        Message::Text(text) => {
            let (head, body) = text.as_str().split_once("\r\n\r\n").unwrap();
            Told {
                headers: headers(head),
                body: body.as_bytes(),
            }
        }
        Message::Binary(bytes) => {
            let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
            let (head, body) = bytes[2..].split_at(length);
            Told {
                headers: headers(std::str::from_utf8(head).unwrap()),
                body,
            }
        }
        other => panic!("{other:?}"),
    }
}

fn serve(connection: TcpStream, tls: Option<Arc<rustls::ServerConfig>>, state: &State) {
    connection.set_nodelay(true).unwrap();
    let raw = connection.try_clone().unwrap();
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(connection),
        Some(config) => {
            let tls = rustls::ServerConnection::new(config).unwrap();
            Box::new(rustls::StreamOwned::new(tls, connection))
        }
    };
    let scene = *state.scene.lock().unwrap();
    let mut number = 0;
    // The type is tungstenite's.
    #[allow(clippy::result_large_err)]
    let accept = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let header = |name: &str| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
        let key = header("Ocp-Apim-Subscription-Key");
        let mut seen = state.seen.lock().unwrap();
        number = seen.len();
        seen.push(Seen {
            target: request.uri().to_string(),
            key: key.clone(),
            told: BTreeMap::new(),
            audio: Vec::new(),
        });
        match scene {
            Scene::Status(status) => {
                // A careless service repeats what it was given.
                let body = format!("no entry with {}", key.unwrap_or_default());
                let answer = tungstenite::http::Response::builder().status(status);
                Err(answer.body(Some(body)).unwrap())
            }
            _ => Ok(response),
        }
    };
    // A connection that is not a WebSocket was meant not to be one.
    let Ok(socket) = tungstenite::accept_hdr(stream, accept) else {
        return;
    };
    let mut talk = Talk {
        socket,
        raw,
        scene,
        state,
        number,
        turn: Turn::default(),
    };
    while let Ok(message) = talk.socket.read() {
        if message.is_close() || !(message.is_text() || message.is_binary()) {
            continue;
        }
        talk.hear(&understand(&message));
    }
}

/// The service's result for one stretch of audio.
#[derive(Default)]
struct Turn {
    id: String,
    bytes: usize,
    messages: usize,
    /// How much of it phrases were said to.
    said: usize,
    phrases: usize,
    has_begun: bool,
}

struct Talk<'a> {
    socket: WebSocket<Box<dyn Stream>>,
    raw: TcpStream,
    scene: Scene,
    state: &'a State,
    number: usize,
    turn: Turn,
}

impl Talk<'_> {
    fn noted(&self, note: impl FnOnce(&mut Seen)) {
        // The test may have taken it already.
        if let Some(seen) = self.state.seen.lock().unwrap().get_mut(self.number) {
            note(seen);
        }
    }

    fn hear(&mut self, told: &Told<'_>) {
        let path = told.header("path").to_ascii_lowercase();
        if path != "audio" {
            let body = serde_json::from_slice(told.body).unwrap_or(Value::Null);
            self.noted(|seen| {
                seen.told.insert(path, body);
            });
            return;
        }
        let id = told.header("x-requestid");
        if self.turn.id != id {
            self.turn = Turn {
                id: id.into(),
                ..Turn::default()
            };
            self.say(
                "turn.start",
                &json!({"context": {"serviceTag": "0123456789abcdef"}}),
            );
        }
        self.turn.messages += 1;
        let samples = match told.body.strip_prefix(b"RIFF") {
            Some(header) => &header[40..],
            None => told.body,
        };
        self.turn.bytes += samples.len();
        self.noted(|seen| seen.audio.extend_from_slice(samples));
        if !self.turn.has_begun && self.turn.bytes > RATE / 5 {
            self.turn.has_begun = true;
            if !matches!(self.scene, Scene::Mute) {
                self.say("speech.startDetected", &json!({"Offset": 100 * TICKS}));
            }
        }
        if self.turn.bytes >= RATE {
            match self.scene {
                Scene::Drop => self.raw.shutdown(Shutdown::Both).unwrap_or_default(),
                Scene::Close(code) => {
                    let reason = "as the test wants".into();
                    let frame = CloseFrame {
                        code: CloseCode::from(code),
                        reason,
                    };
                    let _ = self.socket.close(Some(frame));
                }
                _ => {}
            }
        }
        let is_over = told.body.is_empty() && self.turn.messages > 1;
        let speaks = matches!(self.scene, Scene::Speak | Scene::Late(_));
        if speaks && !is_over && self.turn.bytes - self.turn.said >= 10 * RATE {
            self.phrase();
        }
        if is_over {
            self.finish();
        }
    }

    fn finish(&mut self) {
        let end = ticks(self.turn.bytes);
        match self.scene {
            Scene::Mute => return,
            Scene::Late(time) => std::thread::sleep(time),
            Scene::NoJson => {
                self.send("speech.phrase", "{not json");
                return;
            }
            Scene::Error => {
                let phrase = json!({"RecognitionStatus": "Error", "Offset": 0, "Duration": 0});
                self.say("speech.phrase", &phrase);
                return;
            }
            _ => {}
        }
        if self.turn.bytes > self.turn.said {
            self.phrase();
        }
        self.say("speech.endDetected", &json!({"Offset": end}));
        let last = json!({"RecognitionStatus": "EndOfDictation", "Offset": end, "Duration": 0});
        self.say("speech.phrase", &last);
        self.say("turn.end", &json!({}));
    }

    /// The next phrase, for all audio to which nothing was said yet.
    fn phrase(&mut self) {
        let phrases = &self.state.phrases;
        let text = phrases[self.turn.phrases % phrases.len()].clone();
        let (start, end) = (ticks(self.turn.said), ticks(self.turn.bytes));
        self.turn.phrases += 1;
        self.turn.said = self.turn.bytes;
        let length = end - start;
        let hypothesis =
            json!({"Text": text.to_lowercase(), "Offset": start, "Duration": length / 2});
        self.say("speech.hypothesis", &hypothesis);
        let parts: Vec<&str> = text.split_whitespace().collect();
        let each = length / parts.len() as u64;
        let bare = |word: &str| word.to_lowercase().replace([',', '.'], "");
        let words = parts.iter().enumerate().map(|(index, word)| {
            let offset = start + index as u64 * each;
            json!({"Word": bare(word), "Offset": offset, "Duration": each, "Confidence": 0.75})
        });
        let words: Vec<Value> = words.collect();
        let lexical = bare(&text);
        let phrase = json!({
            "Id": "0123456789abcdef", "RecognitionStatus": "Success", "Offset": start, "Duration": length, "Channel": 0,
            "DisplayText": text,
            "NBest": [{"Confidence": 0.95, "Lexical": lexical, "ITN": lexical, "MaskedITN": lexical, "Display": text,
                       "Words": words}],
        });
        self.say("speech.phrase", &phrase);
    }

    fn say(&mut self, path: &str, body: &Value) {
        self.send(path, &body.to_string());
    }

    fn send(&mut self, path: &str, body: &str) {
        let id = &self.turn.id;
        let kind = "Content-Type:application/json; charset=utf-8";
        let text = format!("X-RequestId:{id}\r\n{kind}\r\nPath:{path}\r\n\r\n{body}");
        // A client that is gone is told nothing.
        let _ = self.socket.send(Message::text(text));
    }
}

/// Rounded up to a whole millisecond: the SDK sends what no phrase covers once more, and for less
/// than that as well.
fn ticks(bytes: usize) -> u64 {
    (bytes as u64 * 1000).div_ceil(RATE as u64) * TICKS
}
