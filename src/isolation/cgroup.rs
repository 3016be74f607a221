//! The delegated part of the cgroup tree: the only place that writes cgroup files.
//!
//! ```text
//! <the unit's cgroup>       empty once we have moved; systemd owns its limits
//!   supervisor/             this process
//!   zygote-<model>/         one zygote
//!   servant-<name>/         one process that works beside all jobs
//!   job-<slot>/             one job at a time
//! ```

use std::{
    fs,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::{
    fcntl::{OFlag, open},
    sys::stat::Mode,
};
use procfs::process::Process;

use super::{delay::Delay, kernel_file};

/// Controllers that the tree must have: without them a job cannot be confined.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// Name of the leaf in which the supervisor lives.
const SUPERVISOR: &str = "supervisor";

/// Reasons why the cgroup tree cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// `/proc` does not say which cgroup we are in.
    #[error("cannot find the service's own cgroup: {0}")]
    Find(String),
    /// The tree was not delegated to us.
    #[error(
        "the cgroup {path} is not delegated to this service ({reason}); start it by systemd with `Delegate=yes` \
         (systemctl start stt-isolated, or systemd-run --user -p Delegate=yes)"
    )]
    NotDelegated {
        /// Directory of the cgroup.
        path: PathBuf,
        /// The missing permission, file or controller.
        reason: String,
    },
    /// A cgroup file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// The failed action as a verb: "read", "write".
        action: &'static str,
        /// Path of the file or directory.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
}

/// The part of the tree that was delegated to us.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Find the delegated subtree and move this process into its leaf `supervisor`, unless systemd
    /// did so (`DelegateSubgroup=`). Then enable the controllers for the leaf's siblings and remove
    /// the leaves of an earlier run.
    ///
    /// # Errors
    /// cgroup v2, the delegation or a controller is missing. The message says how to help.
    pub fn take_over() -> Result<Self, CgroupError> {
        let own = own_directory()?;
        let root = match (own.file_name(), own.parent()) {
            (Some(name), Some(parent)) if name == SUPERVISOR => parent.to_path_buf(),
            _ => own.clone(),
        };
        let not_delegated = |reason: String| CgroupError::NotDelegated {
            path: root.clone(),
            reason,
        };
        let available = read(&root.join("cgroup.controllers"))?;
        let missing: Vec<&str> = CONTROLLERS
            .into_iter()
            .filter(|name| !available.split_ascii_whitespace().any(|c| c == *name))
            .collect();
        if !missing.is_empty() {
            let list = missing.join(", ");
            return Err(not_delegated(format!("it lacks the controllers: {list}")));
        }
        if own == root {
            // Only our own process may be here. Another one, such as a shell, means that nobody
            // delegated the tree.
            let processes = read(&root.join("cgroup.procs"))?;
            let own_id = std::process::id().to_string();
            if processes.lines().any(|id| id != own_id) {
                return Err(not_delegated("other processes live in it".into()));
            }
            let supervisor = root.join(SUPERVISOR);
            make_directory(&supervisor).map_err(|error| not_delegated(why_not(&error)))?;
            // The only move through `cgroup.procs`: it waits for an RCU grace period, but no client
            // waits yet.
            write(&supervisor.join("cgroup.procs"), "0")
                .map_err(|error| not_delegated(error.to_string()))?;
        }
        let enable = CONTROLLERS.map(|name| format!("+{name}")).join(" ");
        write(&root.join("cgroup.subtree_control"), &enable)
            .map_err(|error| not_delegated(error.to_string()))?;
        let tree = Self { root };
        tree.remove_leftovers();
        Ok(tree)
    }

    /// Directory of the delegated root.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The lowest `memory.max` of this cgroup and its visible ancestors, in bytes; `None` if memory
    /// is unlimited.
    pub fn memory_limit(&self) -> Option<u64> {
        let limit = |directory: &Path| {
            let text = read(&directory.join("memory.max")).ok()?;
            text.trim().parse().ok()
        };
        self.root.ancestors().filter_map(limit).min()
    }

    /// Make the leaf `name`, or use the directory if it exists and is empty.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn leaf(&self, name: &str) -> Result<Leaf, CgroupError> {
        Leaf::make(self.root.join(name))
    }

    /// Remove the cgroups of an earlier supervisor. They are empty, because systemd killed the
    /// unit, but hold old limits.
    fn remove_leftovers(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_ours = |n: &str| {
                n.starts_with("job-") || n.starts_with("zygote-") || n.starts_with("servant-")
            };
            let ours = name.to_str().is_some_and(is_ours);
            if ours && let Err(error) = fs::remove_dir(entry.path()) {
                tracing::warn!(
                    "the old cgroup {} cannot be removed: {error}",
                    entry.path().display()
                );
            }
        }
    }
}

