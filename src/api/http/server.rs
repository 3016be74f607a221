//! Connections: accepted, bounded, timed, and ended in good order.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{sync::watch, task::JoinSet};
use tower::ServiceExt;

use super::unparsed::Hushed;
use crate::{
    api::{Connections, Listener, Peer, listener::Connection},
    config::Http,
    dispatch::Dispatcher,
};

/// Most bytes that one connection buffers: an upload goes to its spool in pieces of this size.
const BUFFER: usize = 64 * 1024;

/// Serve `listener` by `router`, which answers for `dispatcher`, until `stopping` turns true; then finish the requests at hand, for as long as `drain` allows.
pub async fn serve(
    listener: Listener,
    router: Router,
    dispatcher: Dispatcher,
    limits: Http,
    connections: Connections,
    mut stopping: watch::Receiver<bool>,
    drain: Duration,
) {
    let with_groups = || dispatcher.config().clients.knows_groups();
    let mut open = JoinSet::new();
    loop {
        let room = tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            Some(_) = open.join_next() => continue,
            // Before accepting: a connection that cannot be served yet stays in the kernel's queue.
            room = connections.room() => room,
        };
        let Some(room) = room else { break };
        let (connection, peer) = tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            accepted = listener.accept(with_groups) => accepted,
        };
        let serving = connection_task(
            connection,
            peer,
            router.clone(),
            limits.clone(),
            stopping.clone(),
        );
        let served = room.taken();
        open.spawn(async move {
            serving.await;
            drop(served);
        });
    }
    let finish = async { while open.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(drain, finish).await;
}

/// Returns when the service stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the service.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn connection_task(
    connection: Connection,
    peer: Peer,
    router: Router,
    limits: Http,
    mut stopping: watch::Receiver<bool>,
) {
    let who = peer.clone();
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(who.clone());
        request.map(axum::body::Body::new)
    });
    let connection = TokioIo::new(Hushed::new(connection));
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(BUFFER)
        .serve_connection(connection, TowerToHyperService::new(service));
    let result = tokio::select! {
        result = &mut serving => result,
        () = stopped(&mut stopping) => {
            std::pin::Pin::new(&mut serving).graceful_shutdown();
            (&mut serving).await
        }
    };
    if let Err(error) = result {
        // Clients that hang up, send garbage or fall silent: their own business.
        tracing::debug!(?peer, %error, "a connection ended early");
        let parts = serving.into_parts();
        let connection = parts.io.into_inner();
        connection
            .refuse(&error, &parts.read_buf, limits.header_timeout)
            .await;
    }
}
