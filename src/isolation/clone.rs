//! Forking with clone3: the only place where a process is duplicated.
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

/// Whose child the forked process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parentage {
    /// The child of the process that forks.
    Own,
    /// The sibling of the process that forks (`CLONE_PARENT`): its parent waits for it.
    Sibling,
}

/// On which side of the fork the caller is.
#[derive(Debug)]
pub enum Forked {
    /// In the process that forked.
    Parent {
        /// Process id of the new one.
        pid: i32,
        /// The new process, close-on-exec.
        pidfd: PidFd,
    },
    /// In the new process. Leave it only with [`exit_now`].
    Child,
}

/// A view of `/proc/self/stat` that is opened once, before a sandbox forbids to open it.
#[derive(Debug)]
pub struct SingleThreaded {
    stat: File,
}

impl SingleThreaded {
    /// Open the view. It stays bound to the calling process: a forked child must open its own.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn open() -> io::Result<Self> {
        let stat = File::open("/proc/self/stat")?;
        Ok(Self { stat })
    }

    /// Whether this process has exactly one thread at this moment; with one thread no other can appear meanwhile.
    fn holds(&mut self) -> io::Result<bool> {
        // One read of at most some 350 bytes: the sandbox of a zygote allows no question for the size of a file.
        let mut text = [0; 1024];
        let length = self.stat.read_at(&mut text, 0)?;
        let stat = Stat::from_read(&text[..length]).map_err(io::Error::other)?;
        Ok(stat.num_threads == 1)
    }
}

/// Fork this process, optionally straight into the cgroup whose directory is `cgroup`.
///
/// The child is born there (`CLONE_INTO_CGROUP`): not one page is charged elsewhere, and no move through
/// `cgroup.procs`, which waits for a grace period of the whole machine, stands on the request's way.
///
/// # Errors
/// This process has more than one thread; or the kernel refuses (`EAGAIN` by pids.max, `ENOMEM`, `EACCES` without
/// write access to the leaf's and the common ancestor's `cgroup.procs`).
pub fn fork(
    thread: &mut SingleThreaded,
    parentage: Parentage,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Forked> {
    if !thread.holds()? {
        return Err(io::Error::other(
            "this process has several threads, and a fork would leave their locks held for ever",
        ));
    }
    let robust_list = RobustList::current()?;
    let (parent_flag, exit_signal) = match parentage {
        Parentage::Own => (0, libc::SIGCHLD),
        // It must be 0 here: the sibling inherits ours, which is SIGCHLD.
        Parentage::Sibling => (libc::CLONE_PARENT, 0),
    };
    // glibc caches the thread id and only its own fork() renews it; the kernel writes the new one for us.
    let thread_id_address = thread_id_address();
    let settid_flags = match thread_id_address {
        0 => 0,
        _ => libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID,
    };
    // SAFETY: the process has one thread, checked above, so no lock of libc, allocator or loader can be held by a
    // thread that the child lacks; atfork handlers, which do not run, exist to release just such locks.
    // `thread_id_address` is glibc's own, in memory that the child has a copy of.
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

/// `CLONE_INTO_CGROUP` of linux/sched.h; the constant in crate libc is cut to 32 bits.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The bare system call, always with `CLONE_PIDFD`, never with shared memory.
///
/// # Errors
/// What the kernel says.
///
/// # Safety
/// In the child of a process with several threads only async-signal-safe calls may be made, until it execs or exits.
/// `child_tid` must be 0, or valid for the flags that use it.
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
    // SAFETY: `arguments` is a valid clone_args whose pointers are to live memory. No CLONE_VM and no stack: the child
    // goes on here with its own copy of everything. The rest is the caller's promise.
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
            // SAFETY: clone3 succeeded with CLONE_PIDFD, so `pidfd` is a new descriptor that only we have.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pidfd = pidfd.into();
            Ok(Forked::Parent { pid, pidfd })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a process can be born in `cgroup`: make one that ends at once, and see how it ended.
///
/// # Errors
/// It cannot be made at all.
pub(super) fn birth(cgroup: BorrowedFd<'_>) -> io::Result<Exit> {
    // SAFETY: the child makes one async-signal-safe call, _exit, and nothing else.
    match unsafe { clone3(0, libc::SIGCHLD, 0, Some(cgroup)) }? {
        Forked::Child => exit_now(0),
        Forked::Parent { pidfd, .. } => pidfd.reap(),
    }
}

/// End this process at once: no destructors, no atexit handlers of libraries that still believe in their threads.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Address at which the kernel keeps glibc's copy of the thread id; 0 on a kernel that does not tell.
fn thread_id_address() -> u64 {
    let mut address: u64 = 0;
    // SAFETY: PR_GET_TID_ADDRESS writes one pointer to the given address.
    let result = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut address) };
    if result == 0 { address } else { 0 }
}

/// The list by which the kernel frees robust mutexes of a dead thread. The kernel drops it at a fork, and only libc's
/// own fork() registers it again.
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
        // SAFETY: `head` is libc's own list head, at the same address in this copy of the memory, and lives as long
        // as the thread. The result does not matter: without it only robust mutexes would misbehave.
        unsafe { libc::syscall(libc::SYS_set_robust_list, self.head, self.length) };
    }
}
