//! A place for one job at a time: its cgroup leaf and its stderr pipe, both reused from job to job.

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
    cgroup::{CgroupError, Leaf, LeafLimits, LeafReader, LeafUsage, Tree},
    delay::Delay,
    footprint::Footprint,
    needs::Company,
    scratch::{Root, Scratch},
};
use crate::events;

/// Most bytes of stderr that are read at once: the capacity of a pipe (pipe(7)).
const MAX_STDERR: u64 = 64 * 1024;

/// Largest capacity in bytes that a job could give its pipe (`/proc/sys/fs/pipe-max-size`).
const MAX_PIPE: u64 = 1024 * 1024;

/// All slots of the service, lent one by one.
#[derive(Clone, Debug)]
pub struct Slots {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tree: Option<Arc<Tree>>,
    pool: Mutex<Pool>,
    /// Folder of the scratch directories, made when first needed.
    scratches: OnceLock<Root>,
}

#[derive(Debug)]
struct Pool {
    free: Vec<Body>,
    /// Number of slots made so far; also the index of the next one.
    made: usize,
    /// Number of slots that may be made; lowered by one for each lost slot.
    limit: usize,
}

/// A slot in use. It returns to its pool when dropped. Do not drop it before its job is reaped.
#[derive(Debug)]
pub struct Slot {
    body: Option<Body>,
    home: Arc<Inner>,
    /// True if it was dropped before with something left in it: then it is lost.
    is_late: bool,
}

#[derive(Debug)]
struct Body {
    index: usize,
    leaf: Option<Leaf>,
    /// Pipe to which jobs write stderr. Both ends are non-blocking: a job that floods it loses its
    /// own lines, and nobody waits.
    stderr_read: File,
    stderr_write: OwnedFd,
    /// Limits of its jobs; a single request can get lower ones.
    limits: Option<LeafLimits>,
    /// Counters of the leaf when the slot was taken or the job's previous request ended. They are
    /// needed because the leaf is older than the job, and the job may be older than its request.
    before: LeafUsage,
    /// True if its job leads a process group, in which other programs can run.
    leads: bool,
    /// Directory to which the engine's program may write, if it has one.
    scratch: Option<Scratch>,
}

/// Resources that one request used in its job. All sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Highest memory use. In a cgroup: everything charged to the job, page cache included. Without
    /// one: resident memory, pages shared with the zygote included. For a job's second and later
    /// requests the peak starts at the previous request only if the kernel can reset `memory.peak`
    /// (Linux 6.12); otherwise it starts at the job's beginning.
    pub peak: u64,
    /// The job's anonymous memory when it answered.
    pub anonymous: u64,
    /// The job's anonymous memory when it was ready for the request. The request left the
    /// difference behind.
    pub began_with: u64,
    /// `memory.max`; `None` if no cgroup confines the job.
    pub limit: Option<u64>,
    /// CPU time that the request used.
    pub cpu: Duration,
    /// Page cache charged to the job when it answered.
    pub page_cache: u64,
    /// Page faults during the request.
    pub page_faults: u64,
    /// Number of the job's processes that the kernel killed for memory.
    pub oom_kills: u64,
}

impl Slots {
    /// Make a pool of at most `limit` slots, in `tree` if there is one. Slots are made when first
    /// needed.
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

    /// Change the number of slots to `limit`. Surplus slots are removed when their jobs end.
    pub fn set_limit(&self, limit: usize) {
        self.inner.pool().limit = limit;
    }

    /// How many slots are lent at this moment.
    #[cfg(test)]
    pub fn lent(&self) -> usize {
        let pool = self.inner.pool();
        pool.made - pool.free.len()
    }

    /// The cgroup tree, if there is one.
    pub fn tree(&self) -> Option<&Arc<Tree>> {
        self.inner.tree.as_ref()
    }

    /// The folder of all scratch directories.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn scratches(&self) -> Result<PathBuf, CgroupError> {
        Ok(self.inner.scratches()?.path().into())
    }

    /// Take a free slot and confine it by `limits`, with a scratch directory if the `company` of
    /// its job needs one; `None` if all slots are in use.
    ///
    /// # Errors
    /// The slot's cgroup cannot be made or confined, or its scratch directory cannot be made.
    pub fn take(&self, limits: LeafLimits, company: Company) -> Result<Option<Slot>, CgroupError> {
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
            body.limits = Some(limits);
            leaf.confine(limits)?;
            leaf.renew()?;
            body.before = leaf.usage()?;
        }
        if let Some(body) = &mut slot.body {
            body.leads = company != Company::None;
            if company == Company::Program {
                let scratch = self.inner.scratches()?.scratch(body.index);
                body.scratch = Some(scratch.map_err(no_scratch)?);
            }
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
        // If two callers get here at once, the second one's folder is removed again.
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
            leads: false,
            scratch: None,
        })
    }
}

impl Slot {
    /// Number of the slot, from 0.
    pub fn index(&self) -> usize {
        self.body.as_ref().map_or(usize::MAX, |body| body.index)
    }

