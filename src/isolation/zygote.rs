//! The zygote's own life: one thread, one model, forks on request, no work of its own.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io,
    mem::ManuallyDrop,
    os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd},
    time::Duration,
};

use nix::{
    sys::{prctl, signal::Signal},
    unistd::dup2_stdin,
};

use super::{
    channel::{Channel, ChannelError},
    clone::{Forked, Parentage, SingleThreaded, exit_now, fork},
    message::{FromJob, FromZygote, Load, ToJob, ToZygote},
    pidfd::PidFd,
    sandbox::{CHANNEL, Reach, Sandbox, report_to_supervisor},
    secret,
};
use crate::config::Preload;

/// The job's end of its channel.
pub type JobChannel = Channel<FromJob, ToJob>;

/// What the jobs of a zygote are there for.
pub trait Work {
    /// What is loaded once and shared by all jobs.
    type Model;

    /// Load the model: in the zygote, or in each job of a model that wants that.
    ///
    /// # Errors
    /// A message for the administrator.
    fn load(&self, order: &Load) -> Result<Self::Model, String>;

    /// Do, in a forked job for which no request waits yet, what every request will want done: so it is before its request
    /// comes that the job maps the program's code and copies the pages it writes to.
    fn rehearse(&self);

    /// Be a job, until this returns.
    fn serve(&self, model: &mut Self::Model, channel: &'static JobChannel);
}

/// Be a zygote: load the model that the supervisor names over stdin, unless it is one that each job loads, then fork a
/// job whenever it asks for one.
///
/// `work` is made before anything is forbidden. This function returns when the supervisor is gone or the model cannot be
/// loaded.
///
/// # Errors
/// The process was not started by a supervisor, or the machine lacks something basic.
pub fn run<W: Work>(work: impl FnOnce() -> io::Result<W>) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let control = take_stdin()?;
    let mut thread = SingleThreaded::open()?;
    let work = work()?;

    let mut order = match control.receive() {
        Ok((ToZygote::Load(order), descriptors)) => {
            if let Some(file) = descriptors.into_iter().next() {
                secret::inherit(file)?;
            }
            order
        }
        Ok((ToZygote::Fork { .. }, _)) | Err(ChannelError::HungUp) => return Ok(()),
        Err(error) => return Err(io::Error::other(error)),
    };
    set_name(&format!("zyg:{}", order.model))?;
    let start = || -> Result<_, String> {
        let engine = &order.engine;
        let (profile, preload) = (engine.profile(), engine.preload());
        let reach = Reach {
            files: engine.files(),
            ports: engine.ports(),
        };
        let sandbox = Sandbox::enter(profile, preload, &reach, order.scratch.as_deref())
            .map_err(|e| e.to_string())?;
        let model = match preload {
            Preload::BeforeFork => {
                let model = work.load(&order)?;
                sandbox.loaded().map_err(|e| e.to_string())?;
                Some(model)
            }
            Preload::AfterFork => None,
        };
        let confinement = sandbox.check().map_err(|e| e.to_string())?;
        Ok((model, sandbox, confinement))
    };
    let (model, mut sandbox, confinement) = match start() {
        Ok(started) => started,
        Err(message) => {
            return tell(&control, &FromZygote::LoadFailed(message), None);
        }
    };
    tell(&control, &FromZygote::Loaded(confinement), None)?;

