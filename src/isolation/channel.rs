//! Typed messages and descriptors over a pair of SOCK_SEQPACKET sockets.
//!
//! One datagram is one message: a version byte, then the message in postcard's encoding. Sequenced
//! packets keep message boundaries, so no half-written message exists. When one side closes, the
//! other sees a hang-up.
#![allow(unsafe_code)]

use std::{
    cell::RefCell,
    io::{self, IoSlice, IoSliceMut},
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
        sendmsg, socketpair,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{Interest, unix::AsyncFd};

/// Version of the messages. Supervisor and zygotes are one binary, so another version means that a
/// stranger is talking.
const VERSION: u8 = 1;

/// Largest message with its version byte, in bytes. The longest honest message is a segment of 30 s
/// with a time for each word: about 150 words of 60 bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Largest number of descriptors in any message; sizes the buffer for control data.
const MAX_DESCRIPTORS: usize = 3;

/// No flags: the call blocks. The socket itself stays blocking, because a change would cost two
/// system calls for each job.
const WAIT: MsgFlags = MsgFlags::empty();

/// A type that can be sent over a [`Channel`].
pub trait Message {
    /// Largest number of descriptors in one message. A message with more is refused.
    const MAX_DESCRIPTORS: usize;
}

/// Reasons why a message could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other side hung up.
    #[error("the other side hung up")]
    HungUp,
    /// The other side is gone and did not read our last message.
    #[error("the other side went away without reading what it was sent")]
    Unread,
    /// The system call failed.
    #[error("the channel failed: {0}")]
    Io(#[from] io::Error),
    /// The message is longer than [`MAX_MESSAGE`].
    #[error("a message is longer than {MAX_MESSAGE} bytes")]
    TooLong,
    /// The message has another version.
    #[error("a message has version {0}, not {VERSION}")]
    Version(u8),
    /// The message cannot be decoded.
    #[error("a message is malformed: {0}")]
    Malformed(String),
    /// The message carries more descriptors than its type allows.
    #[error("a message carries descriptors that were not asked for")]
    Descriptors,
}

impl ChannelError {
    /// True if the other side broke the protocol; false if it is gone.
    pub fn is_violation(&self) -> bool {
        !matches!(self, Self::HungUp | Self::Unread | Self::Io(_))
    }
}

/// A received message with its descriptors (close-on-exec).
pub type Received<In> = (In, Vec<OwnedFd>);

/// A blocking end, for zygotes and jobs.
#[derive(Debug)]
pub struct Channel<Out, In> {
    socket: OwnedFd,
    kinds: PhantomData<fn(Out) -> In>,
}

/// An asynchronous end, for the supervisor.
#[derive(Debug)]
pub struct AsyncChannel<Out, In> {
    socket: AsyncFd<OwnedFd>,
    kinds: PhantomData<fn(Out) -> In>,
}

/// Make a connected pair: the supervisor's end, and the raw end for a child.
///
/// # Errors
/// The system is out of descriptors or memory.
pub fn pair<Out, In>() -> io::Result<(AsyncChannel<Out, In>, OwnedFd)> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    Ok((AsyncChannel::new(ours)?, theirs))
}

impl<Out, In> AsFd for Channel<Out, In> {
    /// Readable when a message has arrived or the other side has hung up.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<Out: Message + Serialize, In: Message + DeserializeOwned> Channel<Out, In> {
    /// Talk over `socket`, one end of a SOCK_SEQPACKET pair.
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            kinds: PhantomData,
        }
    }

    /// Give up the channel and return its socket, so that it can be moved to another descriptor
    /// number.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Send one message. Blocks until there is room.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn send(&self, message: &Out, descriptors: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        retry_interrupted(|| send(self.socket.as_fd(), message, descriptors, WAIT))
    }

    /// Wait for one message.
    ///
    /// # Errors
    /// See [`ChannelError`]; `HungUp` if the other side is gone.
    pub fn receive(&self) -> Result<Received<In>, ChannelError> {
        match retry_interrupted(|| receive(self.socket.as_fd(), WAIT)) {
            // If the supervisor is gone, it does not matter whether it read our last message.
            Err(ChannelError::Unread) => Err(ChannelError::HungUp),
            result => result,
        }
    }
}

