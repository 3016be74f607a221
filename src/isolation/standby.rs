//! A program that a job can start once, after it has given up the right to start programs.
//!
//! While the job sets itself up, it forks a child that only waits. If the job hands it a
//! descriptor, the child confines itself and executes the program, with that descriptor as standard
//! input. So the job's own filter stays closed, and a request that does not need the program does
//! not pay for its start. The child is in the job's cgroup and process group, and ends with the
//! job.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{AddressFamily, SockFlag, SockType, socketpair},
    unistd::{close, pipe2},
};
use serde::{Deserialize, Serialize};

use super::{
    channel::{Channel, Message},
    clone::{Forked, clone3, exit_now},
    exit::How,
    pidfd::PidFd,
    program::{CANNOT_EXECUTE, Executable, become_program},
    sandbox::{CHANNEL, Cage, STANDBY},
};

/// Most bytes of the program's stderr that are kept: the capacity of a pipe (pipe(7)). The rest is
/// lost, and the program does not wait.
const MAX_STDERR: u64 = 64 * 1024;

/// Tells the child to execute the program. Descriptor: the program's standard input.
#[derive(Debug, Serialize, Deserialize)]
struct Go;

impl Message for Go {
    const MAX_DESCRIPTORS: usize = 1;
}

/// The waiting child.
#[derive(Debug)]
pub struct Standby {
    channel: Channel<Go, Go>,
    stdout: File,
    running: Running,
}

/// The program, once it was started.
#[derive(Debug)]
pub struct Running {
    process: PidFd,
    /// It writes its complaints here.
    stderr: File,
}

impl Standby {
    /// Fork the child, which may later execute `command`: a program by its absolute path, and its
    /// arguments.
    ///
    /// Call it in a job with one thread that has no other descriptors than its first four.
    ///
    /// # Errors
    /// The system is out of processes, memory or descriptors.
    pub(super) fn fork(command: &[String]) -> io::Result<Self> {
        let executable = Executable::new(command, &["LANG=C.UTF-8".into()])?;
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        if ours.as_raw_fd() != STANDBY {
            return Err(io::Error::other("the descriptor of the standby is taken"));
        }
        let (stdout, stdout_write) = pipe2(OFlag::O_CLOEXEC)?;
        let (stderr, stderr_write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let job = std::process::id();
        // SAFETY: the job has one thread, so no lock can be held in the child for ever. The child
        // leaves by execve or _exit.
        let forked = unsafe { clone3(0, libc::SIGCHLD, 0, None) }?;
        let Forked::Parent { pidfd, .. } = forked else {
            drop(ours);
            let program = Path::new(command.first().map_or("", String::as_str));
            let outputs = [stdout_write, stderr_write];
            let Err(error) = stand_by(theirs, job, program, &executable, &outputs);
            eprintln!(
                "the program {} cannot be started: {error}",
                program.display()
            );
            exit_now(CANNOT_EXECUTE);
        };
        Ok(Self {
            channel: Channel::new(ours),
            stdout: stdout.into(),
            running: Running {
                process: pidfd,
                stderr: stderr.into(),
            },
        })
    }

    /// Start the program with `input` as its standard input. Also returns its standard output, a
    /// pipe that ends when all processes that hold the other end have ended.
    ///
    /// # Errors
    /// The child is gone.
    pub fn start(self, input: BorrowedFd<'_>) -> io::Result<(Running, File)> {
        self.channel.send(&Go, &[input]).map_err(io::Error::other)?;
        Ok((self.running, self.stdout))
    }
}

impl Running {
    /// How the program ended; `None` if it has not within `patience`. Do not ask again after an
    /// answer.
    ///
    /// # Errors
    /// The error of the system call.
    pub fn ended(&self, patience: Duration) -> io::Result<Option<How>> {
        let begin = Instant::now();
        loop {
            let rest = patience.saturating_sub(begin.elapsed());
            let timeout = PollTimeout::try_from(rest).unwrap_or(PollTimeout::MAX);
            let mut process = [PollFd::new(self.process.as_fd(), PollFlags::POLLIN)];
            match poll(&mut process, timeout) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(self.process.try_reap()?.map(|exit| exit.how)),
            }
        }
    }

    /// The first 64 KiB that it wrote to stderr, as far as they have not been read. It is untrusted
    /// text.
    pub fn complaints(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // The end is an end of file, or WouldBlock if a process still holds the other end.
        let _ = (&self.stderr).take(MAX_STDERR).read_to_end(&mut text);
        text
    }
}

/// In the forked child: wait for the word, then execute the program. Returns only an error.
fn stand_by(
    socket: OwnedFd,
    job: u32,
    program: &Path,
    executable: &Executable,
    [stdout, stderr]: &[OwnedFd; 2],
) -> io::Result<std::convert::Infallible> {
    // The job's channel belongs to a value that this process never uses.
    close(CHANNEL)?;
    nix::sys::prctl::set_name(c"standby")?;
    let channel: Channel<Go, Go> = Channel::new(socket);
    let Ok((Go, mut descriptors)) = channel.receive() else {
        // The job is gone and did not need it.
        exit_now(0);
    };
    let input = descriptors.pop().ok_or(io::ErrorKind::InvalidData)?;
    let mut cage = Cage::of_standby(program, input.as_fd()).map_err(io::Error::other)?;
    let targets = [
        (&input, libc::STDIN_FILENO),
        (stdout, libc::STDOUT_FILENO),
        (stderr, libc::STDERR_FILENO),
    ];
    let folder = CString::new(Path::new("/").as_os_str().as_bytes())?;
    become_program(&mut cage, job, &targets, &folder)?;
    Err(executable.execute())
}
