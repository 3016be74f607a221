//! What zygotes and jobs can never do: the order in which they give up their rights.
//!
//! A process gets stricter three times, and each stage is inherited by what it forks; what costs time is done where it
//! is done least often.
//!
//! 1. Before a zygote loads its model ([`Sandbox::enter`]), because the model's file may be hostile: no capabilities,
//!    `no_new_privs`, not dumpable, small limits, the handler of violations, Landlock (libraries and model readable,
//!    nothing else), and the first seccomp filter (`policy/zygote-load.toml`).
//! 2. Before it forks the first job ([`Sandbox::loaded`]): the second filter, under which no file can be opened and no
//!    memory made executable any more (`policy/zygote-fork.toml`).
//! 3. In each forked job ([`Sandbox::enter_job`]): a Landlock domain of its own in which nothing is allowed, which also
//!    keeps jobs from tracing and signalling each other, and a third, small filter that takes away what the zygote
//!    still needed to fork (`policy/job.toml` is what remains).
//!
//! A model that is loaded into each job ([`Preload::AfterFork`]) needs the rights of step 1 there: the zygote is empty
//! and never comes to step 2. The job enters a Landlock domain of its own in which it can read what the zygote can, loads,
//! and then takes the filter of step 3 with all the threads that the library has by then, which Landlock could not.
//!
//! A job that runs a program ([`Profile::Program`]) leads a process group, starts the program in a [`Cage`] — a Landlock
//! domain of its own and a filter of its own (`policy/program.toml` and those beside it), put in force between fork and
//! execve — and then comes to step 3 as any other: neither can signal or trace the other.
//!
//! Engines that ask a service elsewhere ([`Profile::Network`]) keep some of it: their jobs open sockets to the service's
//! port and to name servers (`policy/network.toml`), and read what these need.
//!
//! The policy files say all that is allowed; the filters of the stages 2 and 3 are the differences, computed. seccomp
//! is required. Landlock is taken as far as the kernel has it, and [`Confinement`] tells how far that is.

pub mod confinement;
mod constants;
mod filter;
mod landlock;
mod policy;
pub mod privileges;
mod seccomp;
#[cfg(test)]
mod tests;
pub(super) mod violation;

use std::{io, path::Path};

use nix::unistd::Pid;

pub use confinement::{Confinement, ConfinementError, read_back};
pub use landlock::Reach;
pub use policy::{PolicyError, Stage};
pub use violation::name as system_call_name;

use self::{
    confinement::OwnStatus,
    filter::{Others, Program},
    landlock::Domain,
    policy::Policy,
    privileges::PrivilegeError,
    seccomp::Threads,
};
use crate::config::{ExecSettings, Preload, Profile};

/// The descriptor by which a zygote talks to the supervisor, and a job, which has no other beside stdin, stdout and
/// stderr when it starts. The policies allow to send and receive on this one only.
pub(super) const CHANNEL: i32 = 3;

pub(super) use violation::report_to_supervisor;

