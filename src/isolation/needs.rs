//! What the processes of an engine need: when it is loaded, and what it must be allowed.

use serde::{Deserialize, Serialize};

/// When a model may be loaded relative to the fork of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preload {
    /// Into the zygote: every job shares its pages. The library must have no threads after loading.
    #[default]
    BeforeFork,
    /// Into the job, ahead of its request: for libraries that cannot be forked once loaded.
    AfterFork,
}

/// What an engine's processes must be allowed; the sandbox forbids all the rest (`isolation::sandbox`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// A library that computes: it opens no file once its model is loaded, and never a socket.
    Library,
    /// A program, which the job starts and talks to.
    Program {
        /// Whether it can reach other machines.
        network: bool,
        /// Whether it can make memory executable.
        jit: bool,
    },
    /// A library that asks a service elsewhere: it opens sockets for TCP and name servers, and reads what these need.
    Network,
}

impl Profile {
    /// Whether jobs start a program, which needs a scratch directory.
    pub fn has_program(self) -> bool {
        matches!(self, Self::Program { .. })
    }
}
