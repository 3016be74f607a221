//! One client: takes its messages one after the other, and answers each.

use std::convert::Infallible;

use axum::http::{StatusCode, header};
use serde_json::json;
use tokio::{sync::watch, time::timeout};
use tokio_tungstenite::{
    accept_hdr_async_with_config,
    tungstenite::{
        handshake::server::{ErrorResponse, Request, Response},
        protocol::frame::coding::CloseCode,
    },
};

use super::{
    answer::Answers,
    message::{self, Message},
    wishes::Said,
};
use crate::{
    api::{
        App, Peer,
        conversation::{Conversation, Over},
        keyless,
        listener::Connection,
        server::stopped,
        socket::{self, End, Incoming, Socket},
    },
    config::Config,
};

impl From<Over> for End {
    fn from(over: Over) -> Self {
        let code = match over {
            Over::Stopping => CloseCode::Restart,
            Over::Deaf => CloseCode::Error,
        };
        Self::Told(code, over.error().message().to_owned())
    }
}

/// Serve `connection` until its client leaves or the service stops.
pub(super) async fn serve(
    connection: Connection,
    peer: Peer,
    app: App,
    mut stopping: watch::Receiver<bool>,
) {
    let config = app.dispatcher.config();
    let share = keyless::share(&peer, &config.clients);
    // The type is tungstenite's.
    #[allow(clippy::result_large_err)]
    let check = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let refused = match &share {
            Err(error) => Some(error.message().to_owned()),
            Ok(_) if is_foreign(request, &peer, &config) => {
                Some("this origin is not listed (http.cors_origins)".to_owned())
            }
            Ok(_) => None,
        };
        let Some(refused) = refused else {
            return Ok(response);
        };
        let mut answer = ErrorResponse::new(Some(refused));
        *answer.status_mut() = StatusCode::FORBIDDEN;
        Err(answer)
    };
    let handshake = accept_hdr_async_with_config(connection, check, Some(socket::config()));
    let patience = config.http.header_timeout;
    let accepted = tokio::select! {
        accepted = timeout(patience, handshake) => accepted,
        () = stopped(&mut stopping) => return,
    };
    let (Ok(Ok(stream)), Ok(share)) = (accepted, share) else {
        // Clients may hang up or send something else; that is not our error.
        return;
    };
    let mut client = Client {
        socket: Socket::of(stream),
        conversation: Conversation::new(app.clone(), peer.client(), share, Said::default()),
        answers: Answers::default(),
        app,
    };
    let Err(end) = client.run(&mut stopping).await;
    let Client {
        socket,
        conversation,
        ..
    } = client;
    // Its jobs end before the client is told.
    drop(conversation);
    socket.end(end).await;
}

/// Whether a browser asks for a page that is not listed. Every browser names the page's origin.
fn is_foreign(request: &Request, peer: &Peer, config: &Config) -> bool {
    let known = &config.http.cors_origins;
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    let is_listed = |origin| known.iter().any(|known| origin == known.as_str());
    matches!(peer, Peer::Remote(_)) && !origins.all(is_listed)
}

struct Client {
    socket: Socket<Connection>,
    conversation: Conversation<Said>,
    answers: Answers,
    app: App,
}

impl Client {
    async fn run(&mut self, stopping: &mut watch::Receiver<bool>) -> Result<Infallible, End> {
        loop {
            self.go_on().await?;
            let reads = self.conversation.has_room();
            if !reads {
                self.socket.excuse();
            }
            let dispatcher = self.app.dispatcher.clone();
            tokio::select! {
                biased;
                woken = self.conversation.wait() => self.conversation.handle(woken).await?,
                incoming = self.socket.next(), if reads => self.take(incoming?).await?,
                () = stopped(stopping) => {
                    // The turn at hand is told before the end.
                    self.finish().await?;
                    return Err(Over::Stopping.into());
                }
                () = dispatcher.aborted() => return Err(Over::Stopping.into()),
            }
        }
    }

    /// Do all that can be done, and note what has happened.
    async fn go_on(&mut self) -> Result<(), End> {
        let gone_on = self.conversation.go_on().await;
        while let Some(happening) = self.conversation.happening() {
            self.answers.note(happening);
        }
        if let Some(reason) = self.answers.failed() {
            // The protocol has no errors, and no text would be a wrong answer.
            return Err(End::Told(CloseCode::Error, reason));
        }
        Ok(gone_on?)
    }

    /// Take a message, and answer it.
    async fn take(&mut self, incoming: Incoming) -> Result<(), End> {
        let text = match incoming {
            Incoming::Binary(samples) => {
                if let Err(error) = self.conversation.append(&samples).await {
                    return Err(End::Told(CloseCode::Error, error.message().to_owned()));
                }
                let answer = self.answers.next();
                return self.socket.say(&answer).await;
            }
            Incoming::Text(text) => text,
            Incoming::Life => return Ok(()),
        };
        let wrong = |reason| End::Told(CloseCode::Unsupported, reason);
        match message::parse(&text).map_err(wrong)? {
            Message::Config(asked) => {
                let names_language = asked.language.is_some();
                let new = self.conversation.wishes().changed(asked).map_err(wrong)?;
                let is_understood = new.is_understood(&self.app.dispatcher.config());
                if is_understood {
                    let wished = self.conversation.wish(new).await?;
                    wished.map_err(|error| wrong(error.message().to_owned()))?;
                }
                // Vosk's own server does not answer to settings, Nextcloud's does to a language.
                if names_language {
                    self.socket.say(&json!({"success": is_understood})).await?;
                }
                Ok(())
            }
            Message::Reset => {
                self.finish().await?;
                self.conversation.clear().await?;
                Ok(())
            }
            Message::End => {
                self.finish().await?;
                Err(End::Told(CloseCode::Normal, String::new()))
            }
            Message::Unknown => Ok(()),
        }
    }

    /// Hear all audio to its end, and tell everything that was not told.
    async fn finish(&mut self) -> Result<(), End> {
        // It is an error only if there is no audio left.
        let _ = self.conversation.commit().await?;
        let dispatcher = self.app.dispatcher.clone();
        loop {
            self.go_on().await?;
            if self.conversation.is_quiet() {
                break;
            }
            tokio::select! {
                woken = self.conversation.wait() => self.conversation.handle(woken).await?,
                () = dispatcher.aborted() => return Err(Over::Stopping.into()),
            }
        }
        let result = self.answers.result();
        self.socket.say(&result).await
    }
}
