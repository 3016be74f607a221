//! One session: takes the client's events, and tells it what happens in its conversation.

use std::{convert::Infallible, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{
    super::{App, cost::Cost, render::Logprobs},
    client_event::{self, ClientEvent},
    handshake::Opening,
    server_event::{self, event},
    settings::{Dialect, Settings},
};
use crate::{
    api::{
        conversation::{Completed, Conversation, Happening, Over},
        error::ApiError,
        server::stopped,
        socket::{End, Incoming, Socket},
    },
    transcript::Transcript,
};

struct Session<C> {
    socket: Socket<C>,
    conversation: Conversation<Settings>,
    app: App,
    is_closing: bool,
}

/// Hold the session that `opening` describes over `connection`, of which `read` was read already,
/// until the client leaves or the service stops.
pub(in crate::api::http) async fn serve<C: AsyncRead + AsyncWrite + Unpin>(
    opening: Opening,
    connection: C,
    read: Vec<u8>,
    app: App,
    mut stopping: watch::Receiver<bool>,
) {
    let Opening {
        client,
        share,
        settings,
    } = opening;
    let mut session = Session {
        socket: Socket::new(connection, read).await,
        conversation: Conversation::new(app.clone(), client, share, settings),
        app,
        is_closing: false,
    };
    let Err(end) = session.run(&mut stopping).await;
    let Session {
        socket,
        conversation,
        ..
    } = session;
    // Its jobs end before the client is told.
    drop(conversation);
    socket.end(end).await;
}

impl<C: AsyncRead + AsyncWrite + Unpin> Session<C> {
    async fn run(&mut self, stopping: &mut watch::Receiver<bool>) -> Result<Infallible, End> {
        self.tell_settings("created").await?;
        loop {
            let gone_on = self.conversation.go_on().await;
            self.tell().await?;
            if let Err(over) = gone_on {
                return Err(self.farewell(over).await);
            }
            if self.is_closing && self.conversation.is_quiet() {
                return Err(self.farewell(Over::Stopping).await);
            }
            let reads = self.conversation.has_room();
            if !reads {
                self.socket.excuse();
            }
            let dispatcher = self.app.dispatcher.clone();
            tokio::select! {
                biased;
                woken = self.conversation.wait() => {
                    if let Err(over) = self.conversation.handle(woken).await {
                        return Err(self.farewell(over).await);
                    }
                }
                incoming = self.socket.next(), if reads => self.take(incoming?).await?,
                () = stopped(stopping), if !self.is_closing => {
                    self.is_closing = true;
                    self.conversation.close();
                }
                () = dispatcher.aborted() => return Err(self.farewell(Over::Stopping).await),
            }
        }
    }

    /// Take a message from the client.
    async fn take(&mut self, incoming: Incoming) -> Result<(), End> {
        let text = match incoming {
            Incoming::Text(text) => text,
            Incoming::Life => return Ok(()),
            Incoming::Binary(_) => {
                let what = "events are text: audio goes as base64 in input_audio_buffer.append";
                let error = ApiError::parameter("type", what);
                return self.socket.say(&server_event::error(&error, None)).await;
            }
        };
        let (id, event) = client_event::parse(&text);
        drop(text);
        match self.obey(event).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                // First all that happened before.
                self.tell().await?;
                let event = server_event::error(&error, id.as_deref());
                self.socket.say(&event).await
            }
            Err(over) => Err(self.farewell(over).await),
        }
    }

    async fn obey(
        &mut self,
        asked: Result<ClientEvent, ApiError>,
    ) -> Result<Result<(), ApiError>, Over> {
        let order = match asked {
            Ok(order) => order,
            Err(error) => return Ok(Err(error)),
        };
        match order {
            ClientEvent::Append(bytes) => Ok(self.conversation.append(&bytes).await),
            ClientEvent::Commit => self.conversation.commit().await,
            ClientEvent::Clear => {
                self.conversation.clear().await?;
                let cleared = event("input_audio_buffer.cleared", json!({}));
                // A client that is gone is found so when it is told next.
                let _ = self.socket.say(&cleared).await;
                Ok(Ok(()))
            }
            ClientEvent::Update(dialect, value) => {
                let config = self.app.dispatcher.config();
                let new = self.conversation.wishes().changed(dialect, &value, &config);
                match new {
                    Ok(new) => self.conversation.wish(new).await,
                    Err(error) => Ok(Err(error)),
                }
            }
        }
    }

    async fn tell_settings(&mut self, what: &str) -> Result<(), End> {
        let settings = self.conversation.wishes();
        let kind = match settings.dialect {
            Dialect::Current => format!("session.{what}"),
            Dialect::Beta => format!("transcription_session.{what}"),
        };
        let session = settings.json(&self.app.dispatcher.config());
        self.socket
            .say(&event(&kind, json!({"session": session})))
            .await
    }

    /// Tell the client all that has happened.
    async fn tell(&mut self) -> Result<(), End> {
        while let Some(happening) = self.conversation.happening() {
            if let Happening::Settled = happening {
                self.tell_settings("updated").await?;
                continue;
            }
            for event in events(self.conversation.wishes(), happening) {
                self.socket.say(&event).await?;
            }
        }
        Ok(())
    }

    /// Tell the client why the session cannot go on, and how it ends.
    async fn farewell(&mut self, over: Over) -> End {
        let event = server_event::error(&over.error(), None);
        let (code, reason) = match over {
            Over::Stopping => (CloseCode::Restart, "the service is stopping: connect again"),
            Over::Deaf => (CloseCode::Error, "speech cannot be detected at the moment"),
        };
        match self.socket.say(&event).await {
            Ok(()) => End::Told(code, reason.into()),
            Err(end) => end,
        }
    }
}

