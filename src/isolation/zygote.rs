//! The life of a zygote: it has one thread and one model, and only forks on request.
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
    channel::{self, Channel, ChannelError, Message},
    clone::{Forked, Parentage, SingleThreaded, exit_now, fork},
    message::{FromZygote, Load, ToZygote},
    needs::{Needs, Preload, StandbyProgram},
    pidfd::PidFd,
    sandbox::{CHANNEL, Sandbox, report_to_supervisor},
    secret,
    standby::Standby,
    zeros::Zeros,
};
use serde::{Serialize, de::DeserializeOwned};

/// The work that a zygote's jobs do.
pub trait Work {
    /// Loaded once and shared by all jobs.
    type Model;
    /// A message from the supervisor to a job.
    type Order: Message + Serialize + DeserializeOwned + 'static;
    /// A message from a job to the supervisor.
    type Answer: Message + Serialize + DeserializeOwned + 'static;

    /// The needs of the processes of this model. Called before the zygote confines itself.
    ///
    /// # Errors
    /// A message for the administrator.
    fn needs(&self, order: &Load) -> Result<Needs, String>;

    /// Load the model: in the zygote, or in each job if the model requires that.
    ///
    /// # Errors
    /// A message for the administrator.
    fn load(&self, order: &Load) -> Result<Self::Model, String>;

    /// The message by which a job says that it was stopped at the forbidden system call with this
    /// number (`u32::MAX` if it is unknown). Called in a signal handler: it must not allocate.
    fn violation(call: u32) -> Self::Answer;

    /// Called in a forked job for which no request waits yet. Does the work that every request
    /// needs, so that the job maps the program's code and copies the pages that it writes before
    /// its request comes.
    fn rehearse(&self);

    /// Serve requests as a job, or say why the model cannot be loaded; the job ends when this
    /// returns. The job can start its standby, if it has one.
    fn serve(
        &self,
        model: Result<&mut Self::Model, String>,
        channel: &'static Channel<Self::Answer, Self::Order>,
        standby: Option<Standby>,
    );
}

/// Run as a zygote: load the model that the supervisor names over stdin, unless each job loads it,
/// then fork a job for each request of the supervisor.
///
/// `work` is made before anything is forbidden. This function returns when the supervisor is gone
/// or the model cannot be loaded.
///
/// # Errors
/// A supervisor did not start this process, or the machine lacks something basic.
pub fn run<W: Work>(work: impl FnOnce() -> io::Result<W>) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let control: Channel<FromZygote, ToZygote> = take_stdin()?;
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
    let mut start = || -> Result<_, String> {
        let needs = work.needs(&order)?;
        // The zygote does as well without them.
        let zeros = (needs.small_pages.then(Zeros::open)).and_then(Result::ok);
        let sandbox = Sandbox::enter(&needs, order.scratch.as_deref(), order.standby.as_ref())
            .map_err(|e| e.to_string())?;
        let model = match needs.preload {
            Preload::BeforeFork => {
                let model = work.load(&order)?;
                if let Some(zeros) = zeros {
                    let _ = zeros.give_back(&mut thread);
                }
                sandbox.loaded().map_err(|e| e.to_string())?;
                Some(model)
            }
            Preload::AfterFork => None,
        };
        let confinement = sandbox.check().map_err(|e| e.to_string())?;
        Ok((model, sandbox, confinement, needs.small_pages))
    };
    let (model, mut sandbox, confinement, small_pages) = match start() {
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
                if small_pages {
                    // A kernel that cannot do it has no huge pages.
                    let _ = prctl::set_thp_disable(true);
                }
                if ahead {
                    work.rehearse();
                }
                let load = || model.map_or_else(|| work.load(&order), Ok);
                let standby = order.standby.as_ref();
                let status = match become_job::<W>(channel, &stderr, &mut sandbox, standby, load) {
                    Ok((channel, model, standby)) => {
                        let is_loaded = model.is_ok();
                        // Never dropped: freeing piece by piece memory that is shared with the
                        // zygote would first copy all of it (pocketsphinx: 50 ms), and the end of
                        // the process frees it at once.
                        let mut model = model.map(ManuallyDrop::new);
                        let model = model.as_mut().map(|model| &mut **model);
                        // A job has one channel for its whole life; a panic hook must reach it too.
                        let channel = Box::leak(Box::new(channel));
                        work.serve(model.map_err(std::mem::take), channel, standby);
                        i32::from(!is_loaded)
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

/// Longest pause between attempts to send. A message that fails after it never succeeds.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Send a message; if the supervisor is gone, the zygote ends.
///
/// The kernel counts the descriptors in transit of *all* processes of this user against the
/// sender's limit. So a job that floods its channel with descriptors would otherwise end every
/// zygote. Descriptors are in transit only for an instant, so we try again.
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

/// Take the supervisor's socket from stdin, and leave `/dev/null` there for libraries.
pub(super) fn take_stdin<Out, In>() -> io::Result<Channel<Out, In>>
where
    Out: Message + Serialize,
    In: Message + DeserializeOwned,
{
    // SAFETY: nothing in this process owns that number yet: a zygote is started with the
    // descriptors 0, 1 and 2 only.
    if unsafe { libc::dup3(libc::STDIN_FILENO, CHANNEL, libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: dup3 has just made this descriptor; nothing else in this process owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(CHANNEL) };
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(Channel::new(socket))
}

/// Set the process name, of which the kernel shows 15 bytes in `ps` and `top`.
pub(super) fn set_name(name: &str) -> io::Result<()> {
    let name: Vec<u8> = name.bytes().filter(|b| *b != 0).take(15).collect();
    let name = std::ffi::CString::new(name)?;
    Ok(prctl::set_name(&name)?)
}

/// The job's end of its channel.
type JobChannel<W> = Channel<<W as Work>::Answer, <W as Work>::Order>;

/// A job that has set itself up: its channel, its model or why that cannot be loaded, its standby.
type NewJob<W> = (
    JobChannel<W>,
    Result<<W as Work>::Model, String>,
    Option<Standby>,
);

/// In the forked child: drop everything of the zygote but its memory. `load` returns the model,
/// which is in that memory or is loaded now. `standby` is the program of its standby.
fn become_job<W: Work>(
    channel: OwnedFd,
    stderr: &OwnedFd,
    sandbox: &mut Sandbox,
    standby: Option<&StandbyProgram>,
    load: impl FnOnce() -> Result<W::Model, String>,
) -> io::Result<NewJob<W>> {
    // If the supervisor died before this call, the first read of the channel shows it.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    set_name("job")?;
    sandbox.enter_domain()?;
    let source = channel.into_raw_fd();
    // SAFETY: both descriptors are open and ours. The earlier descriptor 3 belongs to a zygote's
    // value that this process never uses or drops again, because it leaves by _exit.
    if unsafe { libc::dup2(stderr.as_raw_fd(), libc::STDERR_FILENO) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    if unsafe { libc::dup2(source, CHANNEL) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let (first, last, flags) = (CHANNEL + 1, libc::c_uint::MAX, 0);
    // SAFETY: as above: every descriptor closed here belongs to a value that is never used again in
    // this process.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: dup2 has just made this descriptor; nothing else in this process owns it.
    let channel = Channel::new(unsafe { OwnedFd::from_raw_fd(CHANNEL) });
    report_to_supervisor(|call, buffer| {
        let message = channel::encode(&W::violation(call), buffer);
        message.ok()
    });
    let standby = standby
        .map(|program| Standby::fork(&program.command))
        .transpose()?;
    sandbox.enter_late_domain()?;
    let model = load();
    sandbox.enter_job()?;
    Ok((channel, model, standby))
}
