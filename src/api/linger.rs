//! The end of a connection on which more of a request may still be on its way than anybody wants to read.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// How long the rest of a refused request is taken, and thrown away. A client that is still sending when its connection
/// goes away gets an error from its own `write` and may never look for the answer that it was sent: Python's
/// `http.client` does not, and over TCP a reset can take the answer with it.
const LINGER: Duration = Duration::from_secs(1);

/// End `connection`, all of whose answers were written, such that its client gets to read them.
pub(super) async fn close<C: AsyncRead + AsyncWrite + Unpin>(mut connection: C) {
    let end = async {
        connection.shutdown().await?;
        let mut rest = [0; 8 * 1024];
        while connection.read(&mut rest).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    // Whether the client hung up, failed or is still talking when time is up: it had its answer.
    let _ = timeout(LINGER, end).await;
}
