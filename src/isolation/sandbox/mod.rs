//! The limits of zygotes and jobs, and the order in which they give up their rights.
//!
//! A process gets stricter three times, and each stage is inherited by its forks. Costly steps are
//! done in the stage that runs least often.
//!
//! 1. Before a zygote loads its model ([`Sandbox::enter`]), because the model's file may be
//!    hostile: no capabilities, `no_new_privs`, not dumpable, small limits, the handler of
//!    violations, Landlock (only libraries and model are readable), and the first seccomp filter
//!    (`policy/zygote-load.toml`).
//! 2. Before it forks the first job ([`Sandbox::loaded`]): the second filter, under which no file
//!    can be opened and no memory can become executable any more (`policy/zygote-fork.toml`).
//! 3. In each forked job ([`Sandbox::enter_job`]): its own Landlock domain, in which nothing is
//!    allowed and which keeps jobs from tracing and signalling each other. A third, small filter
//!    takes away the calls that the zygote still needed to fork (`policy/job.toml` remains).
//!
//! A model that is loaded in each job ([`Preload::AfterFork`]) needs the rights of step 1 there.
//! Its zygote is empty and never takes step 2. The job enters its own Landlock domain, in which it
//! can read the same files as the zygote, and loads the model. Then it takes the filter of step 3
//! with all threads that the library has started by then. Landlock could not be applied to those
//! threads.
//!
//! A job that runs a program ([`Profile::Program`]) leads a process group. It starts the program in
//! a [`Cage`]: its own Landlock domain and its own filter (`policy/program.toml` and its
//! neighbours), applied between fork and execve. Then the job takes step 3 like any other. Job and
//! program cannot signal or trace each other.
//!
//! If the administrator configured a program for all jobs (`isolation::standby`), a forked job
//! makes a standby before it enters its Landlock domain. So the zygote keeps the rights of a
//! program in the first two steps. The job gives them up in step 3, except that it can start the
//! standby once.
//!
//! Engines that ask a remote service ([`Profile::Network`]) keep some rights: their jobs open
//! sockets to the service's port and to name servers (`policy/network.toml`), and read the files
//! for that.
//!
//! The policy files list everything that is allowed; the filters of stages 2 and 3 are computed as
//! differences. seccomp is required. Landlock is used to the extent that the kernel has it, and
//! [`Confinement`] reports that extent.

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

use std::{io, os::fd::BorrowedFd, path::Path};

use nix::unistd::Pid;

pub use confinement::{Confinement, ConfinementError, read_back};
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
use crate::isolation::{Launch, Needs, Preload, Profile, Reach, StandbyProgram};

/// Descriptor through which a zygote or a job talks to the supervisor. When a job starts, it has
/// only this one, stdin, stdout and stderr. The policies allow sending and receiving on this
/// descriptor only.
pub(super) const CHANNEL: i32 = 3;

/// Descriptor through which a job starts its standby, if it has one. The policies allow sending on
/// it.
pub(super) const STANDBY: i32 = CHANNEL + 1;

pub(super) use violation::report_to_supervisor;

