//! What is wrong with a configuration, and where.

use std::{fmt, io, path::PathBuf};

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What was to be the only model is none.
    #[error("{path} is no model that can be served: {reason}")]
    NoModel {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// One or more mistakes, one line each.
    #[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Problem>),
}

/// One mistake and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// `FILE:LINE`, or the environment variable.
    pub place: String,
    /// The dotted key, where one is concerned.
    pub key: Option<String>,
    /// What is wrong and what would be right.
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
