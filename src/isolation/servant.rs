//! A confined process of this binary that works for the supervisor beside all jobs, for as long as
//! it is needed. It reads nothing but the messages that it is sent.

use std::{
    io::{self, Read as _},
    os::fd::AsFd,
};

use nix::{
    fcntl::OFlag,
    sys::{prctl, signal::Signal},
    unistd::pipe2,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    cgroup::Leaf,
    channel::{self, AsyncChannel, Channel, ChannelError, Message},
    child::Child,
    exec::exec_self,
    needs::Needs,
    sandbox::{Sandbox, report_to_supervisor},
    zygote::{set_name, take_stdin},
};

/// Most bytes of its stderr that are kept for the log.
const MAX_WORDS: u64 = 1024;

/// A running servant, as its supervisor holds it. Dropping it kills the process.
#[derive(Debug)]
pub struct Servant<Out, In> {
    child: Child,
    channel: AsyncChannel<Out, In>,
    stderr: std::fs::File,
}

impl<Out, In> Servant<Out, In>
where
    Out: Message + Serialize,
    In: Message + DeserializeOwned,
{
    /// Start this binary as `stt-isolated <command>`, in `leaf` if there is one.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start(command: &str, leaf: Option<&Leaf>) -> io::Result<Self> {
        let (channel, theirs) = channel::pair()?;
        // Neither side waits: a servant that fills the pipe loses its words.
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let directory = leaf.map(Leaf::directory);
        let (pid, pidfd) = exec_self(command, theirs.as_fd(), write.as_fd(), directory)?;
        Ok(Self {
            child: Child::new(pid, pidfd)?,
            channel,
            stderr: read.into(),
        })
    }

    /// Process id of the servant.
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Send one message without waiting. The queue holds several messages.
    ///
    /// # Errors
    /// The servant is gone or does not read.
    pub fn send(&self, message: &Out) -> Result<(), ChannelError> {
        self.channel.send(message, &[])
    }

    /// The servant's next message. Cancel-safe.
    ///
    /// # Errors
    /// The servant has hung up, or broke the protocol.
    pub async fn receive(&self) -> Result<In, ChannelError> {
        Ok(self.channel.receive().await?.0)
    }

    /// Kill it, and say how it ended and the last that it wrote to stderr, which is untrusted text.
    pub async fn end(mut self) -> String {
        // If it has ended by itself, this changes nothing.
        self.child.kill();
        let how = match self.child.ended().await {
            Ok(exit) => exit.how.to_string(),
            Err(error) => error.to_string(),
        };
        let mut words = Vec::new();
        let _ = (&self.stderr).take(MAX_WORDS).read_to_end(&mut words);
        let words = String::from_utf8_lossy(&words);
        match words.lines().next_back() {
            Some(last) => format!("{how}; its last words: {}", last.escape_debug()),
            None => how,
        }
    }
}

/// The work of a servant.
pub trait Duty {
    /// A message from the supervisor to the servant.
    type Order: Message + Serialize + DeserializeOwned;
    /// A message from the servant to the supervisor.
    type Answer: Message + Serialize + DeserializeOwned;

    /// The name that `ps` shows.
    const NAME: &str;

    /// The message by which the servant says that it was stopped at the forbidden system call with
    /// this number (`u32::MAX` if it is unknown). Called in a signal handler: it must not allocate.
    fn violation(call: u32) -> Self::Answer;
}

/// In the servant itself: give up every right that a job does not have, and return its channel.
/// Call it first in the process, while that has one thread.
///
/// # Errors
/// A supervisor did not start this process, or it cannot be confined.
pub fn enter<D: Duty>() -> io::Result<Channel<D::Answer, D::Order>> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let channel = take_stdin()?;
    set_name(D::NAME)?;
    let mut sandbox = Sandbox::enter(&Needs::default(), None, None).map_err(io::Error::other)?;
    sandbox.loaded().map_err(io::Error::other)?;
    sandbox.check().map_err(io::Error::other)?;
    report_to_supervisor(|call, buffer| channel::encode(&D::violation(call), buffer).ok());
    sandbox.enter_domain()?;
    sandbox.enter_job()?;
    Ok(channel)
}
