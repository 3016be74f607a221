//! Forking with clone3: no other file duplicates a process.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io,
    mem::size_of,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use procfs::{FromRead, process::Stat};

use super::{exit::Exit, pidfd::PidFd};

/// Parent of the forked process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parentage {
    /// The process that forks is the parent.
    Own,
    /// The parent of the forking process is the parent (`CLONE_PARENT`), and waits for the new one.
    Sibling,
}

/// The side of the fork on which the caller runs.
#[derive(Debug)]
pub enum Forked {
    /// The process that called fork.
    Parent {
        /// Process id of the new process.
        pid: i32,
        /// Pidfd of the new process, close-on-exec.
        pidfd: PidFd,
    },
    /// The new process. Leave it only with [`exit_now`].
    Child,
}

/// Counts the threads of this process through `/proc/self/stat`. The file is opened once, before a
/// sandbox forbids opening it.
#[derive(Debug)]
pub struct SingleThreaded {
    stat: File,
}

impl SingleThreaded {
    /// Open the file. It stays bound to the calling process: a forked child must open its own.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn open() -> io::Result<Self> {
        let stat = File::open("/proc/self/stat")?;
        Ok(Self { stat })
    }

    /// True if this process has exactly one thread. No other can appear meanwhile, because only
    /// that thread could start it.
    fn holds(&mut self) -> io::Result<bool> {
        // One read of at most about 350 bytes: a zygote's sandbox does not allow asking for the
        // size of a file.
        let mut text = [0; 1024];
        let length = self.stat.read_at(&mut text, 0)?;
        let stat = Stat::from_read(&text[..length]).map_err(io::Error::other)?;
        Ok(stat.num_threads == 1)
    }

    /// # Errors
    /// This process has more than one thread.
    pub(super) fn require(&mut self) -> io::Result<()> {
        if self.holds()? {
            return Ok(());
        }
        Err(io::Error::other(
            "this process has several threads, and a fork would leave their locks held for ever",
        ))
    }
}

/// Fork this process, directly into the cgroup whose directory is `cgroup` if there is one.
///
/// The child is born there (`CLONE_INTO_CGROUP`), so no page is charged elsewhere. A move through
/// `cgroup.procs` would wait for a grace period of the whole machine while the client waits.
///
/// # Errors
/// This process has more than one thread, or the kernel refuses: `EAGAIN` by pids.max, `ENOMEM`, or
/// `EACCES` without write access to `cgroup.procs` of the leaf and of the common ancestor.
pub fn fork(
    thread: &mut SingleThreaded,
    parentage: Parentage,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Forked> {
    thread.require()?;
    let robust_list = RobustList::current()?;
    let (parent_flag, exit_signal) = match parentage {
        Parentage::Own => (0, libc::SIGCHLD),
        // The exit signal must be 0 here: the sibling inherits ours, which is SIGCHLD.
        Parentage::Sibling => (libc::CLONE_PARENT, 0),
    };
    // glibc caches the thread id and renews it only in its own fork(). So we let the kernel write
    // the new id.
    let thread_id_address = thread_id_address();
    let settid_flags = match thread_id_address {
        0 => 0,
        _ => libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID,
    };
    // SAFETY: this process has one thread, as checked above. So no other thread, which the child
    // would lack, can hold a lock of libc, the allocator or the loader; atfork handlers, which do
    // not run here, exist only to release such locks. `thread_id_address` is glibc's own, in memory
    // of which the child has a copy.
    let forked = unsafe {
        clone3(
            parent_flag | settid_flags,
            exit_signal,
            thread_id_address,
            cgroup,
        )
    }?;
    if let Forked::Child = forked {
        robust_list.register();
    }
    Ok(forked)
}

/// `CLONE_INTO_CGROUP` of linux/sched.h; the constant in the libc crate is cut to 32 bits.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The raw system call, always with `CLONE_PIDFD`, never with shared memory.
///
/// # Errors
/// The error of the system call.
///
/// # Safety
/// In the child of a process with several threads only async-signal-safe calls may be made, until
/// it execs or exits. `child_tid` must be 0, or valid for the flags that use it.
pub(super) unsafe fn clone3(
    flags: libc::c_int,
    exit_signal: libc::c_int,
    child_tid: u64,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Forked> {
    let mut pidfd: libc::c_int = -1;
    let into_cgroup = if cgroup.is_some() {
        CLONE_INTO_CGROUP
    } else {
        0
    };
    let arguments = libc::clone_args {
        flags: into_cgroup | u64::from((flags | libc::CLONE_PIDFD).cast_unsigned()),
        pidfd: &raw mut pidfd as u64,
        child_tid,
        parent_tid: 0,
        exit_signal: u64::from(exit_signal.cast_unsigned()),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    // SAFETY: `arguments` is a valid clone_args whose pointers point to live memory. Without
    // CLONE_VM and without a stack, the child continues here with its own copy of all memory. The
    // caller promises the rest.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<libc::clone_args>(),
        )
    };
    match i32::try_from(pid) {
        Ok(0) => Ok(Forked::Child),
        Ok(pid) if pid > 0 => {
            // SAFETY: clone3 succeeded with CLONE_PIDFD, so `pidfd` is a new descriptor that only
            // we have.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pidfd = pidfd.into();
            Ok(Forked::Parent { pid, pidfd })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Test whether a process can be born in `cgroup`: start one that exits at once, and return how it
/// ended.
///
/// # Errors
/// It cannot be started at all.
pub(super) fn birth(cgroup: BorrowedFd<'_>) -> io::Result<Exit> {
    // SAFETY: the child makes one async-signal-safe call, _exit, and nothing else.
    match unsafe { clone3(0, libc::SIGCHLD, 0, Some(cgroup)) }? {
        Forked::Child => exit_now(0),
        Forked::Parent { pidfd, .. } => pidfd.reap(),
    }
}

/// End this process at once, without destructors and without atexit handlers. Those of libraries
/// would rely on threads that do not exist here.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Address of glibc's copy of the thread id, as the kernel knows it; 0 if the kernel does not tell.
fn thread_id_address() -> u64 {
    let mut address: u64 = 0;
    // SAFETY: PR_GET_TID_ADDRESS writes one pointer to the given address.
    let result = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut address) };
    if result == 0 { address } else { 0 }
}

/// The list through which the kernel releases a dead thread's robust mutexes. The kernel forgets it
/// at a fork, and only libc's own fork() registers it again.
struct RobustList {
    head: *mut libc::c_void,
    length: libc::size_t,
}

impl RobustList {
    fn current() -> io::Result<Self> {
        let mut list = Self {
            head: std::ptr::null_mut(),
            length: 0,
        };
        let this_thread: libc::c_int = 0;
        // SAFETY: both pointers are to writable memory of the right size.
        let result = unsafe {
            libc::syscall(
                libc::SYS_get_robust_list,
                this_thread,
                &raw mut list.head,
                &raw mut list.length,
            )
        };
        if result == 0 {
            Ok(list)
        } else {
            Err(io::Error::last_os_error())
        }
    }

    fn register(&self) {
        if self.head.is_null() {
            return;
        }
        // SAFETY: `head` is libc's own list head, at the same address in this copy of the memory,
        // and lives as long as the thread. The result does not matter: without the list only robust
        // mutexes would misbehave.
        unsafe { libc::syscall(libc::SYS_set_robust_list, self.head, self.length) };
    }
}
