//! Answers to bytes that are not an HTTP request: hyper's own answers have no body, no id and no
//! explanation.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::to_bytes, http::StatusCode, response::IntoResponse};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};

use crate::api::{error::ApiError, linger};

/// A connection that holds back hyper's bare answers, so that a better one can replace them.
#[derive(Debug)]
pub(super) struct Hushed<C> {
    connection: C,
    /// Status of the answer that was held back. hyper ends the connection with it.
    kept_back: Option<StatusCode>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Hushed<C> {
    pub(super) fn new(connection: C) -> Self {
        Self {
            connection,
            kept_back: None,
        }
    }

    /// Explain why the connection holds no request, and end it. `unread` holds the bytes received
    /// of a request.
    pub(super) async fn refuse(mut self, error: &hyper::Error, unread: &[u8], patience: Duration) {
        let refusal = match self.kept_back {
            Some(status) => ApiError::no_http(status, &error.to_string()),
            // A client that has not begun a request gets no answer.
            None if unread.is_empty() => return,
            None if error.is_timeout() => ApiError::slow_head(patience),
            None if error.is_parse() => {
                ApiError::no_http(StatusCode::BAD_REQUEST, &error.to_string())
            }
            None => return,
        };
        let answer = bytes(refusal).await;
        // If the client does not take the answer in time, it gets none.
        if let Ok(Ok(())) = timeout(patience, self.connection.write_all(&answer)).await {
            linger::close(self.connection).await;
        }
    }

    /// True if `data` is one of hyper's own answers: each of ours has an id.
    fn keep_back(&mut self, data: &[u8]) -> bool {
        let is_bare = || {
            let digits = data.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
            let status = StatusCode::from_bytes(digits).ok()?;
            let id = b"\r\nx-request-id: ";
            let ours = data.windows(id.len()).any(|window| window == id);
            (status.is_client_error() && data.ends_with(b"\r\n\r\n") && !ours).then_some(status)
        };
        if self.kept_back.is_none() {
            self.kept_back = is_bare();
        }
        self.kept_back.is_some()
    }
}

/// The whole answer as bytes on the wire.
async fn bytes(refusal: ApiError) -> Vec<u8> {
    let (head, body) = refusal.into_response().into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut answer = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        answer.extend(name.as_str().as_bytes());
        answer.extend(b": ");
        answer.extend(value.as_bytes());
        answer.extend(b"\r\n");
    }
    let id = uuid::Uuid::new_v4();
    let length = body.len();
    answer.extend(format!("x-request-id: {id}\r\ncontent-length: {length}\r\n\r\n").as_bytes());
    answer.extend(&body);
    answer
}

impl<C: AsyncRead + Unpin> AsyncRead for Hushed<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Hushed<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.keep_back(data) {
            return Poll::Ready(Ok(data.len()));
        }
        Pin::new(&mut self.connection).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if data.first().is_some_and(|first| self.keep_back(first)) {
            return Poll::Ready(Ok(data.iter().map(|slice| slice.len()).sum()));
        }
        Pin::new(&mut self.connection).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.kept_back.is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}
