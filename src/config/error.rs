//! What is wrong with a configuration, and where.

use std::{fmt, io, path::PathBuf};

use super::source::Source;
use crate::problems::Problems;

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

impl ConfigError {
    /// Nothing, if there are no problems.
    ///
    /// # Errors
    /// All problems, each with the place in `source` where it stands.
    pub(super) fn unless_none(problems: Problems, source: &Source<'_>) -> Result<(), Self> {
        let mut told = Vec::new();
        for mistake in problems.into_mistakes() {
            let key: Vec<&str> = mistake.key.iter().map(String::as_str).collect();
            let problem = source.problem(&key, mistake.what);
            // Several models may have the same from a general table.
            if !told.contains(&problem) {
                told.push(problem);
            }
        }
        match told.is_empty() {
            true => Ok(()),
            false => Err(Self::Invalid(told)),
        }
    }
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
