//! The supervisor's side of its children: a zygote that forks on request, and a job that takes
//! requests.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    time::Duration,
};

use nix::{fcntl::OFlag, unistd::pipe2};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    net::unix::pipe,
    time::{Instant, timeout_at},
};

use super::{
    cgroup::{CgroupError, Leaf, LeafLimits},
    channel::{self, AsyncChannel, ChannelError, Message},
    child::Child,
    delay::Delay,
    exec::exec_self,
    exit::Exit,
    footprint::View,
    gauge::Gauge,
    message::{FromZygote, Load, ToZygote},
    pidfd::PidFd,
    sandbox::Confinement,
    slot::{Slot, Usage},
};

/// Reasons why a zygote does not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The process cannot be started.
    #[error("cannot start a process: {0}")]
    Start(#[source] io::Error),
    /// The zygote cannot load its model; holds its own message.
    #[error("{0}")]
    Load(String),
    /// The zygote cannot fork; holds its own message.
    #[error("the zygote cannot fork a job: {0}")]
    Fork(String),
    /// The zygote ended without being asked to.
    #[error("the zygote ended: {0}")]
    Ended(String),
    /// The zygote did not answer in time.
    #[error("the zygote did not answer within {0:?}")]
    Silent(Duration),
    /// The zygote broke the protocol.
    #[error("the zygote broke the protocol: {0}")]
    Protocol(String),
}

/// Longest wait for a fork, which takes microseconds to milliseconds. A zygote that needs longer is
/// stuck.
const FORK_TIMEOUT: Duration = Duration::from_secs(10);

/// A running zygote, with the forks requested of it.
#[derive(Debug)]
pub struct ZygoteProcess<Out, In> {
    child: Child,
    control: AsyncChannel<ToZygote, FromZygote>,
    /// The requested jobs that it has not reported yet, the oldest first.
    asked: VecDeque<Asked<Out, In>>,
    /// Time of its last answer.
    answered: Instant,
}

/// A requested job that the zygote has not reported yet.
#[derive(Debug)]
struct Asked<Out, In> {
    slot: Slot,
    channel: AsyncChannel<Out, In>,
    since: Instant,
}

fn unasked() -> ProcessError {
    ProcessError::Protocol("an answer that was not asked for".into())
}

