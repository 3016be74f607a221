//! The supervisor's side of its children: a zygote it can ask for forks, and a job it can give requests.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::{
    fcntl::OFlag,
    sys::signal::{Signal, killpg},
    unistd::{Pid, pipe2},
};
use tokio::{io::unix::AsyncFd, net::unix::pipe, time::timeout_at};

use super::{
    cgroup::{CgroupError, Leaf},
    channel::{self, AsyncChannel, ChannelError},
    exec::exec_self,
    exit::Exit,
    footprint::View,
    gauge::Gauge,
    message::{FromJob, FromZygote, JobRequest, Load, ToJob, ToZygote},
    pidfd::PidFd,
    sandbox::Confinement,
    slot::{Slot, Usage},
};
use crate::config::Limits;

/// Why a zygote does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It cannot be started.
    #[error("cannot start a process: {0}")]
    Start(#[source] io::Error),
    /// It cannot load its model; its own message.
    #[error("{0}")]
    Load(String),
    /// It cannot fork; its own message.
    #[error("the zygote cannot fork a job: {0}")]
    Fork(String),
    /// It ended.
    #[error("the zygote ended: {0}")]
    Ended(String),
    /// It did not answer in time.
    #[error("the zygote did not answer within {0:?}")]
    Silent(Duration),
    /// It broke the protocol.
    #[error("the zygote broke the protocol: {0}")]
    Protocol(String),
}

/// A fork takes microseconds to milliseconds; a zygote that needs longer is stuck.
const FORK_TIMEOUT: Duration = Duration::from_secs(10);

/// A child process, killed and reaped when dropped: nothing that we started outlives its handle.
#[derive(Debug)]
struct Child {
    pid: i32,
    pidfd: AsyncFd<PidFd>,
    /// Whether all that it starts is in its process group, and ends with it.
    leads: bool,
    /// How it ended, once it is reaped.
    exit: Option<Exit>,
}

impl Child {
    fn new(pid: i32, pidfd: PidFd) -> io::Result<Self> {
        Ok(Self {
            pid,
            pidfd: pidfd.watch()?,
            leads: false,
            exit: None,
        })
    }

    fn kill(&self) {
        if let Err(error) = self.pidfd.get_ref().signal(Signal::SIGKILL) {
            tracing::error!(
                pid = self.pid,
                "process {} cannot be killed: {error}",
                self.pid
            );
        }
    }

