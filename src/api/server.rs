//! Accepts connections while places are free, until the service stops.

use std::time::Duration;

use tokio::{sync::watch, task::JoinSet};

use super::{App, Listener, Peer, listener::Connection};

/// When the service stops, a client that is connected but has sent nothing yet gets this long. Its
/// connection could have waited in the listening socket for the next start, and a client that
/// connects means to send at once, so its first request deserves an answer. Between requests, a
/// connection is closed at once unless the next request has already arrived. Every client must
/// expect that.
pub(super) const FIRST_BYTE: Duration = Duration::from_secs(1);

/// Wait until the service stops.
pub(super) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender, and with it the service, is gone.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Let `serve` talk with each client of `listener` until `stopping` turns true, then wait until all
/// are done. Dropping the future ends them.
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
            // Take a place before accepting: a connection that cannot be served yet stays in the
            // kernel's queue.
            place = app.connections.place(listener.is_tcp()) => place,
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
    // The socket stays open: a client that connects now waits in it for the next start.
    while open.join_next().await.is_some() {}
}
