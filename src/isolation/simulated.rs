//! Zygotes and jobs that are tasks of a test: the scheduler is tried without processes.
//!
//! The supervisor's side is the real one, down to its sockets. Instead of a pidfd it holds one end
//! of a pair of sockets, and the task that plays the process holds the other.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::net,
    },
    rc::Rc,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        signal::Signal,
        socket::{MsgFlags, Shutdown, recv, shutdown},
    },
};
use tokio::net::UnixStream;

use super::{
    channel::AsyncChannel,
    exit::{Exit, How},
    footprint::Footprint,
    pidfd::PidFd,
};

/// Starts a zygote that talks over this socket. Gives its number and what is held as its pidfd.
type Starter = Rc<dyn Fn(OwnedFd) -> (i32, OwnedFd)>;

thread_local! {
    static STARTER: RefCell<Option<Starter>> = const { RefCell::new(None) };
    static FOOTPRINTS: RefCell<HashMap<i32, Footprint>> = RefCell::default();
}

/// From now on every zygote of this thread is started like this.
pub fn begin(starter: impl Fn(OwnedFd) -> (i32, OwnedFd) + 'static) {
    STARTER.set(Some(Rc::new(starter)));
    FOOTPRINTS.with_borrow_mut(HashMap::clear);
}

/// Zygotes of this thread are processes again.
pub fn end() {
    STARTER.set(None);
}

/// Whether this thread simulates.
pub fn is_on() -> bool {
    STARTER.with_borrow(Option::is_some)
}

/// The memory and CPU time that the simulated process `pid` has used.
pub fn set_footprint(pid: i32, anonymous: u64, cpu: Duration) {
    let footprint = Footprint {
        resident: anonymous,
        peak: anonymous,
        anonymous,
        cpu,
        threads: 1,
        page_faults: 0,
    };
    FOOTPRINTS.with_borrow_mut(|all| all.insert(pid, footprint));
}

/// The simulated process `pid` is gone.
pub fn forget_footprint(pid: i32) {
    FOOTPRINTS.with_borrow_mut(|all| all.remove(&pid));
}

pub(super) fn footprint(pid: i32) -> Option<Footprint> {
    FOOTPRINTS.with_borrow(|all| all.get(&pid).copied())
}

pub(super) fn start(control: BorrowedFd<'_>) -> io::Result<Option<(i32, PidFd)>> {
    let Some(starter) = STARTER.with_borrow(Clone::clone) else {
        return Ok(None);
    };
    let (pid, pidfd) = starter(control.try_clone_to_owned()?);
    Ok(Some((pid, pidfd.into())))
}

/// The child's end of a channel, for a task.
pub fn channel<Out, In>(socket: OwnedFd) -> AsyncChannel<Out, In> {
    AsyncChannel::new(socket).unwrap()
}

/// A process as the task sees it that plays it.
#[derive(Debug)]
pub struct Process(UnixStream);

/// A living process, and what its parent holds as its pidfd.
pub fn process() -> (Process, OwnedFd) {
    let (ours, theirs) = net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Process(UnixStream::from_std(ours).unwrap()), theirs.into())
}

impl Process {
    /// Returns when it is killed, or its parent has forgotten it.
    pub async fn killed(&self) {
        // Nothing is ever sent here, so all that can be read is the end.
        while self.0.try_read(&mut [0]).is_err() {
            self.0.readable().await.unwrap();
        }
    }

    /// Whether it was killed, or its parent has forgotten it.
    pub fn is_killed(&self) -> bool {
        let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.0.as_raw_fd(), &mut [0], peek) != Err(Errno::EAGAIN)
    }

    /// End like this. If it is dropped instead, it ends as if it was killed.
    pub fn exit(&self, how: How) {
        let word = match how {
            How::Status(status) => [0, status],
            How::Signal(signal) => [1, signal],
        };
        let bytes: Vec<u8> = word
            .iter()
            .flat_map(|number| number.to_ne_bytes())
            .collect();
        // An error means that it was killed before.
        let _ = self.0.try_write(&bytes);
    }
}

/// The end of the simulated process behind `pidfd`; `None` if it is a real one. A killed one is
/// dead at once.
pub(super) fn wait(pidfd: BorrowedFd<'_>, options: libc::c_int) -> Option<Option<Exit>> {
    let mut flags = MsgFlags::MSG_DONTWAIT;
    flags.set(MsgFlags::MSG_PEEK, options & libc::WNOWAIT != 0);
    let mut bytes = [0; 8];
    let how = match recv(pidfd.as_raw_fd(), &mut bytes, flags) {
        Err(Errno::ENOTSOCK) => return None,
        Err(Errno::EAGAIN) => {
            assert!(options & libc::WNOHANG != 0, "nobody may wait for a task");
            return Some(None);
        }
        Ok(8) => {
            let number = |at: usize| i32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
            match number(0) {
                0 => How::Status(number(4)),
                _ => How::Signal(number(4)),
            }
        }
        _ => How::Signal(libc::SIGKILL),
    };
    Some(Some(Exit {
        how,
        cpu: Duration::ZERO,
        peak_resident: 0,
    }))
}

/// Send a signal to the simulated process behind `pidfd`; `false` if it is a real one.
pub(super) fn signal(pidfd: BorrowedFd<'_>, signal: Signal) -> bool {
    match signal {
        Signal::SIGKILL => shutdown(pidfd.as_raw_fd(), Shutdown::Both) != Err(Errno::ENOTSOCK),
        _ => false,
    }
}