    loop {
        let (scratch, ahead, descriptors) = match control.receive() {
            Ok((ToZygote::Fork { scratch, ahead }, descriptors)) => (scratch, ahead, descriptors),
            Ok((ToZygote::Load(_), _)) => return Err(io::ErrorKind::InvalidData.into()),
            Err(ChannelError::HungUp) => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        };
        let mut descriptors = descriptors.into_iter();
        let (Some(channel), Some(stderr)) = (descriptors.next(), descriptors.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let cgroup = descriptors.next();
        match fork(
            &mut thread,
            Parentage::Sibling,
            cgroup.as_ref().map(AsFd::as_fd),
        ) {
            Ok(Forked::Child) => {
                order.scratch = scratch;
                if ahead {
                    work.rehearse();
                }
                let load = || model.map_or_else(|| work.load(&order), Ok);
                let status = match become_job(channel, &stderr, &mut sandbox, load) {
                    Ok((channel, Ok(model))) => {
                        // Never dropped: to give back piece by piece what it shares with the zygote would copy all of
                        // it first (pocketsphinx: 50 ms), and the end of the process gives it back at once.
                        let mut model = ManuallyDrop::new(model);
                        // A job has one channel for its whole life, which a panic hook must reach as well.
                        work.serve(&mut model, Box::leak(Box::new(channel)));
                        0
                    }
                    Ok((channel, Err(message))) => {
                        let _ = channel.send(&FromJob::LoadFailed(message), &[]);
                        1
                    }
                    Err(error) => {
                        eprintln!("a job cannot set itself up: {error}");
                        1
                    }
                };
                exit_now(status);
            }
            Ok(Forked::Parent { pid, pidfd }) => {
                tell(&control, &FromZygote::Forked { pid }, Some(&pidfd))?;
            }
            Err(error) => tell(&control, &FromZygote::ForkFailed(error.to_string()), None)?,
        }
    }
}

/// A message that cannot be sent after such a pause never will be.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Send, and take a supervisor that has gone for the end it is.
///
/// The kernel holds the descriptors that *all* processes of this user have under way against the sender's own limit:
/// a job that floods its channel with them would be the end of every zygote. They are under way for an instant only.
fn tell(
    control: &Channel<FromZygote, ToZygote>,
    message: &FromZygote,
    descriptor: Option<&PidFd>,
) -> io::Result<()> {
    let descriptors: Vec<_> = descriptor.map(AsFd::as_fd).into_iter().collect();
    let mut pause = Duration::from_micros(100);
    loop {
        match control.send(message, &descriptors) {
            Err(ChannelError::Io(error))
                if error.raw_os_error() == Some(libc::ETOOMANYREFS) && pause < LONGEST_PAUSE =>
            {
                std::thread::sleep(pause);
                pause *= 2;
            }
            result => return result.map_err(io::Error::other),
        }
    }
}

/// The supervisor's socket is our stdin; libraries find `/dev/null` there instead.
fn take_stdin() -> io::Result<Channel<FromZygote, ToZygote>> {
    // SAFETY: nothing in this process owns that number yet: a zygote is started with the descriptors 0, 1 and 2 only.
    if unsafe { libc::dup3(libc::STDIN_FILENO, CHANNEL, libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: dup3 has just made this descriptor; nothing else in this process owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(CHANNEL) };
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(Channel::new(socket))
}

/// The kernel shows 15 bytes of it in `ps` and `top`.
fn set_name(name: &str) -> io::Result<()> {
    let name: Vec<u8> = name.bytes().filter(|b| *b != 0).take(15).collect();
    let name = std::ffi::CString::new(name)?;
    Ok(prctl::set_name(&name)?)
}

/// In the forked child: leave everything of the zygote behind but its memory. `load` gives the model, which is in that
/// memory or must be loaded now.
fn become_job<Model>(
    channel: OwnedFd,
    stderr: &OwnedFd,
    sandbox: &mut Sandbox,
    load: impl FnOnce() -> Result<Model, String>,
) -> io::Result<(JobChannel, Result<Model, String>)> {
    // A supervisor that died before this call is noticed at the first read of the channel.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    set_name("job")?;
    sandbox.enter_domain()?;
    let source = channel.into_raw_fd();
    // SAFETY: both descriptors are open and ours. What descriptor 3 was before belongs to a zygote's value that this
    // process never uses or drops again: it leaves by _exit.
    if unsafe { libc::dup2(stderr.as_raw_fd(), libc::STDERR_FILENO) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    if unsafe { libc::dup2(source, CHANNEL) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let (first, last, flags) = (CHANNEL + 1, libc::c_uint::MAX, 0);
    // SAFETY: as above: every descriptor closed here belongs to a value that is never used again in this process.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: dup2 has just made this descriptor; nothing else in this process owns it.
    let channel = Channel::new(unsafe { OwnedFd::from_raw_fd(CHANNEL) });
    report_to_supervisor();
    let model = load();
    sandbox.enter_job()?;
    Ok((channel, model))
}