fn retry_interrupted<T>(
    mut call: impl FnMut() -> Result<T, ChannelError>,
) -> Result<T, ChannelError> {
    loop {
        match call() {
            Err(ChannelError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl<Out, In> AsyncChannel<Out, In> {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        // SAFETY: an OwnedFd keeps its descriptor open and unchanged until it is dropped, and
        // nobody takes it out of here.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self {
            socket,
            kinds: PhantomData,
        })
    }
}

impl<Out: Message + Serialize, In: Message + DeserializeOwned> AsyncChannel<Out, In> {
    /// Send one message without waiting. The queue holds several messages, so a child that lets it
    /// fill up is broken.
    ///
    /// # Errors
    /// See [`ChannelError`]; `Io` with `WouldBlock` if the child does not read.
    pub fn send(&self, message: &Out, descriptors: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let socket = self.socket.get_ref().as_fd();
        retry_interrupted(|| send(socket, message, descriptors, MsgFlags::MSG_DONTWAIT))
    }

    /// Wait for one message. Cancel-safe: a message is received whole or not at all.
    ///
    /// # Errors
    /// See [`ChannelError`]; `HungUp` if the child is gone. After `Unread` there may still be
    /// messages that the child sent before it went.
    pub async fn receive(&self) -> Result<Received<In>, ChannelError> {
        loop {
            // Ask the kernel only if the runtime reports readiness or has not seen the end of the
            // queue.
            let mut guard = self.socket.ready(Interest::READABLE).await?;
            let again = guard.try_io(|_| match self.receive_now() {
                Err(ChannelError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    Err(error)
                }
                result => Ok(result),
            });
            if let Ok(result) = again {
                return result?;
            }
        }
    }

    fn receive_now(&self) -> Result<Received<In>, ChannelError> {
        let socket = self.socket.get_ref().as_fd();
        retry_interrupted(|| receive(socket, MsgFlags::MSG_DONTWAIT))
    }
}

thread_local! {
    /// One buffer per thread, not per channel: encoding and decoding never overlap in a thread.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_MESSAGE]);
}

/// Encode `message` into `buffer` as a datagram. Allocates nothing, so a signal handler may call
/// it.
pub(crate) fn encode<'a, M: Serialize>(
    message: &M,
    buffer: &'a mut [u8],
) -> Result<&'a [u8], ChannelError> {
    let (version, body) = buffer.split_first_mut().ok_or(ChannelError::TooLong)?;
    *version = VERSION;
    let length = postcard::to_slice(message, body)
        .map_err(|_| ChannelError::TooLong)?
        .len();
    Ok(&buffer[..=length])
}

fn send<M: Serialize>(
    socket: BorrowedFd<'_>,
    message: &M,
    descriptors: &[BorrowedFd<'_>],
    waiting: MsgFlags,
) -> Result<(), ChannelError> {
    BUFFER.with_borrow_mut(|buffer| {
        let data = [IoSlice::new(encode(message, buffer)?)];
        let raw: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL | waiting;
        match sendmsg::<()>(socket.as_raw_fd(), &data, control, flags, None) {
            Ok(_) => Ok(()),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Err(ChannelError::Unread),
            Err(errno) => Err(ChannelError::Io(errno.into())),
        }
    })
}

fn receive<M: Message + DeserializeOwned>(
    socket: BorrowedFd<'_>,
    waiting: MsgFlags,
) -> Result<Received<M>, ChannelError> {
    const {
        assert!(M::MAX_DESCRIPTORS <= MAX_DESCRIPTORS);
    }
    BUFFER.with_borrow_mut(|buffer| {
        let mut space = cmsg_space!([i32; MAX_DESCRIPTORS]);
        // Without room for control data, the kernel closes passed descriptors and reports it: none
        // is ever installed here.
        let control = (M::MAX_DESCRIPTORS > 0).then_some(space.as_mut_slice());
        let mut data = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | waiting;
        let received = match recvmsg::<()>(socket.as_raw_fd(), &mut data, control, flags) {
            Ok(received) => received,
            // The kernel reports this once, if the other side closed its end with unread messages
            // in it.
            Err(Errno::ECONNRESET) => return Err(ChannelError::Unread),
            Err(errno) => return Err(ChannelError::Io(errno.into())),
        };
        // Take ownership first, so that the error paths below leak nothing.
        let mut descriptors = Vec::new();
        if M::MAX_DESCRIPTORS > 0 {
            let messages = received.cmsgs().map_err(|_| ChannelError::Descriptors)?;
            for message in messages {
                if let ControlMessageOwned::ScmRights(raw) = message {
                    for fd in raw {
                        // SAFETY: the kernel has just installed `fd` in our table for this message;
                        // nobody else has it.
                        descriptors.push(unsafe { OwnedFd::from_raw_fd(fd) });
                    }
                }
            }
        }
        let (length, flags) = (received.bytes, received.flags);
        if flags.contains(MsgFlags::MSG_TRUNC) {
            return Err(ChannelError::TooLong);
        }
        if flags.contains(MsgFlags::MSG_CTRUNC) || descriptors.len() > M::MAX_DESCRIPTORS {
            return Err(ChannelError::Descriptors);
        }
        Ok((decode(&buffer[..length])?, descriptors))
    })
}

/// Decode the message in `datagram`.
pub(crate) fn decode<M: DeserializeOwned>(datagram: &[u8]) -> Result<M, ChannelError> {
    // Our messages are never empty, so an empty read is a hang-up. An empty datagram is treated as
    // one.
    let Some((version, body)) = datagram.split_first() else {
        return Err(ChannelError::HungUp);
    };
    if *version != VERSION {
        return Err(ChannelError::Version(*version));
    }
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(ChannelError::Malformed(format!(
            "{} bytes behind its end",
            rest.len()
        ))),
        Err(error) => Err(ChannelError::Malformed(error.to_string())),
    }
}