    /// The cgroup in which the slot's job is born.
    pub fn cgroup(&self) -> Option<BorrowedFd<'_>> {
        Some(self.body.as_ref()?.leaf.as_ref()?.directory())
    }

    /// The write end of the job's stderr.
    pub fn stderr(&self) -> Option<BorrowedFd<'_>> {
        Some(self.body.as_ref()?.stderr_write.as_fd())
    }

    /// True if the slot's job leads a process group, in which other programs can run.
    pub(super) fn leads(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.leads)
    }

    /// Directory to which the program of the slot's job may write.
    pub(super) fn scratch(&self) -> Option<&Path> {
        Some(self.body.as_ref()?.scratch.as_ref()?.path())
    }

    /// Hold the slot's job to `limits` until its request is over. They may only be lower than the
    /// slot's. Memory left from earlier requests does not count against this one.
    pub(super) fn lower(&mut self, mut limits: LeafLimits) -> Result<(), CgroupError> {
        if let Some(body) = &mut self.body
            && let (Some(leaf), Some(own)) = (&mut body.leaf, body.limits)
        {
            limits.memory = limits
                .memory
                .map(|memory| memory.saturating_add(body.before.anonymous))
                .min(own.memory);
            leaf.confine(limits)?;
        }
        Ok(())
    }

    /// The request is over: lift the limits that held for it alone, and restart the counters.
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

    /// CPU time used for the current request; `None` without a cgroup.
    pub(super) fn cgroup_cpu(&self) -> Option<Duration> {
        let body = self.body.as_ref()?;
        let now = body.leaf.as_ref()?.cpu().ok()?;
        Some(now.saturating_sub(body.before.cpu))
    }

    /// How long the processes of the slot's job have waited for a CPU; `None` without a cgroup.
    pub(super) fn cgroup_delay(&self) -> Option<Delay> {
        self.body.as_ref()?.leaf.as_ref()?.delay()
    }

    /// Anonymous memory of the slot's job, in bytes; `None` without a cgroup.
    pub(super) fn cgroup_anonymous(&self) -> Option<u64> {
        self.body.as_ref()?.leaf.as_ref()?.anonymous().ok()
    }

    /// A reader of the leaf's use, with the CPU time used before the current request; `None`
    /// without a cgroup.
    pub(super) fn reader(&self) -> Option<(LeafReader, Duration)> {
        let body = self.body.as_ref()?;
        Some((body.leaf.as_ref()?.reader(), body.before.cpu))
    }

    /// Use for the current request as the cgroup counts it; `None` without one.
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

    /// Take at most [`MAX_STDERR`] bytes that the job wrote to stderr since the last call.
    pub fn take_stderr(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Some(body) = &mut self.body {
            // Reading ends with WouldBlock, never with an end of file, because we also hold the
            // write end. A living job may write as fast as we read, hence the limit.
            let mut reader = (&body.stderr_read).take(MAX_STDERR);
            let _ = reader.read_to_end(&mut text);
        }
        text
    }

    /// Return the slot once its job is reaped. Processes that the job left in its cgroup are killed
    /// first.
    pub async fn release(mut self) {
        if let Some(body) = &mut self.body
            && let Some(leaf) = &mut body.leaf
            && let Err(error) = clear(leaf, body.leads).await
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
            // The directory may be full of files, and this thread serves all clients.
            let removed = tokio::task::spawn_blocking(move || scratch.remove()).await;
            if let Ok(Err(error)) = removed {
                tracing::error!("a program's scratch directory cannot be removed: {error}");
            }
        }
        // Discard the last job's output, so that it is not taken for the next one's.
        for _ in 0..MAX_PIPE / MAX_STDERR {
            if self.take_stderr().is_empty() {
                break;
            }
        }
    }

    /// Give the slot up: better one slot less than a job in a cgroup whose state is unknown.
    fn lose(&mut self) {
        if self.body.take().is_some() {
            self.home.pool().limit -= 1;
        }
    }
}

/// If anything still lives in the leaf, kill it and make the leaf again. If the job was the leader
/// of a process group, that was killed already and is only waited for.
async fn clear(leaf: &mut Leaf, leader: bool) -> Result<(), CgroupError> {
    if leader {
        emptied(leaf).await?;
    }
    if !leaf.is_populated()? {
        return Ok(());
    }
    leaf.kill_all()?;
    emptied(leaf).await?;
    leaf.remake()
}

/// Wait for a limited time until nothing lives in the leaf: SIGKILL takes effect asynchronously.
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
            // This function cannot wait until the killed processes are gone.
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
    /// Subtract the counters of `before`. Values that are levels, not counters, stay as they are.
    pub(super) fn since(mut self, before: &Self) -> Self {
        self.cpu = self.cpu.saturating_sub(before.cpu);
        self.page_faults = self.page_faults.saturating_sub(before.page_faults);
        self
    }

    /// Total use of all processes in the group that process `pid` leads, for jobs with a program.
    /// Ended processes count in the process that awaited them.
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

    /// The use of one living process, for jobs without a cgroup.
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