/// The reason why the cgroup of this process cannot be made, as text for the log.
fn why_not(error: &CgroupError) -> String {
    match error {
        CgroupError::File { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            format!("{error}: with another Slice= the unit's ReadWritePaths= must name this path")
        }
        error => error.to_string(),
    }
}

/// Directory of this process's own cgroup.
fn own_directory() -> Result<PathBuf, CgroupError> {
    let find = |error: procfs::ProcError| CgroupError::Find(error.to_string());
    let me = Process::myself().map_err(find)?;
    let path = me
        .cgroups()
        .map_err(find)?
        .into_iter()
        .find(|cgroup| cgroup.hierarchy == 0)
        .map(|cgroup| cgroup.pathname)
        .ok_or_else(|| CgroupError::Find("the kernel has no cgroup v2".into()))?;
    let mount = me
        .mountinfo()
        .map_err(find)?
        .into_iter()
        .filter(|mount| mount.fs_type == "cgroup2")
        .find_map(|mount| {
            // The mount may show only a part of the hierarchy, as in a container.
            let below = Path::new(&path).strip_prefix(&mount.root).ok()?;
            Some(mount.mount_point.join(below))
        });
    mount.ok_or_else(|| CgroupError::Find("cgroup v2 is not mounted".into()))
}

/// The limits that a leaf enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafLimits {
    /// `memory.max` in bytes. Swap is forbidden, and an OOM kill ends all processes of the leaf
    /// together.
    pub memory: Option<u64>,
    /// `pids.max`: processes and threads.
    pub pids: u32,
    /// `cpu.weight`, 1 to 10000.
    pub cpu_weight: u32,
    /// `cpu.max` in microseconds for each [`CPU_PERIOD`]; `None` means unlimited.
    pub cpu_quota: Option<u64>,
}

impl LeafLimits {
    /// The limits of a job: `memory` in bytes, `cpus` that it may keep busy (0: all).
    pub fn of_job(memory: u64, pids: u32, cpu_weight: u32, cpus: f64) -> Self {
        let quota = cpus * CPU_PERIOD as f64;
        Self {
            memory: Some(memory),
            pids,
            cpu_weight,
            cpu_quota: (cpus > 0.0).then_some(quota as u64),
        }
    }
}

/// Period of `cpu.max` in microseconds, the kernel's default.
pub const CPU_PERIOD: u64 = 100_000;

/// Resources that the processes of a leaf have used. All sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeafUsage {
    /// Highest memory use since the last [`Leaf::renew`], page cache included (`memory.peak`).
    pub peak: u64,
    /// Current anonymous memory (`anon` of `memory.stat`).
    pub anonymous: u64,
    /// Current page cache charged to the leaf (`file` of `memory.stat`).
    pub page_cache: u64,
    /// Page faults since the leaf was made (`pgfault` of `memory.stat`).
    pub page_faults: u64,
    /// Processes killed for memory since the leaf was made (`oom_kill` of `memory.events`).
    pub oom_kills: u64,
    /// CPU time since the leaf was made (`usage_usec` of `cpu.stat`).
    pub cpu: Duration,
}

/// A cgroup without children.
#[derive(Debug)]
pub struct Leaf {
    path: PathBuf,
    directory: OwnedFd,
    /// The files that are read for each request. They stay open, which saves three of four system
    /// calls.
    files: Arc<Files>,
    limits: Option<LeafLimits>,
}

/// Open files of a leaf. They are useless once its directory is removed.
#[derive(Debug)]
struct Files {
    directory: PathBuf,
    /// Since Linux 6.12 a write resets the peak, but only for this descriptor.
    peak: fs::File,
    stat: fs::File,
    events: fs::File,
    cpu: fs::File,
}

