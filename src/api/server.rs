//! Listening sockets: connections accepted as far as there are places, until the service stops.

use std::time::Duration;

use tokio::{sync::watch, task::JoinSet};

use super::{App, Listener, Peer, listener::Connection};

/// How long a client whose connection was accepted, and who has sent nothing yet, is waited for when the service stops.
/// The connection was taken from the listening socket, where it could have waited for the next start, and who connects
/// means to send at once: so the first request is owed an answer. Between requests a connection is closed at once, which
/// every client must expect, unless the next one has arrived already.
pub(super) const FIRST_BYTE: Duration = Duration::from_secs(1);

/// Returns when the service stops.
pub(super) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the service.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Let `serve` talk with each client of `listener` until `stopping` turns true; then wait until all of them are done.
/// Dropping this ends them.
pub(super) async fn accept<F>(
    listener: Listener,
    app: &App,
    mut stopping: watch::Receiver<bool>,
    serve: impl Fn(Connection, Peer) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let with_groups = || app.dispatcher.config().clients.knows_groups();
    let mut open = JoinSet::new();
    loop {
        let mut place = tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            Some(_) = open.join_next() => continue,
            // Before accepting: a connection that cannot be served yet stays in the kernel's queue.
            place = app.connections.place() => place,
        };
        let (connection, peer) = tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            accepted = listener.accept(with_groups) => accepted,
        };
        place.occupy();
        let serving = serve(connection, peer);
        open.spawn(async move {
            serving.await;
            drop(place);
        });
    }
    // The socket stays open: who connects now waits in it for the next start.
    while open.join_next().await.is_some() {}
}
