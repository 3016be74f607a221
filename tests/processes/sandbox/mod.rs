//! The sandbox from inside: real zygotes and real jobs that try to get out, and honest ones that
//! must not notice it.
//!
//! This program is its own zygote: the isolation floor starts `/proc/self/exe zygote`, which is
//! this binary. So no test harness is in the way, which would have threads, and all code is the
//! code that the service runs. Works as root and as any user; run it as both.

mod attempts;
mod honest;
mod loading;
pub(super) mod supervisor;

use std::{
    fs::File,
    io::Write as _,
    os::fd::{AsFd, AsRawFd},
    process::ExitCode,
    time::Duration,
};

use libtest_mimic::{Failed, Trial};
use nix::sys::memfd::{MFdFlags, memfd_create};
use stt_isolated::{
    config::Limits,
    engine::{EngineConfig as _, pocketsphinx::PocketsphinxSettings},
    isolation::{
        Company, How, Load, Needs, ProcessError, Slots, Standby,
        sandbox::{read_back, system_call_name},
        zygote,
    },
    job::wire::{FromJob, JobChannel, JobProcess, Order, ToJob, ZygoteProcess},
    request::{Ask, Code, Failure, Figures},
};
use tokio::{io::AsyncReadExt, net::unix::pipe};

use crate::common::LONG;

