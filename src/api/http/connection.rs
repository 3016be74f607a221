//! One HTTP connection: serves its requests one after the other, and ends it in good order.

use std::{
    future::poll_fn,
    os::fd::{AsFd, AsRawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::header};
use hyper::{
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{io::AsyncWriteExt as _, sync::watch, time::timeout};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

use super::{
    App,
    half_closed::{HalfClosed, Requests},
    realtime::{self, Upgrade},
    unparsed::Hushed,
};
use crate::api::{
    Peer, linger,
    listener::{Connection, peek},
    server::{FIRST_BYTE, stopped},
};

/// Most bytes that one connection buffers. An upload goes to its spool in pieces of this size.
const BUFFER: usize = 64 * 1024;

/// Serve `connection` until its client hangs up, is silent for `patience` in the head of a request,
/// takes nothing of its answer for `taking`, or the service stops. When the connection ends, so
/// does the request that is being served: an answer that no client takes is not computed further.
pub(super) async fn serve(
    connection: Connection,
    peer: Peer,
    router: Router,
    app: App,
    (patience, taking): (Duration, Duration),
    stopping: watch::Receiver<bool>,
) {
    let socket = connection.as_fd().as_raw_fd();
    let requests = Arc::new(Requests::default());
    let (begin, end) = (requests.clone(), requests.clone());
    // True if a request was answered before it was read completely; the connection then ends.
    let is_cut_short = Arc::new(AtomicBool::new(false));
    let cut_short = is_cut_short.clone();
    let who = peer.clone();
    let upgrade = Upgrade::default();
    let upgraded = upgrade.clone();
    let service = router
        .map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
            begin.begin(request.version());
            request.extensions_mut().insert(who.clone());
            request.extensions_mut().insert(begin.closed());
            request.extensions_mut().insert(upgraded.clone());
            request.map(|body| axum::body::Body::new(begin.reading(body)))
        })
        .map_response(move |response: axum::response::Response| {
            let is_last = response.headers().contains_key(header::CONNECTION);
            cut_short.fetch_or(is_last, Ordering::Relaxed);
            response.map(|body| axum::body::Body::new(end.answering(body)))
        });
    let service = TowerToHyperService::new(service);
    let mut connection = TimeoutStream::new(HalfClosed::new(connection, requests.clone()));
    connection.set_write_timeout(Some(taking));
    let connection = TokioIo::new(Hushed::new(Box::pin(connection)));
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(BUFFER)
        .serve_connection(
            connection,
            service_fn(move |request| Box::pin(service.call(request))),
        );
    let mut stop = stopping.clone();
    let orderly = async {
        stopped(&mut stop).await;
        // hyper would close a connection from which it has read nothing, even if bytes wait in its
        // socket.
        if requests.is_idle() && (requests.is_fresh() || peek(socket) == Ok(1)) {
            let _ = timeout(FIRST_BYTE, requests.next.notified()).await;
        }
    };
    // The connection is not shut down yet: it may become a session.
    let result = tokio::select! {
        // Check the connection first: bytes that came in time must be seen before time is up.
        biased;
        result = poll_fn(|context| serving.poll_without_shutdown(context)) => result,
        () = orderly => {
            std::pin::Pin::new(&mut serving).graceful_shutdown();
            poll_fn(|context| serving.poll_without_shutdown(context)).await
        }
    };
    let parts = serving.into_parts();
    let mut connection = parts.io.into_inner();
    if let Some(opening) = upgrade.take() {
        // Boxed, because every connection would otherwise have room for it.
        let read = parts.read_buf.to_vec();
        return Box::pin(realtime::serve(opening, connection, read, app, stopping)).await;
    }
    match result {
        Ok(()) if is_cut_short.load(Ordering::Relaxed) => linger::close(connection).await,
        Ok(()) => {
            // If the client is gone already, there is nothing to end.
            let _ = connection.shutdown().await;
        }
        // Clients may hang up, send garbage or fall silent; that is not our error.
        Err(error) => {
            tracing::debug!(?peer, %error, "a connection ended early");
            connection.refuse(&error, &parts.read_buf, patience).await;
        }
    }
}
