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
//! The policy files say all that is allowed; the filters of the stages 2 and 3 are the differences, computed. seccomp
//! is required. Landlock is taken as far as the kernel has it, and [`Confinement`] tells how far that is.

mod confinement;
mod constants;
mod filter;
mod landlock;
mod policy;
pub mod privileges;
mod seccomp;
#[cfg(test)]
mod tests;
pub(super) mod violation;

use std::{io, path::PathBuf};

pub use confinement::{Confinement, ConfinementError, read_back};
pub use policy::{PolicyError, Stage};
pub use violation::name as system_call_name;

use self::{
    confinement::OwnStatus,
    filter::{Others, Program},
    landlock::Domain,
    policy::Policy,
    privileges::PrivilegeError,
};

/// The descriptor by which a zygote talks to the supervisor, and a job, which has no other beside stdin, stdout and
/// stderr when it starts. The policies allow to send and receive on this one only.
pub(super) const CHANNEL: i32 = 3;

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
    nothing: Domain,
    forking: Program,
    job: Program,
}

impl Sandbox {
    /// Enter stage 1. This process can read shared libraries and `files` from now on, and write nothing.
    /// It must have one thread.
    ///
    /// # Errors
    /// Something that is required cannot be put in force; the process must not go on.
    pub fn enter(files: &[PathBuf]) -> Result<Self, SandboxError> {
        let policy = Policy::load()?;
        let status = OwnStatus::open()?;
        privileges::give_up()?;
        privileges::limit()?;
        violation::watch()?;
        let nothing = Domain::of_nothing()?;
        let landlock = landlock::confine(files)?;
        let loading = Program::new(&policy.changes(Stage::Load), Others::Forbidden);
        seccomp::install(&loading).map_err(SandboxError::Seccomp)?;
        Ok(Self {
            status,
            landlock,
            nothing,
            forking: Program::new(&policy.changes(Stage::Fork), Others::AsBefore),
            job: Program::new(&policy.changes(Stage::Job), Others::AsBefore),
        })
    }

    /// Enter stage 2: the model is loaded. Gives what is in force, as the kernel says.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub fn loaded(&self) -> Result<Confinement, SandboxError> {
        seccomp::install(&self.forking).map_err(SandboxError::Seccomp)?;
        Ok(Confinement {
            landlock: self.landlock,
            bounding_set_empty: self.status.check()?,
        })
    }

    /// Enter the Landlock domain of a job: the first half of stage 3, while the domain's descriptor is open.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(super) fn enter_nothing(&self) -> io::Result<()> {
        self.nothing.enter()
    }

    /// Enter stage 3 for good. From now on a violation ends this process with a word to the supervisor over
    /// [`CHANNEL`].
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(super) fn enter_job(&mut self) -> io::Result<()> {
        violation::report_to_supervisor();
        self.job.set_own_pid(std::process::id());
        seccomp::install(&self.job)
    }
}
