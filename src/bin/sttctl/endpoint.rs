//! The server's address, and connecting to it.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    pin::Pin,
    str::FromStr,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::Uri;
use nix::unistd::{Gid, Group};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use crate::error::Error;

/// Longest time to connect to a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause before the next attempt if a Unix socket's queue was full: the kernel cannot report when
/// there is room.
const BACKLOG_PAUSE: Duration = Duration::from_millis(20);

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// `host:port`, as in a URL.
    Tcp(String),
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(address) = text.strip_prefix("tcp:") {
            return tcp(address, None);
        }
        if let Some(address) = text.strip_prefix("http://") {
            return tcp(address.trim_end_matches('/'), Some(80));
        }
        if text.contains("://") {
            return Err("only http:// is spoken here".into());
        }
        if text.is_empty() {
            return Err("a path, tcp:HOST:PORT or http://HOST:PORT is needed".into());
        }
        Ok(Endpoint::Unix(text.into()))
    }
}

fn tcp(address: &str, default_port: Option<u16>) -> Result<Endpoint, String> {
    let bad = || format!("\"{address}\" is not HOST:PORT");
    let uri: Uri = format!("http://{address}/").parse().map_err(|_| bad())?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
    let port = uri.port_u16().or(default_port).ok_or_else(bad)?;
    if uri.path() != "/" {
        return Err(bad());
    }
    Ok(Endpoint::Tcp(format!("{host}:{port}")))
}

impl Endpoint {
    /// Value of the `Host` header.
    pub fn host(&self) -> &str {
        match self {
            Endpoint::Unix(_) => "localhost",
            Endpoint::Tcp(address) => address,
        }
    }

    /// Connects, within five seconds.
    ///
    /// # Errors
    ///
    /// Names the address and, if known, the remedy.
    pub async fn connect(&self) -> Result<Connection, Error> {
        let attempt = async {
            Ok::<Box<dyn Stream>, io::Error>(match self {
                Endpoint::Unix(path) => Box::new(connect_unix(path).await?),
                Endpoint::Tcp(address) => Box::new(TcpStream::connect(address.as_str()).await?),
            })
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, attempt)
            .await
            .unwrap_or_else(|_| {
                let seconds = CONNECT_TIMEOUT.as_secs();
                Err(io::Error::other(format!("not accepted within {seconds} s")))
            })
            .map_err(|error| self.explain(error))?;
        Ok(Connection {
            stream,
            deaf: false,
        })
    }

    fn explain(&self, source: io::Error) -> Error {
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        match (self, source.kind()) {
            (Endpoint::Unix(path), NotFound | ConnectionRefused) => Error::NoService {
                path: path.clone(),
                source,
            },
            (Endpoint::Unix(path), PermissionDenied) => Error::NotAllowed {
                path: path.clone(),
                group: owning_group(path),
                source,
            },
            (Endpoint::Unix(path), _) => Error::Connect {
                to: path.display().to_string(),
                source,
            },
            (Endpoint::Tcp(address), _) => Error::Connect {
                to: address.clone(),
                source,
            },
        }
    }
}

async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            // EAGAIN: the listener's queue is full.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(BACKLOG_PAUSE).await;
            }
            result => return result,
        }
    }
}

fn owning_group(path: &Path) -> Option<String> {
    let gid = std::fs::metadata(path).ok()?.gid();
    Some(Group::from_gid(Gid::from_raw(gid)).ok()??.name)
}

/// Both kinds of sockets.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection whose answer can be read even after the server stopped reading.
///
/// A server may answer 413 and hang up during the upload. hyper gives up a connection at the first
/// failed write and would report a broken pipe, although the answer lies in the receive buffer. So
/// a write to a peer that has hung up stays pending here: reading returns the answer or the end of
/// file, and either one ends the exchange.
pub struct Connection {
    stream: Box<dyn Stream>,
    deaf: bool,
}

impl Connection {
    fn unless_deaf<T>(&mut self, result: io::Result<T>) -> Poll<io::Result<T>> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        match result {
            Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset) => {
                self.deaf = true;
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Pending;
        }
        let result = ready!(Pin::new(&mut self.stream).poll_write(cx, data));
        self.unless_deaf(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Pending;
        }
        let result = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, data));
        self.unless_deaf(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_or_a_host_and_a_port() {
        let parsed = |text: &str| text.parse::<Endpoint>();
        let tcp = |address: &str| Ok(Endpoint::Tcp(address.into()));
        assert_eq!(
            parsed("/run/x.sock"),
            Ok(Endpoint::Unix("/run/x.sock".into()))
        );
        assert_eq!(parsed("x.sock"), Ok(Endpoint::Unix("x.sock".into())));
        assert_eq!(parsed("tcp:localhost:8000"), tcp("localhost:8000"));
        assert_eq!(parsed("tcp:[::1]:8000"), tcp("[::1]:8000"));
        assert_eq!(parsed("http://localhost:8000/"), tcp("localhost:8000"));
        assert_eq!(parsed("http://stt"), tcp("stt:80"));
        for wrong in [
            "",
            "tcp:localhost",
            "tcp::80",
            "tcp:a b:1",
            "http://h:1/v1",
            "https://h:1",
            "tcp:h:70000",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
