//! The protocol of Vosk's own WebSocket server, which telephone exchanges and captions of calls
//! speak: samples as binary messages, one answer to each message.

mod answer;
mod connection;
mod message;
mod wishes;

use tokio::sync::watch;

use super::{App, Listener, server};

/// Serve `listener` until `stopping` turns true, then finish the turns at hand. Dropping the future
/// ends them.
pub async fn serve(listener: Listener, app: App, stopping: watch::Receiver<bool>) {
    let stop = stopping.clone();
    server::accept(listener, &app, stopping, |connection, peer| {
        connection::serve(connection, peer, app.clone(), stop.clone())
    })
    .await;
}