/// Why a process cannot be confined.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The policies are wrong.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Privileges remain.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// Landlock is there and yet refuses.
    #[error("cannot confine the process by Landlock: {0}")]
    Landlock(#[from] ::landlock::RulesetError),
    /// No filter can be installed.
    #[error(
        "cannot install a seccomp filter: {0}; the kernel must have CONFIG_SECCOMP_FILTER, and a container's own \
         policy must allow the system call seccomp"
    )]
    Seccomp(#[source] io::Error),
    /// It seemed to work, and did not.
    #[error(transparent)]
    Confinement(#[from] ConfinementError),
    /// The system refuses something basic.
    #[error("cannot confine the process: {0}")]
    System(#[from] io::Error),
}

/// The sandbox of one zygote, and what is prepared for its jobs.
#[derive(Debug)]
pub struct Sandbox {
    status: OwnStatus,
    landlock: u32,
    profile: Profile,
    /// That of the jobs; `None`: one in which nothing is allowed is made when its program was started.
    domain: Option<Domain>,
    /// Those that a job can have when its filter is put in force.
    threads: Threads,
    forking: Program,
    job: Program,
}

impl Sandbox {
    /// Enter stage 1, with what processes of this profile are allowed. This process can read shared libraries and reach
    /// what is within `reach` from now on, and write nothing. It must have one thread.
    ///
    /// `scratches` is the folder of the scratch directories, where jobs run programs.
    ///
    /// # Errors
    /// Something that is required cannot be put in force; the process must not go on.
    pub fn enter(
        profile: Profile,
        preload: Preload,
        reach: &Reach,
        scratches: Option<&Path>,
    ) -> Result<Self, SandboxError> {
        let policy = Policy::load(profile)?;
        let status = OwnStatus::open()?;
        privileges::give_up()?;
        privileges::limit(profile)?;
        violation::watch()?;
        let (last, threads) = match preload {
            Preload::BeforeFork => (Stage::Fork, Threads::Own),
            Preload::AfterFork => (Stage::Load, Threads::All),
        };
        let domain = match (profile, preload) {
            (Profile::Program { .. }, _) => None,
            (_, Preload::BeforeFork) => Some(Domain::of_nothing()?),
            (_, Preload::AfterFork) => Some(Domain::of(reach)?),
        };
        let landlock = match (profile, scratches) {
            (Profile::Program { network, .. }, Some(scratches)) => {
                landlock::confine_for_programs(&reach.files, scratches, network)?
            }
            _ => landlock::confine(reach)?,
        };
        let loading = Program::new(&policy.rules(Stage::Load), Others::Forbidden);
        seccomp::install(&loading, Threads::Own).map_err(SandboxError::Seccomp)?;
        Ok(Self {
            status,
            landlock,
            profile,
            domain,
            threads,
            forking: Program::new(&policy.changes(Stage::Load, Stage::Fork), Others::AsBefore),
            job: Program::new(&policy.changes(last, Stage::Job), Others::AsBefore),
        })
    }

    /// Enter stage 2: the model is loaded.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub fn loaded(&self) -> Result<(), SandboxError> {
        seccomp::install(&self.forking, Threads::Own).map_err(SandboxError::Seccomp)
    }

    /// What is in force, as the kernel says.
    ///
    /// # Errors
    /// It is not what it should be.
    pub fn check(&self) -> Result<Confinement, SandboxError> {
        Ok(Confinement {
            landlock: self.landlock,
            bounding_set_empty: self.status.check()?,
        })
    }

    /// Enter the Landlock domain of a job: the first half of stage 3, while the domain's descriptor is open and before
    /// the library has threads.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(super) fn enter_domain(&self) -> io::Result<()> {
        if self.profile.has_program() {
            // By it the supervisor kills whatever the program leaves behind.
            nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        }
        self.domain.as_ref().map_or(Ok(()), Domain::enter)
    }

    /// Enter stage 3 for good, all threads.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(super) fn enter_job(&mut self) -> io::Result<()> {
        if self.profile.has_program() {
            let nothing = Domain::of_nothing().map_err(io::Error::other)?;
            nothing.enter()?;
            privileges::limit(Profile::Library)?;
        }
        self.job.set_own_pid(std::process::id());
        seccomp::install(&self.job, self.threads)
    }
}

/// What confines the program of a job, made ready before the fork: entering allocates nothing.
#[derive(Debug)]
pub(super) struct Cage {
    domain: Domain,
    filter: Program,
}

impl Cage {
    /// One in which the program of these settings reaches what they allow, and can write in `scratch`.
    ///
    /// # Errors
    /// As [`Sandbox::enter`].
    pub(super) fn new(settings: &ExecSettings, scratch: &Path) -> Result<Self, SandboxError> {
        let domain = Domain::for_program(&settings.files(), scratch, settings.network)?;
        let signals = landlock::keeps_signals_in();
        let rules = Policy::of_program(settings.network, settings.jit, signals)?;
        let filter = Program::new(&rules, Others::Forbidden);
        Ok(Self { domain, filter })
    }

    /// Enter it for good, in the forked child that executes the program next. Async-signal-safe.
    ///
    /// # Errors
    /// What the kernel says; the program must not be executed then.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        self.domain.enter()?;
        self.filter.set_own_pid(std::process::id());
        seccomp::install(&self.filter, Threads::Own)
    }
}