impl Files {
    fn open(directory: &Path) -> Result<Self, CgroupError> {
        let open = |name: &str, write: bool| {
            let path = directory.join(name);
            let opened = fs::OpenOptions::new().read(true).write(write).open(&path);
            opened.map_err(|source| CgroupError::File {
                action: "open",
                path,
                source,
            })
        };
        Ok(Self {
            // It can be opened for writing only since Linux 6.12.
            peak: open("memory.peak", true).or_else(|_| open("memory.peak", false))?,
            stat: open("memory.stat", false)?,
            events: open("memory.events", false)?,
            cpu: open("cpu.stat", false)?,
            directory: directory.into(),
        })
    }

    fn read<T>(
        &self,
        name: &str,
        file: &fs::File,
        parse: impl Fn(&str) -> T,
    ) -> Result<T, CgroupError> {
        let failed = |source| CgroupError::File {
            action: "read",
            path: self.directory.join(name),
            source,
        };
        let parsed = kernel_file::read(file, |text| str::from_utf8(text).map(parse));
        parsed
            .map_err(failed)?
            .map_err(|_| failed(io::ErrorKind::InvalidData.into()))
    }

    fn peak(&self) -> Result<u64, CgroupError> {
        let number = |text: &str| text.trim().parse().unwrap_or(0);
        self.read("memory.peak", &self.peak, number)
    }

    fn cpu(&self) -> Result<Duration, CgroupError> {
        let time = |text: &str| Duration::from_micros(field(text, "usage_usec").unwrap_or(0));
        self.read("cpu.stat", &self.cpu, time)
    }

    fn anonymous(&self) -> Result<u64, CgroupError> {
        let anonymous = |text: &str| field(text, "anon").unwrap_or(0);
        self.read("memory.stat", &self.stat, anonymous)
    }

    fn usage(&self) -> Result<LeafUsage, CgroupError> {
        let kills = |text: &str| field(text, "oom_kill").unwrap_or(0);
        let of_memory = |text: &str| LeafUsage {
            anonymous: field(text, "anon").unwrap_or(0),
            page_cache: field(text, "file").unwrap_or(0),
            page_faults: field(text, "pgfault").unwrap_or(0),
            ..LeafUsage::default()
        };
        Ok(LeafUsage {
            peak: self.peak()?,
            cpu: self.cpu()?,
            oom_kills: self.read("memory.events", &self.events, kills)?,
            ..self.read("memory.stat", &self.stat, of_memory)?
        })
    }
}