    /// Kill what a dead process has left behind in its group. It must not be reaped yet: until then its number, which is
    /// also the group's, is nobody else's.
    fn kill_group(&self) {
        if self.leads && self.pidfd.get_ref().has_ended() {
            // There is none if nothing was left, or if it died before it had made one.
            let _ = killpg(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }

    /// Wait for its end and reap it; afterwards give the same answer again. Cancel-safe.
    async fn ended(&mut self) -> io::Result<Exit> {
        loop {
            if let Some(exit) = self.exit {
                return Ok(exit);
            }
            // The kernel is asked only when the descriptor says that there is an answer.
            let mut readable = self.pidfd.readable().await?;
            self.kill_group();
            match self.pidfd.get_ref().try_reap()? {
                Some(exit) => self.exit = Some(exit),
                None => readable.clear_ready(),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit.is_none() {
            self.kill();
            if self.leads {
                let _ = self.pidfd.get_ref().until_ended();
                self.kill_group();
            }
            // A killed process ends in microseconds; a zombie would stay for ever.
            let _ = self.pidfd.get_ref().reap();
        }
    }
}

/// A running zygote.
#[derive(Debug)]
pub struct ZygoteProcess {
    child: Child,
    control: AsyncChannel<ToZygote, FromZygote>,
    /// The jobs that it was asked for and has not told of, the oldest first.
    asked: VecDeque<Asked>,
    /// When it last answered.
    answered: Instant,
}

/// A job that does not exist yet, as far as we know.
#[derive(Debug)]
struct Asked {
    slot: Slot,
    channel: AsyncChannel<ToJob, FromJob>,
    since: Instant,
}

fn unasked() -> ProcessError {
    ProcessError::Protocol("an answer that was not asked for".into())
}

impl ZygoteProcess {
    /// Start a zygote in `leaf` (where there is one), and give the read end of its stderr beside it.
    ///
    /// Must be called from a thread that lives as long as the service: the zygote dies with the thread that made it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(leaf: Option<&Leaf>) -> Result<(Self, pipe::Receiver), ProcessError> {
        let (control, theirs) = channel::pair().map_err(ProcessError::Start)?;
        let (read, write) =
            pipe2(OFlag::O_CLOEXEC).map_err(|errno| ProcessError::Start(errno.into()))?;
        let stderr = pipe::Receiver::from_owned_fd(read).map_err(ProcessError::Start)?;
        let (pid, pidfd) = exec_self(
            "zygote",
            theirs.as_fd(),
            write.as_fd(),
            leaf.map(Leaf::directory),
        )
        .map_err(ProcessError::Start)?;
        let child = Child::new(pid, pidfd).map_err(ProcessError::Start)?;
        let zygote = Self {
            child,
            control,
            asked: VecDeque::new(),
            answered: Instant::now(),
        };
        Ok((zygote, stderr))
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Load the model; gives what the zygote is confined by.
    ///
    /// # Errors
    /// The model cannot be loaded in `timeout`; the zygote is of no use any more.
    pub async fn load(
        &mut self,
        mut load: Load,
        timeout: Duration,
    ) -> Result<Confinement, ProcessError> {
        let secret = load.secret.take();
        let descriptors: Vec<_> = secret.iter().map(AsFd::as_fd).collect();
        let order = ToZygote::Load(load);
        let answer = self.ask(&order, &descriptors, timeout).await?;
        match answer {
            (FromZygote::Loaded(confinement), _) => Ok(confinement),
            (FromZygote::LoadFailed(message), _) => Err(ProcessError::Load(message)),
            _ => Err(unasked()),
        }
    }

    /// Ask for a job in `slot`, `ahead` of its request or for one that waits. It need not wait for those that were asked for
    /// before: [`Self::forked`] gives each in turn.
    ///
    /// # Errors
    /// As [`Self::forked`].
    pub async fn begin_fork(&mut self, slot: Slot, ahead: bool) -> Result<(), ProcessError> {
        let since = Instant::now();
        let (channel, theirs) = channel::pair().map_err(ProcessError::Start)?;
        let stderr = slot
            .stderr()
            .ok_or_else(|| ProcessError::Fork("the slot is gone".into()))?;
        let mut descriptors = vec![theirs.as_fd(), stderr];
        descriptors.extend(slot.cgroup());
        let scratch = slot.scratch().map(PathBuf::from);
        let order = ToZygote::Fork { scratch, ahead };
        if let Err(error) = self.control.send(&order, &descriptors) {
            return Err(self.trouble(error).await);
        }
        self.asked.push_back(Asked {
            slot,
            channel,
            since,
        });
        Ok(())
    }

    /// The next of the jobs that were asked for. Cancel-safe.
    ///
    /// # Errors
    /// No job was made. After anything but [`ProcessError::Fork`] the zygote is of no use any more.
    pub async fn forked(&mut self) -> Result<JobProcess, ProcessError> {
        let Some(since) = self.asked.front().map(|asked| asked.since) else {
            return Err(ProcessError::Protocol("nothing was asked for".into()));
        };
        // Until then it had another one to fork.
        let begin = since.max(self.answered);
        let answer = match timeout_at((begin + FORK_TIMEOUT).into(), self.control.receive()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.trouble(error).await),
            Err(_) => return Err(ProcessError::Silent(FORK_TIMEOUT)),
        };
        self.answered = Instant::now();
        let asked = self.asked.pop_front();
        match (answer, asked) {
            ((FromZygote::Forked { pid }, mut fds), Some(asked)) => {
                let pidfd = fds
                    .pop()
                    .map(PidFd::from)
                    .filter(PidFd::is_own_child)
                    .ok_or_else(|| ProcessError::Protocol("no pidfd of a child of ours".into()))?;
                let mut child = Child::new(pid, pidfd).map_err(ProcessError::Start)?;
                child.leads = asked.slot.scratch().is_some();
                let is_confined = asked.slot.cgroup().is_some();
                Ok(JobProcess {
                    child,
                    channel: asked.channel,
                    slot: asked.slot,
                    view: (!is_confined).then(|| View::of(pid)).flatten(),
                    before: Usage::default(),
                    began_with: 0,
                    is_used: false,
                    asked: asked.since,
                })
            }
            ((FromZygote::ForkFailed(message), _), _) => Err(ProcessError::Fork(message)),
            _ => Err(unasked()),
        }
    }

    async fn ask(
        &mut self,
        question: &ToZygote,
        descriptors: &[BorrowedFd<'_>],
        timeout: Duration,
    ) -> Result<channel::Received<FromZygote>, ProcessError> {
        let exchange = async {
            self.control.send(question, descriptors)?;
            self.control.receive().await
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.trouble(error).await),
            Err(_) => Err(ProcessError::Silent(timeout)),
        }
    }

    /// What it means that its channel failed.
    async fn trouble(&mut self, error: ChannelError) -> ProcessError {
        match error {
            ChannelError::HungUp | ChannelError::Unread => self.ended().await,
            ChannelError::Io(error) => ProcessError::Start(error),
            violation => ProcessError::Protocol(violation.to_string()),
        }
    }

    /// Wait until the zygote ends, which it never does by itself, and say how it did. Cancel-safe.
    pub async fn ended(&mut self) -> ProcessError {
        ProcessError::Ended(match self.child.ended().await {
            Ok(exit) => exit.how.to_string(),
            Err(error) => error.to_string(),
        })
    }
}

/// A forked job in its slot.
#[derive(Debug)]
pub struct JobProcess {
    child: Child,
    channel: AsyncChannel<ToJob, FromJob>,
    slot: Slot,
    /// Without a cgroup: what tells how much it uses.
    view: Option<View>,
    /// Without a cgroup: what it had used when it was done with the request before.
    before: Usage,
    /// Anonymous memory that it had before its request, in bytes.
    began_with: u64,
    /// Whether it was ever given a request.
    is_used: bool,
    asked: Instant,
}

impl JobProcess {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Since its zygote was asked for it.
    pub fn age(&self) -> Duration {
        self.asked.elapsed()
    }

    /// Where it runs.
    pub fn slot(&mut self) -> &mut Slot {
        &mut self.slot
    }

    /// Whether it was given a request before: it begins the next one with [`FromJob::Taken`] then.
    pub fn is_used(&self) -> bool {
        self.is_used
    }

    /// Give it a request, with the recording. Not before it is done with the one before.
    ///
    /// # Errors
    /// It has gone, or does not read.
    pub fn assign(
        &mut self,
        request: JobRequest,
        recording: BorrowedFd<'_>,
    ) -> Result<(), ChannelError> {
        self.is_used = true;
        self.channel.send(&ToJob::Transcribe(request), &[recording])
    }

    /// Its next message. Cancel-safe.
    ///
    /// # Errors
    /// It has hung up, or broke the protocol.
    pub async fn receive(&self) -> Result<FromJob, ChannelError> {
        Ok(self.channel.receive().await?.0)
    }

    /// It is ready for its first request: what memory it has by now is not that request's.
    pub fn begin(&mut self) {
        let of_process = || match self.child.leads {
            true => Some(self.process_usage()?.anonymous),
            false => self.view.as_ref()?.anonymous(),
        };
        let anonymous = self.slot.cgroup_anonymous().or_else(of_process);
        self.began_with = anonymous.unwrap_or_default();
    }

    /// Its request is over and it is to serve another one: lift what this one alone was held to, and count from here.
    ///
    /// # Errors
    /// Its cgroup cannot be written or read: it must not go on.
    pub fn settle(&mut self) -> Result<(), CgroupError> {
        if self.slot.cgroup().is_none() {
            self.before = self.process_usage().unwrap_or_default();
        }
        self.slot.settle()?;
        self.begin();
        Ok(())
    }

    /// What it has used for its request so far, or altogether once it is reaped. Counted from the end of the request
    /// before, or from its own beginning.
    pub fn usage(&self) -> Usage {
        let usage = self.slot.cgroup_usage().unwrap_or_else(|| {
            let usage = match self.child.exit {
                Some(exit) => Usage {
                    peak: exit.peak_resident,
                    cpu: exit.cpu,
                    ..Usage::default()
                },
                None => self.process_usage().unwrap_or_default(),
            };
            usage.since(&self.before)
        });
        Usage {
            began_with: self.began_with,
            ..usage
        }
    }

    /// What it has used altogether, with its group if it leads one; `None` once it is reaped, and where `/proc` does not
    /// show it.
    fn process_usage(&self) -> Option<Usage> {
        let own = self.view.as_ref()?.read()?;
        match self.child.leads {
            true => Usage::of_group(self.child.pid, own),
            false => Some(Usage::of_process(own)),
        }
    }

    /// Something that reads what it uses for the request that it has or gets next, for as long as it lives.
    pub fn gauge(&self) -> Gauge {
        match self.slot.reader() {
            Some((leaf, before)) => Gauge::new(self.child.pid, Some(leaf), before),
            None => Gauge::new(self.child.pid, None, self.before.cpu),
        }
    }

    /// CPU time that it has used for its request so far; `None` if nobody knows.
    pub fn cpu(&self) -> Option<Duration> {
        let of_process = || Some(self.process_usage()?.since(&self.before).cpu);
        self.slot.cgroup_cpu().or_else(of_process)
    }

    /// Hold it to `limits`, which may only be lower than its slot's, until its request is over.
    ///
    /// # Errors
    /// Its cgroup cannot be written.
    pub fn lower(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        self.slot.lower(limits)
    }

    /// Kill it, whatever it does.
    pub fn kill(&self) {
        self.child.kill();
    }

    /// Wait for its end and reap it; afterwards give the same answer again. Cancel-safe.
    ///
    /// # Errors
    /// It is no child of ours any more.
    pub async fn ended(&mut self) -> io::Result<Exit> {
        self.child.ended().await
    }

    /// Hang up, which ends a job that has answered, and give back its process and its slot.
    /// A job that does not go within `grace` is killed.
    pub async fn dismiss(self, grace: Duration) {
        let Self {
            mut child,
            channel,
            slot,
            ..
        } = self;
        drop(channel);
        if tokio::time::timeout(grace, child.ended()).await.is_err() {
            child.kill();
            let _ = child.ended().await;
        }
        drop(child);
        slot.release().await;
    }
}
