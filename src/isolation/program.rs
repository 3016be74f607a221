//! A program started by a job as its child, confined, with pipes to talk to it.
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
    pidfd::PidFd,
    sandbox::{CHANNEL, Cage},
};
use crate::config::ExecSettings;

/// Where the program finds the audio.
const AUDIO: i32 = 3;

/// Exit status of the child that cannot become the program: the shell's word for "cannot be executed".
const CANNOT_EXECUTE: i32 = 127;

/// Where programs are looked for that a program starts by their name alone.
const PATH: &str = "PATH=/usr/local/bin:/usr/bin:/bin";

/// A running program. It dies with its job, by `PR_SET_PDEATHSIG`; with what it has started it is killed by the
/// supervisor once the job is gone, through the job's process group.
#[derive(Debug)]
pub struct Program {
    process: PidFd,
    /// Our ends of the pipes to it, never blocking; `None` once they are closed. What it reads the request from.
    pub stdin: Option<File>,
    /// What it reads the audio from.
    pub audio: Option<File>,
    /// What it answers on.
    pub stdout: Option<File>,
    /// What it complains on.
    pub stderr: Option<File>,
}

impl Program {
    /// Start the program of these settings in its sandbox and in `scratch`, its own directory.
    ///
    /// To be called in a job that has one thread, before the job's last filter.
    ///
    /// # Errors
    /// It cannot be started; that it cannot be executed shows in its end: see [`Self::ended`].
    pub fn start(settings: &ExecSettings, scratch: &Path) -> io::Result<Self> {
        let mut cage = Cage::new(settings, scratch).map_err(io::Error::other)?;
        let strings = |texts: &[String]| -> io::Result<Vec<CString>> {
            let strings = texts.iter().map(|text| CString::new(text.as_str()));
            Ok(strings.collect::<Result<_, _>>()?)
        };
        let arguments = strings(&settings.command)?;
        let path = arguments.first().ok_or(io::ErrorKind::InvalidInput)?;
        let home = scratch.display();
        let mut environment = vec![
            PATH.into(),
            "LANG=C.UTF-8".into(),
            format!("TMPDIR={home}"),
            format!("HOME={home}"),
        ];
        // What the settings say comes in the place of ours.
        for (name, value) in &settings.environment {
            let prefix = format!("{name}=");
            environment.retain(|variable| !variable.starts_with(&prefix));
            environment.push(prefix + value);
        }
        let environment = strings(&environment)?;
        let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
            let ends = std::iter::once(ptr::null());
            strings.iter().map(|s| s.as_ptr()).chain(ends).collect()
        };
        let (argv, envp) = (pointers(&arguments), pointers(&environment));
        let folder = CString::new(scratch.as_os_str().as_encoded_bytes())?;

        let (stdin_read, stdin) = pipe2(OFlag::O_CLOEXEC)?;
        let (stdout, stdout_write) = pipe2(OFlag::O_CLOEXEC)?;
        let (stderr, stderr_write) = pipe2(OFlag::O_CLOEXEC)?;
        let (audio_read, audio) = pipe2(OFlag::O_CLOEXEC)?;
        let job = std::process::id();
        // SAFETY: the job has one thread, and the child makes only async-signal-safe calls until it execs or exits.
        let forked = unsafe { clone3(0, libc::SIGCHLD, 0, None) }?;
        let Forked::Parent { pidfd, .. } = forked else {
            let targets = [
                (&stdin_read, libc::STDIN_FILENO),
                (&stdout_write, libc::STDOUT_FILENO),
                (&stderr_write, libc::STDERR_FILENO),
                (&audio_read, AUDIO),
            ];
            // Everything from here on is copied memory and plain system calls.
            let _ = become_program(&mut cage, job, &targets, &folder).map(|()| {
                // SAFETY: execve is async-signal-safe; path, argv and envp are NUL-terminated and live until it returns.
                unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) }
            });
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

    /// How it ended; `None` while it lives. To be asked until it says something, and not again.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn ended(&self) -> io::Result<Option<How>> {
        Ok(self.process.try_reap()?.map(|exit| exit.how))
    }
}

impl AsFd for Program {
    /// Readable once it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

/// In the forked child: leave everything of the job behind. Async-signal-safe.
fn become_program(
    cage: &mut Cage,
    job: u32,
    targets: &[(&OwnedFd, i32)],
    folder: &CString,
) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    if nix::unistd::getppid().as_raw().cast_unsigned() != job {
        // The job died before that call.
        exit_now(CANNOT_EXECUTE);
    }
    // What Rust's runtime ignores is not the program's to ignore.
    // SAFETY: the default action is no handler, so there is nothing that must be async-signal-safe.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    SigSet::empty().thread_set_mask()?;
    for (source, target) in targets {
        // SAFETY: both numbers are plain descriptors, no source has the number of a target (the job has those open), and
        // what the targets were before belongs to values that this process never uses again.
        if unsafe { libc::dup2(source.as_raw_fd(), *target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: the path is NUL-terminated and lives until the call returns.
    if unsafe { libc::chdir(folder.as_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    cage.enter()?;
    let (first, last, flags) = (AUDIO + 1, libc::c_uint::MAX, 0);
    // SAFETY: every descriptor closed here belongs to a value that is never used again in this process.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

const _: () = assert!(
    AUDIO == CHANNEL,
    "the program's audio takes the place of the job's channel"
);

/// End this process as its program has ended, so that whoever waits for it learns the truth.
pub fn die_as(how: How) -> ! {
    match how {
        How::Status(status) => exit_now(status),
        How::Signal(number) => {
            if let Ok(signal) = Signal::try_from(number) {
                // One that is ignored or handled leaves us here.
                let _ = raise(signal);
            }
            exit_now(128 + number)
        }
    }
}
