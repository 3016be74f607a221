//! A place for one job at a time: its cgroup leaf and its stderr, both reused from job to job.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use nix::{fcntl::OFlag, unistd::pipe2};

use super::{
    cgroup::{CPU_PERIOD, CgroupError, Leaf, LeafLimits, LeafReader, LeafUsage, Tree},
    footprint::Footprint,
    scratch::{Root, Scratch},
};
use crate::{config::Limits, events};

/// Most bytes of stderr that are taken at once: what a pipe holds (pipe(7)).
const MAX_STDERR: u64 = 64 * 1024;

/// The largest that a job could make its pipe (`/proc/sys/fs/pipe-max-size`).
const MAX_PIPE: u64 = 1024 * 1024;

/// All slots of the service, lent out one by one.
#[derive(Clone, Debug)]
pub struct Slots {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tree: Option<Arc<Tree>>,
    pool: Mutex<Pool>,
    /// Where scratch directories are, once one was needed.
    scratches: OnceLock<Root>,
}

#[derive(Debug)]
struct Pool {
    free: Vec<Body>,
    /// Slots made so far; also the index of the next one.
    made: usize,
    /// Slots that may be made; one less for each that was lost.
    limit: usize,
}

/// One slot, in use. It goes back to its pool when dropped, which must not happen before its job was reaped.
#[derive(Debug)]
pub struct Slot {
    body: Option<Body>,
    home: Arc<Inner>,
    /// Whether it was dropped before with something left in it: then it is lost.
    is_late: bool,
}

#[derive(Debug)]
struct Body {
    index: usize,
    leaf: Option<Leaf>,
    /// What jobs write to stderr. Non-blocking on both ends: a job that floods it loses its own lines, nobody waits.
    stderr_read: File,
    stderr_write: OwnedFd,
    /// What its jobs may use; a single request can be held to less.
    limits: Option<LeafLimits>,
    /// Counters of the leaf when the slot was taken, or when its job was done with the request before: the leaf is older
    /// than the job, and the job may be older than its request.
    before: LeafUsage,
    /// Where the job's program may write, if it has one.
    scratch: Option<Scratch>,
}

/// What one request used of its job. All sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Highest use of memory. In a cgroup: everything charged to the job, page cache included; without one: resident
    /// memory, pages shared with the zygote included. Of a job's second and later requests it is the highest since the
    /// request before only where the kernel resets `memory.peak` (Linux 6.12); elsewhere, since the job began.
    pub peak: u64,
    /// Anonymous memory of its own when it answered.
    pub anonymous: u64,
    /// The same when its job was ready for the request: what is more at the end, the request left behind.
    pub began_with: u64,
    /// `memory.max`; `None` where no cgroup confines the job.
    pub limit: Option<u64>,
    /// CPU time.
    pub cpu: Duration,
    /// Page cache charged to it when it answered.
    pub page_cache: u64,
    /// Page faults.
    pub page_faults: u64,
    /// Processes of the job that the kernel killed for memory.
    pub oom_kills: u64,
}

/// A model's limits as a leaf enforces them.
fn leaf_limits(limits: &Limits) -> LeafLimits {
    let quota = limits.cpus * CPU_PERIOD as f64;
    LeafLimits {
        memory: Some(limits.memory.bytes()),
        pids: limits.pids,
        cpu_weight: limits.cpu_weight,
        cpu_quota: (limits.cpus > 0.0).then_some(quota as u64),
    }
}

impl Slots {
    /// At most `limit` slots, made when first needed, in `tree` where there is one.
    pub fn new(tree: Option<Arc<Tree>>, limit: usize) -> Self {
        let pool = Mutex::new(Pool {
            free: Vec::new(),
            made: 0,
            limit,
        });
        Self {
            inner: Arc::new(Inner {
                tree,
                pool,
                scratches: OnceLock::new(),
            }),
        }
    }

    /// At most `limit` slots from now on; those that are more go when their jobs end.
    pub fn set_limit(&self, limit: usize) {
        self.inner.pool().limit = limit;
    }

    /// The cgroup tree, where there is one.
    pub fn tree(&self) -> Option<&Arc<Tree>> {
        self.inner.tree.as_ref()
    }

    /// The folder in which all scratch directories are.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn scratches(&self) -> Result<PathBuf, CgroupError> {
        Ok(self.inner.scratches()?.path().into())
    }

    /// Take a free slot and confine it by `limits`, with a scratch directory if its job has a `program`; `None` when all
    /// are in use.
    ///
    /// # Errors
    /// The slot's cgroup cannot be made or confined, or its scratch directory cannot be made.
    pub fn take(&self, limits: &Limits, program: bool) -> Result<Option<Slot>, CgroupError> {
        let body = {
            let mut pool = self.inner.pool();
            match pool.free.pop() {
                Some(body) => body,
                None if pool.made < pool.limit => {
                    let body = Body::make(pool.made, self.inner.tree.as_deref())?;
                    pool.made += 1;
                    body
                }
                None => return Ok(None),
            }
        };
        let mut slot = Slot {
            body: Some(body),
            home: self.inner.clone(),
            is_late: false,
        };
        if let Some(body) = &mut slot.body
            && let Some(leaf) = &mut body.leaf
        {
            let limits = leaf_limits(limits);
            body.limits = Some(limits);
            leaf.confine(limits)?;
            leaf.renew()?;
            body.before = leaf.usage()?;
        }
        if let Some(body) = &mut slot.body
            && program
        {
            let scratch = self.inner.scratches()?.scratch(body.index);
            body.scratch = Some(scratch.map_err(no_scratch)?);
        }
        Ok(Some(slot))
    }
}

