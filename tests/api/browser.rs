//! Recordings as a real browser's `MediaRecorder` writes them, of sound alone and with a picture,
//! in one piece and in slices: word for word.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, Sender},
    thread,
    time::Duration,
};

use crate::common::{browser, clips::GOFORWARD, daemon::Daemon, http::Form};

/// Recordings for the browser to make. Those that it does not know are told, and left out.
const TYPES: [&str; 9] = [
    "audio/webm",
    "audio/webm;codecs=pcm",
    "audio/mp4",
    "audio/mp4;codecs=opus",
    "video/webm",
    "video/webm;codecs=vp9,opus",
    "video/mp4",
    "video/mp4;codecs=avc1.42001E,opus",
    "video/mp4;codecs=vp9,opus",
];

/// Records all types at once, three times each: the order of boxes in MP4 differs by chance.
const PAGE: &str = r#"<!doctype html><canvas width="64" height="64"></canvas><script>
const send = (path, body) => fetch(path, { method: "POST", body });
const sleep = time => new Promise(done => setTimeout(done, time));
function record(type, slice, stream) {
  const recorder = new MediaRecorder(stream, { mimeType: type });
  const parts = [];
  recorder.ondataavailable = event => parts.push(event.data);
  const stopped = new Promise(done => recorder.onstop = done);
  recorder.start(slice);
  return async () => {
    recorder.stop();
    await stopped;
    await send("/recording/" + encodeURIComponent(`${type} ${slice}`), new Blob(parts));
  };
}
async function run(types) {
  const context = new AudioContext();
  const speech = await context.decodeAudioData(await (await fetch("/speech.wav")).arrayBuffer());
  const destination = context.createMediaStreamDestination();
  const canvas = document.querySelector("canvas");
  const pen = canvas.getContext("2d");
  setInterval(() => { pen.fillStyle = `hsl(${performance.now() / 9}, 90%, 50%)`;
                      pen.fillRect(0, 0, 64, 64); }, 50);
  const stops = [];
  for (const type of types.filter(type => MediaRecorder.isTypeSupported(type))) {
    for (const slice of [undefined, 200, undefined]) {
      const tracks = destination.stream.getAudioTracks().map(track => track.clone());
      if (type.startsWith("video")) tracks.push(...canvas.captureStream(10).getVideoTracks());
      stops.push(record(type, slice, new MediaStream(tracks)));
    }
  }
  await sleep(700);
  const source = context.createBufferSource();
  source.buffer = speech;
  source.connect(destination);
  const ended = new Promise(done => source.onended = done);
  source.start();
  await ended;
  await sleep(700);
  for (const stop of stops) await stop();
}
run(TYPES).then(() => send("/done", ""), error => send("/failed", String(error)));
</script>"#;

/// One message of the page: the path, and what it sends.
type Message = (String, Vec<u8>);

/// Serves the page, and passes on what it sends.
fn serve(listener: &TcpListener, messages: &Sender<Message>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { break };
        let messages = messages.clone();
        thread::spawn(move || answer(stream, &messages));
    }
}

fn answer(stream: TcpStream, messages: &Sender<Message>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (kind, answer) = match path.as_str() {
        "/" => (
            "text/html",
            PAGE.replace("TYPES", &format!("{TYPES:?}")).into_bytes(),
        ),
        "/speech.wav" => ("audio/wav", GOFORWARD.wav()),
        _ => ("text/plain", Vec::new()),
    };
    if line.starts_with("POST") {
        messages.send((path, body)).ok()?;
    }
    let length = answer.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n");
    let mut stream = reader.into_inner();
    stream
        .write_all(format!("{head}connection: close\r\n\r\n").as_bytes())
        .ok()?;
    stream.write_all(&answer).ok()
}

/// A recording of the browser: what it was asked for, and the file.
fn recordings() -> Vec<Message> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, messages) = mpsc::channel();
    thread::spawn(move || serve(&listener, &sender));
    let _browser = browser::visit(&format!("http://{address}/"));
    let mut recordings = Vec::new();
    loop {
        let (path, body) = messages.recv_timeout(Duration::from_secs(60)).unwrap();
        match path.strip_prefix("/recording/") {
            Some(kind) => recordings.push((kind.replace("%20", " "), body)),
            None if path == "/done" => return recordings,
            None => panic!("{path}: {}", String::from_utf8_lossy(&body)),
        }
    }
}

#[test]
fn what_a_browser_records_is_heard_word_for_word() {
    let recordings = recordings();
    for needed in [
        "audio%2Fwebm ",
        "audio%2Fmp4",
        "video%2Fwebm",
        "video%2Fmp4",
    ] {
        let with = |(kind, _): &&Message| kind.starts_with(needed);
        assert!(recordings.iter().find(with).is_some(), "no {needed}");
    }
    let daemon = Daemon::start("");
    for (kind, recording) in &recordings {
        println!("{kind}: {} bytes", recording.len());
        let form = Form::of("recording", recording).field("response_format", "verbose_json");
        let answer = daemon.post(&form);
        assert_eq!(answer.status, 200, "{kind}: {:?}", answer.json());
        assert_eq!(answer.json()["text"], GOFORWARD.text, "{kind}");
        let warnings = answer.headers.get("x-stt-warnings");
        assert!(warnings.is_none(), "{kind}: {warnings:?}");
    }
}
