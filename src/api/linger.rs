//! Ends a connection on which unread parts of a request may still arrive.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// How long the rest of a refused request is read and dropped. If the connection closes while a
/// client is sending, its `write` fails and it may never read our answer. Python's `http.client`
/// behaves so, and over TCP a reset can destroy the answer.
const LINGER: Duration = Duration::from_secs(1);

/// End `connection` after the last answer, so that its client can still read it.
pub(super) async fn close<C: AsyncRead + AsyncWrite + Unpin>(mut connection: C) {
    let end = async {
        connection.shutdown().await?;
        let mut rest = [0; 8 * 1024];
        while connection.read(&mut rest).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    // The client hung up, failed or is still sending when time is up. In each case it had its
    // answer.
    let _ = timeout(LINGER, end).await;
}
