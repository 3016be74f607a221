//! Wyoming, the protocol of Home Assistant and its voice satellites: events over a stream, raw samples among them.

mod connection;
mod error;
mod event;
mod frame;
#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used)]
pub(crate) mod fuzzing;
mod info;
mod live;
mod request;
mod wire;

use tokio::sync::watch;

use super::{App, Listener, server};

/// Serve `listener` until `stopping` turns true; then finish the requests at hand. Dropping this ends them.
pub async fn serve(listener: Listener, app: App, stopping: watch::Receiver<bool>) {
    let stop = stopping.clone();
    server::accept(listener, &app, stopping, |connection, peer| {
        connection::serve(connection, peer, app.clone(), stop.clone())
    })
    .await;
}
