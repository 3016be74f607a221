//! One HTTP connection: serves its requests one after the other, and ends it in good order.

use std::{
    os::fd::{AsFd, AsRawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::header};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{sync::watch, time::timeout};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

use super::{
    half_closed::{HalfClosed, Requests},
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
    patience: Duration,
    taking: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    let socket = connection.as_fd().as_raw_fd();
    let requests = Arc::new(Requests::default());
    let (begin, end) = (requests.clone(), requests.clone());
    // True if a request was answered before it was read completely; the connection then ends.
    let is_cut_short = Arc::new(AtomicBool::new(false));
    let cut_short = is_cut_short.clone();
    let who = peer.clone();
    let service = router
        .map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
            begin.begin(request.version());
            request.extensions_mut().insert(who.clone());
            request.extensions_mut().insert(begin.closed());
            request.map(|body| axum::body::Body::new(begin.reading(body)))
        })
        .map_response(move |response: axum::response::Response| {
            let is_last = response.headers().contains_key(header::CONNECTION);
            cut_short.fetch_or(is_last, Ordering::Relaxed);
            response.map(|body| axum::body::Body::new(end.answering(body)))
        });
    let mut connection = TimeoutStream::new(HalfClosed::new(connection, requests.clone()));
    connection.set_write_timeout(Some(taking));
    let connection = TokioIo::new(Hushed::new(Box::pin(connection)));
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(BUFFER)
        .serve_connection(connection, TowerToHyperService::new(service));
    let orderly = async {
        stopped(&mut stopping).await;
        // hyper would close a connection from which it has read nothing, even if bytes wait in its
        // socket.
        if requests.is_idle() && (requests.is_fresh() || peek(socket) == Ok(1)) {
            let _ = timeout(FIRST_BYTE, requests.next.notified()).await;
        }
    };
    let result = tokio::select! {
        // Check the connection first: bytes that came in time must be seen before time is up.
        biased;
        result = &mut serving => result,
        () = orderly => {
            std::pin::Pin::new(&mut serving).graceful_shutdown();
            (&mut serving).await
        }
    };
    let parts = serving.into_parts();
    let connection = parts.io.into_inner();
    match result {
        Ok(()) if is_cut_short.load(Ordering::Relaxed) => linger::close(connection).await,
        Ok(()) => {}
        // Clients may hang up, send garbage or fall silent; that is not our error.
        Err(error) => {
            tracing::debug!(?peer, %error, "a connection ended early");
            connection.refuse(&error, &parts.read_buf, patience).await;
        }
    }
}
