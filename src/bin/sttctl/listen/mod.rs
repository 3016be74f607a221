//! `sttctl listen`: words on the terminal while they are spoken.

mod recorder;
mod screen;

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::Write as _,
    process::{ExitCode, Stdio},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::{Request, header::AUTHORIZATION};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    process::Command,
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, handshake::client::generate_key},
};

use self::{recorder::Recorder, screen::Screen};
use crate::{
    cli::Listen,
    endpoint::Connection,
    error::{Error, report},
    shown,
};

/// Exit status as if Ctrl-C had ended the program.
const INTERRUPTED: u8 = 130;

/// Id of the event by which we end the last turn.
const LAST: &str = "last";

/// How long the program of `--command` may take for one turn.
const COMMAND_TIME: Duration = Duration::from_secs(60);

const PREFIX: &str = "conversation.item.input_audio_transcription.";

/// Prints the words that are spoken until Ctrl-C or the end of the input.
pub async fn run(arguments: &Listen) -> ExitCode {
    match listen(arguments).await {
        Ok(status) => status,
        Err(error) => {
            report(None, &error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn listen(arguments: &Listen) -> Result<ExitCode, Error> {
    let mut interrupts = signal(SignalKind::interrupt()).map_err(Error::Read)?;
    let socket = connect(arguments).await?;
    let output = arguments.output.as_ref().map(|path| {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.map_err(|source| Error::Save {
            path: path.clone(),
            source,
        })
    });
    let mut session = Session {
        arguments,
        socket,
        screen: Screen::new(),
        output: output.transpose()?,
        open: HashSet::new(),
        is_last: false,
        failed: false,
    };
    session.configure().await?;
    let mut recorder = Recorder::start(arguments.input.as_deref())?;
    let is_over = session.hear(&mut recorder, &mut interrupts).await;
    session.screen.end();
    is_over?;
    Ok(match session.failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

async fn connect(arguments: &Listen) -> Result<WebSocketStream<Connection>, Error> {
    let server = &arguments.server;
    let host = server.socket.host();
    let mut request = Request::get(format!("ws://{host}/v1/realtime?intent=transcription"))
        .header("host", host)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key())
        .body(())
        .map_err(|error| Error::Http(error.to_string()))?;
    if let Some(key) = &server.key {
        request.headers_mut().insert(AUTHORIZATION, key.0.clone());
    }
    let stream = server.socket.connect().await?;
    let limit = server.timeout.unwrap_or(Duration::from_secs(10));
    match timeout(limit, client_async(request, stream)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(answer))) => {
            let body = answer.body().as_deref().unwrap_or_default();
            let json: Value = serde_json::from_slice(body).unwrap_or_default();
            let said = |key: &str| json["error"][key].as_str().map(str::to_owned);
            Err(Error::Refused {
                message: said("message").unwrap_or_else(|| "the server gave no reason".into()),
                reason: said("code").map_or_else(
                    || format!("HTTP {}", answer.status()),
                    |code| format!("code {code}"),
                ),
                request: None,
            })
        }
        Ok(Err(error)) => Err(Error::Http(error.to_string())),
        Err(_) => Err(Error::TimedOut(limit)),
    }
}

/// A session with the service.
struct Session<'a> {
    arguments: &'a Listen,
    socket: WebSocketStream<Connection>,
    screen: Screen,
    output: Option<File>,
    /// Turns whose text is not complete.
    open: HashSet<String>,
    /// True once the last turn was ended.
    is_last: bool,
    failed: bool,
}

impl Session<'_> {
    async fn configure(&mut self) -> Result<(), Error> {
        let mut transcription = json!({});
        let wishes = [
            ("model", &self.arguments.model),
            ("language", &self.arguments.language),
            ("prompt", &self.arguments.prompt),
        ];
        for (name, wish) in wishes {
            if let Some(wish) = wish {
                transcription[name] = wish.as_str().into();
            }
        }
        if self.arguments.early {
            transcription["delay"] = "low".into();
        }
        let silence = self.arguments.silence.as_millis();
        let turns = json!({
            "type": "server_vad",
            "silence_duration_ms": u64::try_from(silence).unwrap_or(u64::MAX),
        });
        let input = json!({"transcription": transcription, "turn_detection": turns});
        let session = json!({"type": "transcription", "audio": {"input": input}});
        self.say(&json!({"type": "session.update", "session": session}))
            .await?;
        loop {
            let Some(event) = self.event().await? else {
                return Err(Error::Closed("before it took the settings"));
            };
            match event["type"].as_str() {
                Some("session.updated") => break,
                Some("error") => return Err(refused(&event["error"])),
                _ => {}
            }
        }
        Ok(())
    }

    /// Pass on what `recorder` hears, and print what comes back, until both are over.
    async fn hear(
        &mut self,
        recorder: &mut Recorder,
        interrupts: &mut Signal,
    ) -> Result<(), Error> {
        while !(self.is_last && self.open.is_empty()) {
            tokio::select! {
                biased;
                _ = interrupts.recv() => {
                    if self.is_last {
                        std::process::exit(INTERRUPTED.into());
                    }
                    recorder.stop();
                    self.finish().await?;
                }
                message = self.socket.next() => {
                    let Some(event) = self.understand(message)? else {
                        return Err(Error::Closed("before the last words"));
                    };
                    self.take(&event).await?;
                }
                samples = recorder.next(), if !self.is_last => match samples? {
                    Some(samples) => {
                        self.screen.level(&samples);
                        let audio = STANDARD.encode(&samples);
                        self.say(&json!({"type": "input_audio_buffer.append", "audio": audio})).await?;
                    }
                    None => self.finish().await?,
                }
            }
        }
        // The service need not know why we leave.
        let _ = self.socket.close(None).await;
        Ok(())
    }

    /// End the turn that is spoken, if there is one. The answer tells.
    async fn finish(&mut self) -> Result<(), Error> {
        self.is_last = true;
        self.open.insert(LAST.into());
        self.say(&json!({"type": "input_audio_buffer.commit", "event_id": LAST}))
            .await
    }

    async fn say(&mut self, event: &Value) -> Result<(), Error> {
        let sent = self.socket.send(Message::text(event.to_string())).await;
        sent.map_err(|error| Error::Http(error.to_string()))
    }

    /// The next event; `None` if the service has closed the session.
    async fn event(&mut self) -> Result<Option<Value>, Error> {
        let message = self.socket.next().await;
        self.understand(message)
    }

    /// The event in `message`; `null` if it has none.
    fn understand(
        &self,
        message: Option<Result<Message, tungstenite::Error>>,
    ) -> Result<Option<Value>, Error> {
        match message {
            Some(Ok(Message::Text(text))) => {
                let event = serde_json::from_str(&text);
                event
                    .map(Some)
                    .map_err(|error| Error::Http(error.to_string()))
            }
            Some(Ok(Message::Close(_))) | None => Ok(None),
            Some(Ok(_)) => Ok(Some(Value::Null)),
            Some(Err(error)) => Err(Error::Http(error.to_string())),
        }
    }

    async fn take(&mut self, event: &Value) -> Result<(), Error> {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let kind = text("type");
        match kind {
            "input_audio_buffer.speech_started" => self.screen.begin(),
            "input_audio_buffer.committed" => {
                self.open.insert(text("item_id").to_owned());
                self.open.remove(LAST);
            }
            "stt.hypothesis" => self
                .screen
                .tentative(&shown::words(text("tentative").as_bytes())),
            "error" if event["error"]["event_id"] == LAST => {
                // There was nothing left to commit.
                self.open.remove(LAST);
            }
            "error" if event["error"]["code"] == "shutting_down" => {
                return Err(refused(&event["error"]));
            }
            "error" => {
                self.failed = true;
                self.screen.note(&refused(&event["error"]).to_string());
            }
            _ => match kind.strip_prefix(PREFIX) {
                Some("delta") => self.screen.words(&shown::words(text("delta").as_bytes())),
                Some("completed") => {
                    self.open.remove(text("item_id"));
                    let words = text("transcript");
                    self.screen.turn(words).map_err(Error::Write)?;
                    for warning in event["stt"]["warnings"].as_array().into_iter().flatten() {
                        self.screen.note(warning.as_str().unwrap_or_default());
                    }
                    self.pass_on(words).await?;
                }
                Some("failed") => {
                    self.open.remove(text("item_id"));
                    self.failed = true;
                    self.screen.note(&refused(&event["error"]).to_string());
                }
                _ => {}
            },
        }
        Ok(())
    }

    /// Give the text of a turn to the file and the program that the user named.
    async fn pass_on(&mut self, words: &str) -> Result<(), Error> {
        if words.is_empty() {
            return Ok(());
        }
        if let Some(file) = &mut self.output {
            writeln!(file, "{words}").map_err(Error::Write)?;
        }
        let Some(command) = &self.arguments.command else {
            return Ok(());
        };
        let mut program = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::Read)?;
        if let Some(mut input) = program.stdin.take() {
            // A program that does not read its input may be meant so.
            let _ = input.write_all(words.as_bytes()).await;
        }
        let status = match timeout(COMMAND_TIME, program.wait()).await {
            Ok(status) => status.map_err(Error::Read)?,
            Err(_) => return Err(Error::TimedOut(COMMAND_TIME)),
        };
        if !status.success() {
            self.failed = true;
            self.screen
                .note(&format!("the program of --command failed ({status})"));
        }
        Ok(())
    }
}

/// The error that the service tells.
fn refused(error: &Value) -> Error {
    let said = |name: &str| error[name].as_str().unwrap_or("unknown").to_owned();
    Error::Refused {
        message: said("message"),
        reason: format!("code {}", said("code")),
        request: None,
    }
}