/// The events that tell what has happened to a client with these `settings`.
fn events(settings: &Settings, happening: Happening) -> Vec<Value> {
    let dialect = settings.dialect;
    let one = |kind: &str, fields: Value| vec![event(kind, fields)];
    match happening {
        Happening::Began { item, at } => one(
            "input_audio_buffer.speech_started",
            json!({"audio_start_ms": at, "item_id": item}),
        ),
        Happening::Ended { item, at } => one(
            "input_audio_buffer.speech_stopped",
            json!({"audio_end_ms": at, "item_id": item}),
        ),
        Happening::Committed { item, previous } => {
            server_event::committed(dialect, &item, previous.as_deref())
        }
        Happening::Idle {
            item,
            previous,
            from,
            until,
        } => {
            let fields = json!({"audio_start_ms": from, "audio_end_ms": until, "item_id": item});
            let mut events = one("input_audio_buffer.timeout_triggered", fields);
            let committed = server_event::committed(dialect, &item, previous.as_deref());
            events.extend(committed);
            // The detector has heard that nobody speaks in it.
            let transcript = Transcript {
                duration: Duration::from_millis(until - from),
                ..Transcript::default()
            };
            let nothing = json!(null);
            let completed = server_event::completed(&item, &transcript, None, false, nothing);
            events.push(completed);
            events
        }
        Happening::Waits { item } => one("stt.queued", json!({"item_id": item})),
        Happening::Delta { text, .. } if text.is_empty() => Vec::new(),
        Happening::Delta {
            item,
            text,
            segment,
        } => {
            let segment = segment.filter(|_| settings.logprobs);
            let before = (segment.as_ref())
                .and_then(|segment| text.strip_suffix(segment.text.as_str()))
                .unwrap_or_default();
            let logprobs = segment.as_ref().map(|segment| Logprobs {
                before,
                segments: std::slice::from_ref(segment),
            });
            vec![server_event::delta(&item, &text, logprobs)]
        }
        Happening::Tentative { item, text } => one(
            "stt.hypothesis",
            json!({"item_id": item, "content_index": 0, "tentative": text}),
        ),
        Happening::Completed(completed) => vec![complete(settings, &completed)],
        Happening::Failed {
            item,
            error,
            report,
        } => vec![server_event::failed(&item, &error, report.as_deref())],
        // Many programs leave at an `error`, and the session goes on.
        Happening::Trouble(error) => one("stt.interrupted", json!({"message": error.message()})),
        Happening::Settled => Vec::new(),
    }
}

fn complete(settings: &Settings, completed: &Completed) -> Value {
    let cost = Cost {
        report: &completed.report,
        mode: completed.mode,
        warnings: &completed.warnings,
        shares: &[],
    };
    server_event::completed(
        &completed.item,
        &completed.transcript,
        completed.language.as_deref(),
        settings.logprobs,
        cost.object(),
    )
}
