//! The mistakes in a configuration, and their places.

use std::{fmt, io, path::PathBuf};

/// The reason why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// The configuration file that was tried.
        path: PathBuf,
        /// The reason that the system gives.
        source: io::Error,
    },
    /// The file or folder that was to be the only model cannot be served as one.
    #[error("{path} is no model that can be served: {reason}")]
    NoModel {
        /// The file or folder.
        path: PathBuf,
        /// The reason why it cannot be served.
        reason: String,
    },
    /// One or more mistakes, one line each.
    #[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Problem>),
}

/// One mistake and its place.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// `FILE:LINE`, or the environment variable.
    pub place: String,
    /// The dotted key, if one is concerned.
    pub key: Option<String>,
    /// A sentence that says the mistake and, if possible, a correct value.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {key}: {}", self.place, self.what),
            None => write!(f, "{}: {}", self.place, self.what),
        }
    }
}
