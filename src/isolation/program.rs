//! Starts a program as a confined child of a job, with pipes to talk to it.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    ptr,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::signal::{SigSet, Signal, raise},
    unistd::pipe2,
};

use super::{
    clone::{Forked, clone3, exit_now},
    exit::How,
    needs::Launch,
    pidfd::PidFd,
    sandbox::{CHANNEL, Cage},
};

/// Descriptor from which the program reads the audio.
const AUDIO: i32 = 3;

/// Exit status of a child that cannot execute the program, as in a shell.
pub(super) const CANNOT_EXECUTE: i32 = 127;

/// Search path for programs that the program itself starts by name.
const PATH: &str = "PATH=/usr/local/bin:/usr/bin:/bin";

/// A running program. It dies with its job, by `PR_SET_PDEATHSIG`. Once the job is gone, the
/// supervisor kills the program and all that it started through the job's process group.
#[derive(Debug)]
pub struct Program {
    process: PidFd,
    /// Our ends of its pipes, all non-blocking; `None` once closed. It reads the request from this
    /// one.
    pub stdin: Option<File>,
    /// It reads the audio from this one.
    pub audio: Option<File>,
    /// It writes its answer to this one.
    pub stdout: Option<File>,
    /// It writes its complaints to this one.
    pub stderr: Option<File>,
}

impl Program {
    /// Start the program in its sandbox and in `scratch`, its own directory.
    ///
    /// Call it in a job with one thread, before the job's last filter.
    ///
    /// # Errors
    /// It cannot be started. If it cannot be executed, [`Self::ended`] tells so.
    pub fn start(launch: &Launch<'_>, scratch: &Path) -> io::Result<Self> {
        let mut cage = Cage::new(launch, scratch).map_err(io::Error::other)?;
        let home = scratch.display();
        let mut environment = vec![
            PATH.into(),
            "LANG=C.UTF-8".into(),
            format!("TMPDIR={home}"),
            format!("HOME={home}"),
        ];
        for (name, value) in launch.environment {
            let prefix = format!("{name}=");
            environment.retain(|variable| !variable.starts_with(&prefix));
            environment.push(prefix + value);
        }
        let executable = Executable::new(launch.command, &environment)?;
        let folder = CString::new(scratch.as_os_str().as_encoded_bytes())?;

        let (stdin_read, stdin) = pipe2(OFlag::O_CLOEXEC)?;
        let (stdout, stdout_write) = pipe2(OFlag::O_CLOEXEC)?;
        let (stderr, stderr_write) = pipe2(OFlag::O_CLOEXEC)?;
        let (audio_read, audio) = pipe2(OFlag::O_CLOEXEC)?;
        let job = std::process::id();
        // SAFETY: the job has one thread, and the child makes only async-signal-safe calls until it
        // execs or exits.
        let forked = unsafe { clone3(0, libc::SIGCHLD, 0, None) }?;
        let Forked::Parent { pidfd, .. } = forked else {
            let targets = [
                (&stdin_read, libc::STDIN_FILENO),
                (&stdout_write, libc::STDOUT_FILENO),
                (&stderr_write, libc::STDERR_FILENO),
                (&audio_read, AUDIO),
            ];
            // From here on there is only copied memory and plain system calls.
            let _ =
                become_program(&mut cage, job, &targets, &folder).map(|()| executable.execute());
            exit_now(CANNOT_EXECUTE);
        };
        let ours = |end: OwnedFd| -> io::Result<Option<File>> {
            fcntl(&end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            Ok(Some(end.into()))
        };
        Ok(Self {
            process: pidfd,
            stdin: ours(stdin)?,
            audio: ours(audio)?,
            stdout: ours(stdout)?,
            stderr: ours(stderr)?,
        })
    }

    /// How the program ended; `None` while it lives. Do not ask again after an answer.
    ///
    /// # Errors
    /// The error of the system call.
    pub fn ended(&self) -> io::Result<Option<How>> {
        Ok(self.process.try_reap()?.map(|exit| exit.how))
    }
}

impl AsFd for Program {
    /// Readable once the program has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

/// A program with arguments and environment, in the form that execve takes. It is made before the
/// fork, so that executing allocates nothing.
#[derive(Debug)]
pub(super) struct Executable {
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    /// The strings to which the others point.
    _strings: [Vec<CString>; 2],
}

impl Executable {
    /// `command` is the program, by its absolute path, and its arguments.
    ///
    /// # Errors
    /// There is no program, or a string has a NUL in it.
    pub(super) fn new(command: &[String], environment: &[String]) -> io::Result<Self> {
        let strings = |texts: &[String]| -> io::Result<Vec<CString>> {
            let strings = texts.iter().map(|text| CString::new(text.as_str()));
            Ok(strings.collect::<Result<_, _>>()?)
        };
        if command.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let strings = [strings(command)?, strings(environment)?];
        let [argv, envp] = strings.each_ref().map(|strings| {
            let ends = std::iter::once(ptr::null());
            strings.iter().map(|s| s.as_ptr()).chain(ends).collect()
        });
        Ok(Self {
            argv,
            envp,
            _strings: strings,
        })
    }

    /// Replace this process by the program; the error if that fails. Async-signal-safe.
    pub(super) fn execute(&self) -> io::Error {
        let path = self.argv.first().copied().unwrap_or(ptr::null());
        let (argv, envp) = (self.argv.as_ptr(), self.envp.as_ptr());
        // SAFETY: execve is async-signal-safe. Both lists end with a null pointer, the path is the
        // first of the arguments, and the strings are NUL-terminated and live as long as `self`.
        unsafe { libc::execve(path, argv, envp) };
        io::Error::last_os_error()
    }
}

/// In the forked child: keep `targets`, the first descriptors in their order, and drop everything
/// else that belongs to the job. Async-signal-safe.
pub(super) fn become_program(
    cage: &mut Cage,
    job: u32,
    targets: &[(&OwnedFd, i32)],
    folder: &CString,
) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    if nix::unistd::getppid().as_raw().cast_unsigned() != job {
        // The job died before the call.
        exit_now(CANNOT_EXECUTE);
    }
    // Rust's runtime ignores SIGPIPE, but the program must not inherit that. SAFETY: the default
    // action is not a handler, so nothing has to be async-signal-safe.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    SigSet::empty().thread_set_mask()?;
    for (source, target) in targets {
        // SAFETY: both numbers are plain descriptors. No source has the number of a target, because
        // the job has those open. The targets' earlier descriptors belong to values that this
        // process never uses again.
        if unsafe { libc::dup2(source.as_raw_fd(), *target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: the path is NUL-terminated and lives until the call returns.
    if unsafe { libc::chdir(folder.as_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    cage.enter()?;
    let (first, last, flags) = (targets.len(), libc::c_uint::MAX, 0);
    // SAFETY: every descriptor closed here belongs to a value that is never used again in this
    // process.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

const _: () = assert!(
    AUDIO == CHANNEL,
    "the program's audio takes the place of the job's channel"
);

/// End this process as its program has ended, so that the process that waits for it learns the
/// truth.
pub fn die_as(how: How) -> ! {
    match how {
        How::Status(status) => exit_now(status),
        How::Signal(number) => {
            if let Ok(signal) = Signal::try_from(number) {
                // We get here if the signal is ignored or handled.
                let _ = raise(signal);
            }
            exit_now(128 + number)
        }
    }
}
