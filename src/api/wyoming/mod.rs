//! Wyoming, the protocol of Home Assistant and its voice satellites: a stream of events with raw
//! samples in between.

mod connection;
mod error;
mod event;
mod frame;
#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used)]
pub(crate) mod fuzzing;
mod info;
mod request;
mod wire;

use tokio::sync::watch;

use super::{App, Listener, server};

/// Serve `listener` until `stopping` turns true, then finish the current requests. Dropping the
/// future ends them.
pub async fn serve(listener: Listener, app: App, stopping: watch::Receiver<bool>) {
    let stop = stopping.clone();
    server::accept(listener, &app, stopping, |connection, peer| {
        connection::serve(connection, peer, app.clone(), stop.clone())
    })
    .await;
}