impl<Out, In> ZygoteProcess<Out, In>
where
    Out: Message + Serialize,
    In: Message + DeserializeOwned,
{
    /// Start a zygote, in `leaf` if there is one. Also returns the read end of its stderr.
    ///
    /// Call it from a thread that lives as long as the service: the zygote dies with the thread
    /// that made it.
    ///
    /// # Errors
    /// The zygote cannot be started.
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

    /// Process id of the zygote.
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Load the model; returns the zygote's confinement.
    ///
    /// # Errors
    /// The model cannot be loaded within `timeout`; do not use the zygote any more.
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

    /// Ask for a job in `slot`: `ahead` of its request, or for a request that waits. Several forks
    /// may be requested at once; [`Self::forked`] returns the jobs in the same order.
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

    /// The next of the requested jobs. Cancel-safe.
    ///
    /// # Errors
    /// No job was made. After any error but [`ProcessError::Fork`] the zygote cannot be used any
    /// more.
    pub async fn forked(&mut self) -> Result<JobProcess<Out, In>, ProcessError> {
        let Some(since) = self.asked.front().map(|asked| asked.since) else {
            return Err(ProcessError::Protocol("nothing was asked for".into()));
        };
        // Until its last answer the zygote had another job to fork.
        let begin = since.max(self.answered);
        let answer = match timeout_at(begin + FORK_TIMEOUT, self.control.receive()).await {
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
                child.leads = asked.slot.leads();
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

    /// The error that a failure of its channel means.
    async fn trouble(&mut self, error: ChannelError) -> ProcessError {
        match error {
            ChannelError::HungUp | ChannelError::Unread => self.ended().await,
            ChannelError::Io(error) => ProcessError::Start(error),
            violation => ProcessError::Protocol(violation.to_string()),
        }
    }

    /// Wait until the zygote ends, which it never does by itself, and return how. Cancel-safe.
    pub async fn ended(&mut self) -> ProcessError {
        ProcessError::Ended(match self.child.ended().await {
            Ok(exit) => exit.how.to_string(),
            Err(error) => error.to_string(),
        })
    }
}

/// A forked job in its slot.
#[derive(Debug)]
pub struct JobProcess<Out, In> {
    child: Child,
    channel: AsyncChannel<Out, In>,
    slot: Slot,
    /// Without a cgroup: reads the use of the process.
    view: Option<View>,
    /// Without a cgroup: its use when the previous request was over.
    before: Usage,
    /// Anonymous memory before its request, in bytes.
    began_with: u64,
    /// True once it was given a request.
    is_used: bool,
    asked: Instant,
}

impl<Out, In> JobProcess<Out, In>
where
    Out: Message + Serialize,
    In: Message + DeserializeOwned,
{
    /// Process id of the job.
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Time since its zygote was asked for it.
    pub fn age(&self) -> Duration {
        self.asked.elapsed()
    }

    /// The slot in which the job runs.
    pub fn slot(&mut self) -> &mut Slot {
        &mut self.slot
    }

    /// True if the job was given a request before: it is not fresh any more.
    pub fn is_used(&self) -> bool {
        self.is_used
    }

    /// Give the job a request with its recording. The previous request must be over.
    ///
    /// # Errors
    /// The job is gone, or does not read.
    pub fn assign(&mut self, order: &Out, recording: BorrowedFd<'_>) -> Result<(), ChannelError> {
        self.is_used = true;
        self.channel.send(order, &[recording])
    }

    /// The job's next message. Cancel-safe.
    ///
    /// # Errors
    /// The job has hung up, or broke the protocol.
    pub async fn receive(&self) -> Result<In, ChannelError> {
        Ok(self.channel.receive().await?.0)
    }

    /// The job is ready for its first request: memory that it has by now does not count for that
    /// request.
    pub fn begin(&mut self) {
        let of_process = || {
            if self.child.leads {
                Some(self.process_usage()?.anonymous)
            } else {
                self.view.as_ref()?.anonymous()
            }
        };
        let anonymous = self.slot.cgroup_anonymous().or_else(of_process);
        self.began_with = anonymous.unwrap_or_default();
    }

    /// The request is over and the job will serve another: lift the limits that held for this
    /// request alone, and restart the counters.
    ///
    /// # Errors
    /// Its cgroup cannot be written or read; the job must not continue.
    pub fn settle(&mut self) -> Result<(), CgroupError> {
        if self.slot.cgroup().is_none() {
            self.before = self.process_usage().unwrap_or_default();
        }
        self.slot.settle()?;
        self.begin();
        Ok(())
    }

    /// Use so far; final once the job is reaped. Counts from the end of the previous request, or
    /// from the job's beginning.
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

    /// Total use of the job, with its process group if it leads one. `None` once it is reaped, or
    /// if `/proc` does not show it.
    fn process_usage(&self) -> Option<Usage> {
        #[cfg(test)]
        if let Some(simulated) = super::simulated::footprint(self.child.pid) {
            return Some(Usage::of_process(simulated));
        }
        let own = self.view.as_ref()?.read()?;
        if self.child.leads {
            Usage::of_group(self.child.pid, own)
        } else {
            Some(Usage::of_process(own))
        }
    }

    /// A handle that samples this job's usage for its current or next request; valid while the job
    /// lives.
    pub fn gauge(&self) -> Gauge {
        match self.slot.reader() {
            Some((leaf, before)) => Gauge::new(self.child.pid, Some(leaf), before),
            None => Gauge::new(self.child.pid, None, self.before.cpu),
        }
    }

    /// CPU time used for the current request; `None` if it is unknown.
    pub fn cpu(&self) -> Option<Duration> {
        let of_process = || Some(self.process_usage()?.since(&self.before).cpu);
        self.slot.cgroup_cpu().or_else(of_process)
    }

    /// How long the job, with all processes that it started, has waited for a CPU since it began;
    /// `None` if it is unknown. Reads several files.
    pub fn delay(&self) -> Option<Delay> {
        let of_process = || match self.child.leads {
            true => Delay::of_group(self.child.pid),
            false => Delay::of_process(self.child.pid),
        };
        self.slot.cgroup_delay().or_else(of_process)
    }

    /// Hold the job to `limits` until its request is over. They may only be lower than its slot's.
    ///
    /// # Errors
    /// Its cgroup cannot be written.
    pub fn lower(&mut self, limits: LeafLimits) -> Result<(), CgroupError> {
        self.slot.lower(limits)
    }

    /// Kill the job with SIGKILL.
    pub fn kill(&self) {
        self.child.kill();
    }

    /// Wait for the end of the job and reap it; later calls return the same answer. Cancel-safe.
    ///
    /// # Errors
    /// The job is not our child any more.
    pub async fn ended(&mut self) -> io::Result<Exit> {
        self.child.ended().await
    }

    /// Hang up, so that a job that has answered exits, then release its process and slot. A job
    /// that does not exit within `grace` is killed.
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
