//! Listening sockets: connections accepted as far as there are places, until the service stops.

use axum::Router;
use tokio::{sync::watch, task::JoinSet};

use super::{
    App,
    connection::{self, stopped},
};
use crate::api::Listener;

/// Serve `listener` until `stopping` turns true; then finish the requests at hand. Dropping this ends them.
pub async fn serve(
    listener: Listener,
    app: App,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) {
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
        let config = app.dispatcher.config();
        let (patience, taking) = (config.http.header_timeout, config.http.body_timeout);
        let router = router.clone();
        let serving =
            connection::serve(connection, peer, router, patience, taking, stopping.clone());
        open.spawn(async move {
            serving.await;
            drop(place);
        });
    }
    // The socket stays open: who connects now waits in it for the next start.
    while open.join_next().await.is_some() {}
}