fn no_scratch(source: io::Error) -> CgroupError {
    CgroupError::File {
        action: "make a scratch directory for a program in",
        path: "$RUNTIME_DIRECTORY or $TMPDIR".into(),
        source,
    }
}

impl Inner {
    fn scratches(&self) -> Result<&Root, CgroupError> {
        if let Some(root) = self.scratches.get() {
            return Ok(root);
        }
        // Whoever comes second at the same moment has made one for nothing, which is removed again.
        let made = Root::make().map_err(no_scratch)?;
        Ok(self.scratches.get_or_init(|| made))
    }

    fn pool(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body {
    fn make(index: usize, tree: Option<&Tree>) -> Result<Self, CgroupError> {
        let leaf = tree
            .map(|tree| tree.leaf(&format!("job-{index}")))
            .transpose()?;
        let (read, write) =
            pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(|errno| CgroupError::File {
                action: "make a pipe for the stderr of",
                path: format!("job-{index}").into(),
                source: errno.into(),
            })?;
        Ok(Self {
            index,
            leaf,
            stderr_read: read.into(),
            stderr_write: write,
            limits: None,
            before: LeafUsage::default(),
            scratch: None,
        })
    }
}

impl Slot {
    /// Number of the slot, from 0.
    pub fn index(&self) -> usize {
        self.body.as_ref().map_or(usize::MAX, |body| body.index)
    }

    /// The cgroup in which a job of this slot is born.
    pub fn cgroup(&self) -> Option<BorrowedFd<'_>> {
        Some(self.body.as_ref()?.leaf.as_ref()?.directory())
    }

    /// The write end of the job's stderr.
    pub fn stderr(&self) -> Option<BorrowedFd<'_>> {
        Some(self.body.as_ref()?.stderr_write.as_fd())
    }

    /// Where the program of the job that is here may write.
    pub(super) fn scratch(&self) -> Option<&Path> {
        Some(self.body.as_ref()?.scratch.as_ref()?.path())
    }

    /// Hold the job that is here to `limits`, which may only be lower than what the slot was taken with, until its request
    /// is over. What the job has left from requests before is not held against this one.
    pub(super) fn lower(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        if let Some(body) = &mut self.body
            && let (Some(leaf), Some(own)) = (&mut body.leaf, body.limits)
        {
            let mut lowered = leaf_limits(limits);
            lowered.memory = lowered
                .memory
                .map(|memory| memory.saturating_add(body.before.anonymous))
                .min(own.memory);
            leaf.confine(lowered)?;
        }
        Ok(())
    }

    /// The job's request is over: lift what it alone was held to, and count from here.
    pub(super) fn settle(&mut self) -> Result<(), CgroupError> {
        if let Some(body) = &mut self.body
            && let (Some(leaf), Some(limits)) = (&mut body.leaf, body.limits)
        {
            leaf.confine(limits)?;
            leaf.resets_peak();
            body.before = leaf.usage()?;
        }
        Ok(())
    }

    /// CPU time that the job used for its request so far; `None` without a cgroup.
    pub(super) fn cgroup_cpu(&self) -> Option<Duration> {
        let body = self.body.as_ref()?;
        let now = body.leaf.as_ref()?.cpu().ok()?;
        Some(now.saturating_sub(body.before.cpu))
    }

    /// Anonymous memory of the job that is here, in bytes; `None` without a cgroup.
    pub(super) fn cgroup_anonymous(&self) -> Option<u64> {
        self.body.as_ref()?.leaf.as_ref()?.anonymous().ok()
    }

    /// Something that reads what is used here, and the CPU time that was used before the job's request; `None` without a
    /// cgroup.
    pub(super) fn reader(&self) -> Option<(LeafReader, Duration)> {
        let body = self.body.as_ref()?;
        Some((body.leaf.as_ref()?.reader(), body.before.cpu))
    }

    /// What the job used for its request so far, as its cgroup counts it; `None` without one.
    pub(super) fn cgroup_usage(&self) -> Option<Usage> {
        let body = self.body.as_ref()?;
        let leaf = body.leaf.as_ref()?;
        let now = leaf.usage().ok()?;
        Some(Usage {
            peak: now.peak,
            anonymous: now.anonymous,
            began_with: 0,
            limit: leaf.limits().and_then(|limits| limits.memory),
            page_cache: now.page_cache,
            page_faults: now.page_faults.saturating_sub(body.before.page_faults),
            cpu: now.cpu.saturating_sub(body.before.cpu),
            oom_kills: now.oom_kills.saturating_sub(body.before.oom_kills),
        })
    }

