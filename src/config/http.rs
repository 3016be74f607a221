//! Clients' connections and uploads: `[http]`.

use std::{env, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    problems::Problems,
    units::{ByteSize, time},
};

/// The table `[http]`: limits of connections and uploads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Size of the largest recording that is accepted.
    pub max_upload: ByteSize,
    /// Uploads up to this size are spooled in memory, larger ones in an unlinked file.
    pub spool_memory: ByteSize,
    /// Folder of the unlinked files. Empty: `$CACHE_DIRECTORY` if systemd set it, else the system's
    /// temporary folder.
    pub spool_directory: PathBuf,
    /// Connections served at once. Further ones wait in the listening socket.
    pub max_connections: usize,
    /// Time limit for a client to send the head of its request.
    #[serde(with = "time")]
    pub header_timeout: Duration,
    /// Longest pause of a client in the middle of its body, or while it takes its answer.
    #[serde(with = "time")]
    pub body_timeout: Duration,
    /// Total waiting for a body is capped at `body_timeout` plus 1 s per this number of bytes
    /// received. 0 removes the cap: each pause is then judged separately.
    pub body_min_rate: ByteSize,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            max_upload: ByteSize::gib(1),
            spool_memory: ByteSize::mib(16),
            spool_directory: PathBuf::new(),
            max_connections: 512,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            body_min_rate: ByteSize::kib(1),
        }
    }
}

impl Http {
    /// The folder of the unlinked files.
    pub fn spool_folder(&self) -> PathBuf {
        if !self.spool_directory.as_os_str().is_empty() {
            return self.spool_directory.clone();
        }
        // systemd.exec(5): the folders of CacheDirectory=, separated by colons.
        let cache = env::var_os("CACHE_DIRECTORY");
        let cache = cache.and_then(|value| env::split_paths(&value).next());
        cache.unwrap_or_else(env::temp_dir)
    }

    /// Check every rule that the types cannot express.
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.max_upload.bytes() == 0 {
            problems.add("max_upload", "must be more than 0");
        }
        if self.max_connections == 0 {
            problems.add("max_connections", "must be at least 1");
        }
        problems.time("header_timeout", self.header_timeout);
        problems.time("body_timeout", self.body_timeout);
        let directory = &self.spool_directory;
        if !directory.as_os_str().is_empty() && !directory.is_dir() {
            let what = format!("{} is not a folder", directory.display());
            problems.add("spool_directory", what);
        }
    }
}