/// The end that an attempt in a job must have.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// The job is ended and names this system call.
    Violation(&'static str),
    /// As a violation, or without a name: glibc (since 2.41 also in fork) blocks every signal
    /// around the call, and the kernel kills at once who cannot take SIGSYS.
    Stopped(&'static str),
    /// It returns without a complaint and the job goes on.
    Fine,
    /// The job dies by this signal.
    Signal(i32),
}

/// One thing to try in a job.
struct Attempt {
    name: &'static str,
    expect: Expect,
    /// An error for what should not have been possible, or should have been.
    run: fn(&Surroundings) -> Result<(), String>,
}

/// Everything that a job could attack.
#[derive(Debug)]
struct Surroundings {
    supervisor: i32,
    zygote: i32,
    neighbour: i32,
    recording: i32,
}

/// The work of these jobs: an attempt each.
struct Attempting;

impl zygote::Work for Attempting {
    type Model = ();
    type Order = ToJob;
    type Answer = FromJob;

    fn needs(&self, _: &Load) -> Result<Needs, String> {
        Ok(PocketsphinxSettings::default().needs())
    }

    fn load(&self, order: &Load) -> Result<(), String> {
        loading::run(&order.model)
    }

    fn violation(call: u32) -> FromJob {
        FromJob::Violation { call }
    }

    fn rehearse(&self) {}

    fn serve(
        &self,
        model: Result<&mut (), String>,
        channel: &'static JobChannel,
        _: Option<Standby>,
    ) {
        model.unwrap();
        job(channel);
    }
}

/// This program as a zygote, whose jobs try things.
pub(super) fn zygote() -> ExitCode {
    match zygote::run(|| Ok(Attempting)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for attempt in attempts::ALL.iter().chain(honest::ALL) {
        trials.push(trial(attempt.name, || run(attempt)));
    }
    for (name, expect, _) in loading::ALL {
        trials.push(trial(name, || load(name, *expect)));
    }
    trials.push(trial(
        "supervisor::works_without_privileges",
        supervisor::test,
    ));
    trials.push(trial(
        "read_back::a_job_is_confined_as_the_kernel_says",
        || {
            in_runtime(async {
                let (mut zygote, _stderr) = start("fine").await?;
                let job = fork(&mut zygote).await?;
                match read_back(job.pid()) {
                    Ok(true) => {}
                    other => return Err(format!("{other:?}").into()),
                }
                // This very program is not.
                if read_back(std::process::id().cast_signed()).is_ok() {
                    return Err("an unconfined process passes for a confined one".into());
                }
                job.dismiss(Duration::from_secs(1)).await;
                Ok(())
            })
        },
    ));
    trials
}

fn trial(name: &str, run: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::test(format!("sandbox::{name}"), run)
}

fn in_runtime(test: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(test)
}

/// A zygote that tries `what` while it loads.
async fn start(what: &str) -> Result<(ZygoteProcess, pipe::Receiver), Failed> {
    let (zygote, result, stderr) = start_and_load(what).await?;
    result?;
    Ok((zygote, stderr))
}

async fn start_and_load(
    what: &str,
) -> Result<(ZygoteProcess, Result<(), ProcessError>, pipe::Receiver), Failed> {
    let (mut zygote, stderr) = ZygoteProcess::start(None)?;
    let load = Load {
        model: what.into(),
        settings: Vec::new(),
        scratch: None,
        standby: None,
        secret: None,
    };
    let result = zygote.load(load, LONG).await;
    Ok((zygote, result.map(|_| ()), stderr))
}

async fn fork(zygote: &mut ZygoteProcess) -> Result<JobProcess, Failed> {
    let slot = Slots::new(None, 1).take(Limits::default().of_cgroup(), Company::None)?;
    zygote.begin_fork(slot.ok_or("no slot")?, true).await?;
    let job = zygote.forked().await?;
    match job.receive().await? {
        FromJob::Ready => Ok(job),
        other => Err(format!("a job said {other:?} instead of ready").into()),
    }
}

/// Try one thing in a job, with another job next to it that must not notice.
fn run(attempt: &Attempt) -> Result<(), Failed> {
    in_runtime(async {
        let (mut zygote, _stderr) = start("fine").await?;
        let mut neighbour = fork(&mut zygote).await?;
        let mut job = fork(&mut zygote).await?;
        let surroundings = [
            std::process::id().cast_signed(),
            zygote.pid(),
            neighbour.pid(),
        ];
        let answer = give(&mut job, attempt.name, &surroundings).await;
        match (attempt.expect, answer) {
            (Expect::Fine, Ok(FromJob::Done { .. })) => {
                job.dismiss(Duration::from_secs(1)).await;
            }
            (Expect::Violation(name) | Expect::Stopped(name), Ok(FromJob::Violation { call })) => {
                if system_call_name(call).unwrap_or("unknown") != name {
                    return Err(format!("{:?} was reported", system_call_name(call)).into());
                }
                let exit = job.ended().await?;
                if exit.how != How::Status(159) {
                    return Err(format!("{}", exit.how).into());
                }
            }
            (Expect::Stopped(_), Err(_)) => {
                let exit = job.ended().await?;
                if exit.how != How::Signal(libc::SIGSYS) {
                    return Err(format!("{}", exit.how).into());
                }
            }
            (Expect::Signal(signal), Err(_)) => {
                let exit = job.ended().await?;
                if exit.how != How::Signal(signal) {
                    return Err(format!("{}", exit.how).into());
                }
            }
            (expected, got) => {
                let exit = job.ended();
                let exit = tokio::time::timeout(Duration::from_millis(200), exit).await;
                return Err(format!("{expected:?} was expected, got {got:?}, {exit:?}").into());
            }
        }
        // The neighbour and the zygote are as they were.
        match give(&mut neighbour, "nothing", &surroundings).await? {
            FromJob::Done { .. } => neighbour.dismiss(Duration::from_secs(1)).await,
            other => return Err(format!("the neighbour said {other:?}").into()),
        }
        let next = fork(&mut zygote).await?;
        next.dismiss(Duration::from_secs(1)).await;
        Ok(())
    })
}

async fn give(
    job: &mut JobProcess,
    what: &str,
    surroundings: &[i32; 3],
) -> Result<FromJob, Failed> {
    let mut recording: File = memfd_create(c"recording", MFdFlags::MFD_CLOEXEC)?.into();
    recording.write_all(b"RIFF")?;
    let order = Order {
        id: 1,
        max_audio: Duration::from_secs(1),
        ask: Ask {
            language: Some(surroundings.map(|id| id.to_string()).join(" ")),
            fault: Some(what.into()),
            ..Ask::default()
        },
    };
    job.assign(&ToJob::Transcribe(order), recording.as_fd())?;
    Ok(tokio::time::timeout(LONG, job.receive()).await??)
}

/// The work of a job of this program, instead of transcribing.
fn job(channel: &JobChannel) {
    channel.send(&FromJob::Ready, &[]).unwrap();
    let Ok((ToJob::Transcribe(order), descriptors)) = channel.receive() else {
        return;
    };
    let ids = order.ask.language.unwrap();
    let ids: Vec<i32> = ids.split(' ').map(|id| id.parse().unwrap()).collect();
    let surroundings = Surroundings {
        supervisor: ids[0],
        zygote: ids[1],
        neighbour: ids[2],
        recording: descriptors[0].as_raw_fd(),
    };
    let name = order.ask.fault.unwrap();
    let attempt = attempts::ALL.iter().chain(honest::ALL);
    let result = match attempt.into_iter().find(|attempt| attempt.name == name) {
        Some(attempt) => (attempt.run)(&surroundings),
        None => Ok(()),
    };
    let answer = match result {
        Ok(()) => FromJob::Done {
            id: order.id,
            figures: Figures::default(),
        },
        Err(message) => FromJob::Failed {
            id: order.id,
            failure: Failure::new(Code::EngineFailed, message),
        },
    };
    channel.send(&answer, &[]).unwrap();
    let _ = channel.receive();
}

/// Try one thing in a zygote that loads.
fn load(name: &str, expect: Expect) -> Result<(), Failed> {
    in_runtime(async {
        let (mut zygote, result, mut stderr) = start_and_load(name).await?;
        match (expect, result) {
            (Expect::Fine, Ok(())) => {
                let job = fork(&mut zygote).await?;
                job.dismiss(Duration::from_secs(1)).await;
                Ok(())
            }
            (Expect::Violation(call), Err(ProcessError::Ended(how))) => {
                let mut text = String::new();
                stderr.read_to_string(&mut text).await?;
                let line = format!("forbidden system call: {call} (");
                if how.contains("forbidden") && text.starts_with(&line) {
                    Ok(())
                } else {
                    Err(format!("{how}: {text}").into())
                }
            }
            (Expect::Stopped(_), Err(ProcessError::Ended(how))) if how.contains("forbidden") => {
                Ok(())
            }
            (_, result) => Err(format!("{expect:?} was expected, got {result:?}").into()),
        }
    })
}
