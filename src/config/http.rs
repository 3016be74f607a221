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
    /// Connections served at once; at most three quarters of them over TCP. Further ones wait in
    /// the listening socket.
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
    /// Names by which clients over TCP may call the service, as in `stt.example.org`. `localhost`
    /// and addresses need not be listed.
    pub hosts: Vec<String>,
    /// Origins whose pages may ask over TCP, as in `https://app.example.org`.
    pub cors_origins: Vec<String>,
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
            hosts: Vec::new(),
            cors_origins: Vec::new(),
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
        if self.hosts.iter().any(|host| !is_host(host)) {
            problems.add(
                "hosts",
                "each is a name without a port, in small letters, as in `stt.example.org`",
            );
        }
        if self.cors_origins.iter().any(|origin| !is_origin(origin)) {
            let what = "each is a scheme and a host as browsers write them, as in `https://app.example.org` or \
                        `http://app.example.org:8080`: in small letters, without a path, never `*` or `null`";
            problems.add("cors_origins", what);
        }
        let directory = &self.spool_directory;
        if !directory.as_os_str().is_empty() && !directory.is_dir() {
            let what = format!("{} is not a folder", directory.display());
            problems.add("spool_directory", what);
        }
    }
}

/// Whether `name` can be the name of a host, as `foreign.rs` in the API compares it.
fn is_host(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    !name.is_empty() && name.bytes().all(allowed) && !name.starts_with('.') && !name.ends_with('.')
}

/// Whether a browser can name `origin` in the header `Origin`. Schemes of applications and of
/// extensions are allowed too.
fn is_origin(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else {
        return false;
    };
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => (host, port),
        _ => (host, "0"),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .map_or_else(
            || is_host(host),
            |address| address.parse::<std::net::Ipv6Addr>().is_ok(),
        );
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    !scheme.is_empty() && scheme.bytes().all(letter) && host && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        for right in [
            "https://app.example.org",
            "http://localhost:3000",
            "http://127.0.0.1:80",
            "https://[::1]:8443",
            "https://[::1]",
            "chrome-extension://abcdefgh",
            "app://obsidian.md",
        ] {
            assert!(is_origin(right), "{right}");
        }
        for wrong in [
            "",
            "*",
            "null",
            "app.example.org",
            "https://",
            "https://*.example.org",
            "https://a.org/",
            "https://a.org/x",
            "https://A.org",
            "https://a.org:x",
            "https://a.org:",
            "https://u@a.org",
            "://a.org",
            "https://[::1",
            "https://a.org:99999",
        ] {
            assert!(!is_origin(wrong), "{wrong}");
        }
    }
}