    /// What the job wrote to stderr since the last call, at most [`MAX_STDERR`] bytes of it.
    pub fn take_stderr(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Some(body) = &mut self.body {
            // Ends with WouldBlock: the write end is ours, too, so there is never an end of file. A job that lives may
            // write as fast as we read: hence the limit.
            let mut reader = (&body.stderr_read).take(MAX_STDERR);
            let _ = reader.read_to_end(&mut text);
        }
        text
    }

    /// Give the slot back once its job is reaped; whatever the job left behind in its cgroup is killed first.
    pub async fn release(mut self) {
        if let Some(body) = &mut self.body
            && let Some(leaf) = &mut body.leaf
            && let Err(error) = clear(leaf, body.scratch.is_some()).await
        {
            let slot = body.index;
            tracing::error!(
                target: events::SLOT_LOST,
                slot,
                "slot {slot} is lost, its cgroup cannot be cleared: {error}"
            );
            self.lose();
        }
        if let Some(scratch) = self.body.as_mut().and_then(|body| body.scratch.take()) {
            // It may be full of files, and this thread serves everybody.
            let removed = tokio::task::spawn_blocking(move || scratch.remove()).await;
            if let Ok(Err(error)) = removed {
                tracing::error!("a program's scratch directory cannot be removed: {error}");
            }
        }
        // What the last job still wrote is not the next one's.
        for _ in 0..MAX_PIPE / MAX_STDERR {
            if self.take_stderr().is_empty() {
                break;
            }
        }
    }

    /// Better a slot less than a job in a cgroup that is not what it seems.
    fn lose(&mut self) {
        if self.body.take().is_some() {
            self.home.pool().limit -= 1;
        }
    }
}

/// Kill what still lives in the leaf, if anything, and make it anew then. A `program` was killed already with all that it
/// had started, and is only waited for.
async fn clear(leaf: &mut Leaf, program: bool) -> Result<(), CgroupError> {
    if program {
        emptied(leaf).await?;
    }
    if !leaf.is_populated()? {
        return Ok(());
    }
    leaf.kill_all()?;
    emptied(leaf).await?;
    leaf.remake()
}

/// Wait for a while until nothing lives in the leaf: SIGKILL takes effect asynchronously.
async fn emptied(leaf: &Leaf) -> Result<(), CgroupError> {
    let mut pause = Duration::from_micros(50);
    while leaf.is_populated()? && pause < Duration::from_secs(1) {
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Ok(())
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take() else {
            return;
        };
        let is_populated = |leaf: &Leaf| leaf.is_populated().unwrap_or(true);
        let is_populated = body.leaf.as_ref().is_some_and(is_populated);
        let runtime = tokio::runtime::Handle::try_current();
        if is_populated
            && !self.is_late
            && let Ok(runtime) = runtime
        {
            // Nobody can wait here until what was killed is gone.
            let late = Self {
                body: Some(body),
                home: self.home.clone(),
                is_late: true,
            };
            runtime.spawn(late.release());
        } else if is_populated {
            self.body = Some(body);
            self.lose();
        } else {
            if let Some(Err(error)) = body.scratch.take().map(Scratch::remove) {
                tracing::error!("a program's scratch directory cannot be removed: {error}");
            }
            self.home.pool().free.push(body);
        }
    }
}

impl Usage {
    /// Without what was counted `before`. What is a level and no counter stays as it is.
    pub(super) fn since(mut self, before: &Self) -> Self {
        self.cpu = self.cpu.saturating_sub(before.cpu);
        self.page_faults = self.page_faults.saturating_sub(before.page_faults);
        self
    }

    /// The same of all processes of the group that the process `pid` leads, for jobs with a program. What has ended already
    /// counts with whoever awaited it.
    pub(super) fn of_group(pid: i32, leader: Footprint) -> Option<Self> {
        let mut all = Self::of_process(leader);
        let ticks = u32::try_from(procfs::ticks_per_second()).ok()?;
        let processes = procfs::process::all_processes().ok()?;
        for process in processes.filter_map(Result::ok) {
            let Ok(stat) = process.stat() else { continue };
            if stat.pgrp != pid {
                continue;
            }
            let awaited = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
            let mut more = awaited;
            if stat.pid != pid {
                more += stat.utime + stat.stime;
                all.peak += stat.rss * procfs::page_size();
                all.anonymous += stat.rss * procfs::page_size();
                all.page_faults += stat.minflt + stat.majflt;
            }
            all.cpu += Duration::from_secs(more) / ticks;
        }
        Some(all)
    }

    /// What the figures of one living process come to, for jobs without a cgroup.
    pub(super) fn of_process(process: Footprint) -> Self {
        Self {
            peak: process.peak,
            anonymous: process.anonymous,
            cpu: process.cpu,
            page_faults: process.page_faults,
            ..Self::default()
        }
    }
}
