//! The needs of one model's processes: when the model is loaded, and what the sandbox must allow.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// All that a zygote must know before it confines itself for its model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// When the model is loaded.
    pub preload: Preload,
    /// The kind of process that uses the model.
    pub profile: Profile,
    /// The files and ports that these processes use.
    pub reach: Reach,
    /// Whether jobs get their own memory in ordinary pages. Huge ones are cheaper to touch, but
    /// each large block of memory then has up to 2 MiB that nobody uses. What a job shares with its
    /// zygote stays in huge pages.
    pub small_pages: bool,
}

impl Needs {
    /// The needs of a library that loads a model from `files` and then only computes.
    pub fn of_library(files: Vec<PathBuf>) -> Self {
        Self {
            reach: Reach {
                files,
                ports: Vec::new(),
            },
            ..Self::default()
        }
    }
}

/// Things that a process may reach in addition to shared libraries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Files, and folders with all that is in them, that it can read.
    pub files: Vec<PathBuf>,
    /// TCP ports that it can connect to. If there is one, it can also read the system's files that
    /// name other machines.
    pub ports: Vec<u16>,
}

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

/// The kind of process that uses a model. The sandbox allows what this kind needs and forbids all
/// the rest (`isolation::sandbox`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// A library that computes: it opens no file once its model is loaded, and never a socket.
    #[default]
    Library,
    /// A program, which the job starts and talks to.
    Program {
        /// Whether it can reach other machines.
        network: bool,
        /// Whether it can make memory executable.
        jit: bool,
    },
    /// A library that asks a service elsewhere: it opens sockets for TCP and name servers, and
    /// reads what these need.
    Network,
}

impl Profile {
    /// Whether jobs start a program, which needs a scratch directory.
    pub fn has_program(self) -> bool {
        matches!(self, Self::Program { .. })
    }
}

/// Processes of other programs in the cgroup of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// The job is alone.
    None,
    /// A program that the job can start for its request (`isolation::standby`).
    Standby,
    /// The engine's program, which has a scratch directory. There can be a standby next to it.
    Program,
}

/// A program that each job can start once for its request (`isolation::standby`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyProgram {
    /// The program, by its absolute path, and its arguments.
    pub command: Vec<String>,
    /// Folder of the files that can be its standard input. They have no names, so nothing can be
    /// found in it.
    pub inputs: PathBuf,
}

/// A program to be started, and what it may reach.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The program, by its absolute path, and its arguments.
    pub command: &'a [String],
    /// Variables of its environment, which override those that every program has.
    pub environment: &'a BTreeMap<String, String>,
    /// Files and folders that it can read and execute in addition to the system's.
    pub files: &'a [PathBuf],
    /// Whether it can reach other machines.
    pub network: bool,
    /// Whether it can make memory executable.
    pub jit: bool,
}
