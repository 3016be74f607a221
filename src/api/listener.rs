//! Listening sockets passed by systemd. Unix and TCP connections look the same to the rest of the
//! service.

use std::{
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, RawFd},
        unix::net,
    },
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{MsgFlags, getsockopt, recv, sockopt},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

use super::peer::Peer;
use crate::isolation::peer_groups;

/// Pause after an error that goes away by itself (out of descriptors or memory).
const PAUSE: Duration = Duration::from_millis(500);

/// A listening stream socket.
#[derive(Debug)]
pub enum Listener {
    /// A socket in the file system or the abstract namespace.
    Unix(UnixListener),
    /// A socket on the network.
    Tcp(TcpListener),
}

impl Listener {
    /// Take a Unix socket that is already bound.
    ///
    /// # Errors
    /// The socket does not listen.
    pub fn from_unix(socket: net::UnixListener) -> io::Result<Self> {
        check(&socket)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Unix(UnixListener::from_std(socket)?))
    }

    /// Take a TCP socket that is already bound.
    ///
    /// # Errors
    /// The socket does not listen.
    pub fn from_tcp(socket: std::net::TcpListener) -> io::Result<Self> {
        check(&socket)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Tcp(TcpListener::from_std(socket)?))
    }

    /// True if clients come over the network, or through its loopback.
    pub(super) fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// The address at which it listens; `None` for a Unix socket.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(listener) => listener.local_addr().ok(),
        }
    }

    /// Accept the next connection. Skips errors of single connections, and waits if resources are
    /// exhausted.
    ///
    /// If `with_groups` returns true, also asks the kernel for the peer's groups.
    pub async fn accept(&self, with_groups: impl Fn() -> bool) -> (Connection, Peer) {
        loop {
            let result = match self {
                Self::Unix(listener) => accept_unix(listener, &with_groups).await,
                Self::Tcp(listener) => accept_tcp(listener).await,
            };
            match result {
                Ok(accepted) => return accepted,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!("a connection cannot be accepted: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Refuse a socket that does not listen: `Accept=yes` in a socket unit would pass connections
/// instead.
fn check(socket: &impl AsFd) -> io::Result<()> {
    if getsockopt(socket, sockopt::AcceptConn)? {
        return Ok(());
    }
    let kind = io::ErrorKind::InvalidInput;
    Err(io::Error::new(
        kind,
        "it does not listen (is Accept=yes set?)",
    ))
}

async fn accept_unix(
    listener: &UnixListener,
    with_groups: impl Fn() -> bool,
) -> io::Result<(Connection, Peer)> {
    let (stream, _) = listener.accept().await?;
    let credentials = stream.peer_cred()?;
    let groups = match with_groups().then(|| peer_groups(&stream)) {
        Some(Ok(groups)) => groups,
        // The peer is then judged only by its user and its primary group.
        Some(Err(error)) => {
            tracing::warn!("the kernel does not tell the groups of a client: {error}");
            Vec::new()
        }
        None => Vec::new(),
    };
    let peer = Peer::Local {
        uid: credentials.uid(),
        gid: credentials.gid(),
        groups: groups.into(),
        pid: credentials.pid(),
    };
    Ok((Connection::Unix(stream), peer))
}

async fn accept_tcp(listener: &TcpListener) -> io::Result<(Connection, Peer)> {
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((Connection::Tcp(stream), Peer::Remote(address)))
}

/// A byte stream to one client.
#[derive(Debug)]
pub enum Connection {
    /// A connection over a Unix socket.
    Unix(UnixStream),
    /// A connection over TCP.
    Tcp(TcpStream),
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// Look for an unread byte on `socket`: 1 if there is one, 0 at the end of the stream.
///
/// # Errors
/// EAGAIN if nothing has arrived; other errors mean that the connection is broken.
pub(super) fn peek(socket: RawFd) -> nix::Result<usize> {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(socket, &mut [0], flags)
}

impl Connection {
    /// True if the other end is closed, not only for sending. Over TCP both look the same until we
    /// have sent bytes that nobody receives.
    pub(super) fn is_gone(&self) -> bool {
        // poll always reports a hang-up, even if it is not asked for.
        let mut asked = [PollFd::new(self.as_fd(), PollFlags::empty())];
        poll(&mut asked, PollTimeout::ZERO).is_ok_and(|answers| answers > 0)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(context, data),
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, data),
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