impl Leaf {
    fn make(path: PathBuf) -> Result<Self, CgroupError> {
        make_directory(&path)?;
        let failed = |errno: nix::Error| CgroupError::File {
            action: "open",
            path: path.clone(),
            source: errno.into(),
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(&path, flags, Mode::empty()).map_err(failed)?;
        Ok(Self {
            files: Arc::new(Files::open(&path)?),
            path,
            directory,
            limits: None,
        })
    }

    /// Whether the kernel resets `memory.peak` on request (since Linux 6.12).
    pub fn resets_peak(&mut self) -> bool {
        (&self.files.peak).write_all(b"reset").is_ok()
    }

    /// Remove the leaf, which must be empty.
    ///
    /// # Errors
    /// A process still lives in it.
    pub fn remove(self) -> Result<(), CgroupError> {
        fs::remove_dir(&self.path).map_err(|source| CgroupError::File {
            action: "remove",
            path: self.path.clone(),
            source,
        })
    }

    /// The directory, for `CLONE_INTO_CGROUP`.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Enforce `limits`. Writes only the values that differ from the leaf's current ones.
    ///
    /// # Errors
    /// A file cannot be written; do not use the leaf then.
    pub fn confine(&mut self, limits: LeafLimits) -> Result<(), CgroupError> {
        if self.limits == Some(limits) {
            return Ok(());
        }
        let old = self.limits.take();
        if old.is_none() {
            // Without this, a leak would only be pushed into swap.
            match write(&self.path.join("memory.swap.max"), "0") {
                Err(CgroupError::File { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
            write(&self.path.join("memory.oom.group"), "1")?;
        }
        if old.is_none_or(|old| old.memory != limits.memory) {
            let memory = limits.memory.map_or("max".into(), |n| n.to_string());
            write(&self.path.join("memory.max"), &memory)?;
        }
        if old.is_none_or(|old| old.pids != limits.pids) {
            write(&self.path.join("pids.max"), &limits.pids.to_string())?;
        }
        if old.is_none_or(|old| old.cpu_weight != limits.cpu_weight) {
            write(
                &self.path.join("cpu.weight"),
                &limits.cpu_weight.to_string(),
            )?;
        }
        if old.is_none_or(|old| old.cpu_quota != limits.cpu_quota) {
            let quota = limits.cpu_quota.map_or("max".into(), |n| n.to_string());
            write(&self.path.join("cpu.max"), &format!("{quota} {CPU_PERIOD}"))?;
        }
        self.limits = Some(limits);
        Ok(())
    }

    /// The limits in force; `None` before the first [`Self::confine`].
    pub fn limits(&self) -> Option<LeafLimits> {
        self.limits
    }

    /// CPU time since the leaf was made.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn cpu(&self) -> Result<Duration, CgroupError> {
        self.files.cpu()
    }

    /// How long the leaf's processes have waited for a CPU; `None` if the kernel does not tell.
    pub fn delay(&self) -> Option<Delay> {
        Delay::of_leaf(&self.path)
    }

    /// Prepare the empty leaf for the next job by resetting its peak. If the kernel cannot reset
    /// it, the directory is made again.
    ///
    /// # Errors
    /// The directory cannot be made again.
    pub fn renew(&mut self) -> Result<(), CgroupError> {
        if self.resets_peak() {
            Ok(())
        } else {
            self.remake()
        }
    }

    /// Remove the directory and make it again, with the same limits. This is required after a write
    /// to `cgroup.kill`: many kernels then kill every process that is later born in the cgroup.
    ///
    /// # Errors
    /// A process still lives in it, or the directory cannot be made.
    pub fn remake(&mut self) -> Result<(), CgroupError> {
        fs::remove_dir(&self.path).map_err(|source| CgroupError::File {
            action: "remove",
            path: self.path.clone(),
            source,
        })?;
        let limits = self.limits;
        *self = Self::make(self.path.clone())?;
        match limits {
            Some(limits) => self.confine(limits),
            None => Ok(()),
        }
    }

    /// Kill every process in the leaf. Call [`Self::remake`] afterwards.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        write(&self.path.join("cgroup.kill"), "1")
    }

    /// True if a process lives in the leaf.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        let events = read(&self.path.join("cgroup.events"))?;
        Ok(field(&events, "populated") != Some(0))
    }

    /// Current anonymous memory, in bytes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn anonymous(&self) -> Result<u64, CgroupError> {
        self.files.anonymous()
    }

    /// Resources used since the leaf was made.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn usage(&self) -> Result<LeafUsage, CgroupError> {
        self.files.usage()
    }
}

/// Reads a leaf's use while another task owns the leaf. An error means that the leaf is gone.
#[derive(Clone, Debug)]
pub struct LeafReader {
    /// The leaf's own descriptors: another descriptor would not see the reset peak.
    files: Arc<Files>,
}

/// Current use of a leaf. All sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafReading {
    /// Everything charged to the leaf, page cache included (`memory.current`).
    pub memory: u64,
    /// Highest `memory` since the last [`Leaf::renew`] (`memory.peak`).
    pub peak: u64,
    /// `memory.max`; `None` if unlimited.
    pub limit: Option<u64>,
    /// CPU time since the leaf was made (`usage_usec` of `cpu.stat`).
    pub cpu: Duration,
}

impl Leaf {
    /// A reader of this leaf's use.
    pub fn reader(&self) -> LeafReader {
        LeafReader {
            files: self.files.clone(),
        }
    }
}

impl LeafReader {
    /// Read the current use.
    ///
    /// # Errors
    /// A file cannot be read: the leaf was removed or made again.
    pub fn read(&self) -> Result<LeafReading, CgroupError> {
        let number = |name: &str| -> Result<Option<u64>, CgroupError> {
            Ok(read(&self.files.directory.join(name))?.trim().parse().ok())
        };
        Ok(LeafReading {
            memory: number("memory.current")?.unwrap_or(0),
            peak: self.files.peak()?,
            limit: number("memory.max")?,
            cpu: self.files.cpu()?,
        })
    }
}

/// The number after `name` in a flat-keyed file (lines of `name value`, see the kernel's
/// cgroup-v2.rst).
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn make_directory(path: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(CgroupError::File {
            action: "make",
            path: path.into(),
            source,
        }),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|source| CgroupError::File {
        action: "read",
        path: path.into(),
        source,
    })
}

fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    let result = fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()));
    result.map_err(|source| CgroupError::File {
        action: "write",
        path: path.into(),
        source,
    })
}