/// Reasons why a process cannot be confined.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The policy files are wrong.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Privileges cannot be given up.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// The kernel has Landlock but refuses.
    #[error("cannot confine the process by Landlock: {0}")]
    Landlock(#[from] ::landlock::RulesetError),
    /// The filter cannot be installed.
    #[error(
        "cannot install a seccomp filter: {0}; the kernel must have CONFIG_SECCOMP_FILTER, and a container's own \
         policy must allow the system call seccomp"
    )]
    Seccomp(#[source] io::Error),
    /// The steps succeeded, but the confinement is not in force.
    #[error(transparent)]
    Confinement(#[from] ConfinementError),
    /// The system refuses a basic step.
    #[error("cannot confine the process: {0}")]
    System(#[from] io::Error),
}

/// The sandbox of one zygote, with everything prepared for its jobs.
#[derive(Debug)]
pub struct Sandbox {
    status: OwnStatus,
    landlock: u32,
    profile: Profile,
    /// Rights of the jobs' Landlock domain. `None` if the job starts its engine's program: it then
    /// makes a domain in which nothing is allowed.
    rights: Option<Rights>,
    /// That domain. `None` if the job has a standby: it makes its domain after that.
    domain: Option<Domain>,
    has_standby: bool,
    /// The threads to which a job's filter applies.
    threads: Threads,
    forking: Program,
    job: Program,
}

/// The rights of a job in its Landlock domain.
#[derive(Debug)]
enum Rights {
    Nothing,
    /// Libraries, and these.
    Of(Reach),
}

impl Rights {
    fn domain(&self) -> Result<Domain, ::landlock::RulesetError> {
        match self {
            Self::Nothing => Domain::of_nothing(),
            Self::Of(reach) => Domain::of(reach),
        }
    }
}

impl Sandbox {
    /// Enter stage 1 with the rights of `needs.profile`. From now on this process can read shared
    /// libraries, reach the contents of `needs.reach`, and write nothing. It must have one thread.
    ///
    /// `scratches` is the folder of the scratch directories, if jobs run programs. `standby` is the
    /// program that each job can start, if there is one.
    ///
    /// # Errors
    /// A required restriction cannot be applied; the process must not continue.
    pub fn enter(
        needs: &Needs,
        scratches: Option<&Path>,
        standby: Option<&StandbyProgram>,
    ) -> Result<Self, SandboxError> {
        let Needs {
            preload,
            profile,
            ref reach,
            small_pages: _,
        } = *needs;
        let policy = Policy::load(profile, standby.is_some())?;
        let status = OwnStatus::open()?;
        privileges::give_up()?;
        privileges::limit(profile)?;
        violation::watch()?;
        let (last, threads) = match preload {
            Preload::BeforeFork => (Stage::Fork, Threads::Own),
            Preload::AfterFork => (Stage::Load, Threads::All),
        };
        let rights = match (profile, preload) {
            (Profile::Program { .. }, _) => None,
            (_, Preload::BeforeFork) => Some(Rights::Nothing),
            (_, Preload::AfterFork) => Some(Rights::Of(reach.clone())),
        };
        let ready = rights.as_ref().filter(|_| standby.is_none());
        let domain = ready.map(Rights::domain).transpose()?;
        let landlock = match (profile, scratches) {
            (Profile::Program { network, .. }, Some(scratches)) => {
                landlock::confine_for_programs(&reach.files, scratches, network, standby)?
            }
            _ => landlock::confine(reach, standby)?,
        };
        let loading = Program::new(&policy.rules(Stage::Load), Others::Forbidden);
        seccomp::install(&loading, Threads::Own).map_err(SandboxError::Seccomp)?;
        Ok(Self {
            status,
            landlock,
            profile,
            rights,
            domain,
            has_standby: standby.is_some(),
            threads,
            forking: Program::new(&policy.changes(Stage::Load, Stage::Fork), Others::AsBefore),
            job: Program::new(&policy.changes(last, Stage::Job), Others::AsBefore),
        })
    }

    /// Enter stage 2, after the model is loaded.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub fn loaded(&self) -> Result<(), SandboxError> {
        seccomp::install(&self.forking, Threads::Own).map_err(SandboxError::Seccomp)
    }

    /// The confinement in force, as the kernel reports it.
    ///
    /// # Errors
    /// A part that should be in force is not.
    pub fn check(&self) -> Result<Confinement, SandboxError> {
        Ok(Confinement {
            landlock: self.landlock,
            bounding_set_empty: self.status.check()?,
        })
    }

    /// Enter the Landlock domain of a job, unless it first makes a standby. This is the first half
    /// of stage 3: the domain's descriptor is still open, and the library has no threads yet.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(super) fn enter_domain(&self) -> io::Result<()> {
        if self.profile.has_program() || self.has_standby {
            // Through this group the supervisor kills all that other programs leave behind.
            nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        }
        self.domain.as_ref().map_or(Ok(()), Domain::enter)
    }

    /// Enter the Landlock domain of a job that has made its standby.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(super) fn enter_late_domain(&self) -> io::Result<()> {
        match &self.rights {
            Some(rights) if self.has_standby => rights.domain().map_err(io::Error::other)?.enter(),
            _ => Ok(()),
        }
    }

    /// Enter stage 3 with all threads. It cannot be left again.
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

/// The confinement of a job's program. It is prepared before the fork, so that entering allocates
/// nothing.
#[derive(Debug)]
pub(super) struct Cage {
    domain: Domain,
    filter: Program,
}

impl Cage {
    /// Prepare a cage in which the program can use what `launch` allows, and can write in
    /// `scratch`.
    ///
    /// # Errors
    /// As [`Sandbox::enter`].
    pub(super) fn new(launch: &Launch<'_>, scratch: &Path) -> Result<Self, SandboxError> {
        let domain = Domain::for_program(launch.files, scratch, launch.network)?;
        let signals = landlock::keeps_signals_in();
        let rules = Policy::of_program(launch.network, launch.jit, signals)?;
        let filter = Program::new(&rules, Others::Forbidden);
        Ok(Self { domain, filter })
    }

    /// Prepare a cage in which `program` can use what any program needs, and can read `input`. It
    /// can write nothing but its open descriptors.
    ///
    /// # Errors
    /// As [`Sandbox::enter`].
    pub(super) fn of_standby(program: &Path, input: BorrowedFd<'_>) -> Result<Self, SandboxError> {
        let domain = Domain::for_standby(program, input)?;
        let rules = Policy::of_standby()?;
        let filter = Program::new(&rules, Others::Forbidden);
        Ok(Self { domain, filter })
    }

    /// Enter the cage, in the forked child that executes the program next. Async-signal-safe.
    ///
    /// # Errors
    /// The error of the system call; the program must not be executed then.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        self.domain.enter()?;
        self.filter.set_own_pid(std::process::id());
        seccomp::install(&self.filter, Threads::Own)
    }
}
