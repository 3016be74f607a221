//! Reasons why a model was not installed, downloaded or removed.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::text::size;

/// Reasons why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Read(#[source] io::Error),
    /// The path is a folder, a pipe or a device.
    #[error(
        "not a regular file; the folder of a model is tried with `stt-isolated check-model FOLDER` and copied \
         there by hand"
    )]
    NotAFile,
    /// Its file name cannot be the model's name.
    #[error("{0}: choose one with --name")]
    Name(String),
    /// The directory is missing, or this user may not write to it.
    #[error("cannot write into {}: {source}{}", directory.display(), hint(.source))]
    Directory {
        /// Path of the models directory.
        directory: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The command would replace another model.
    #[error("there is a model `{0}` already: choose another --name, or replace it with --force")]
    Taken(String),
    /// The path with this name is not a file.
    #[error("{} is no file: remove it yourself", .0.display())]
    Other(PathBuf),
    /// The model to remove does not exist.
    #[error("there is no {}; models that the configuration names are removed there", .0.display())]
    Missing(PathBuf),
    /// The checksum does not match.
    #[error("its SHA-256 is {found}, not {expected}: it is damaged, or another file")]
    Sum {
        /// SHA-256 of the file.
        found: String,
        /// SHA-256 that the user expects.
        expected: String,
    },
    /// The program that tests the model cannot be started.
    #[error("it cannot be tried: {}: {source}", program.display())]
    Daemon {
        /// Path of the daemon's program.
        program: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The service could not use the model.
    #[error("it cannot be served: {0}")]
    Unfit(String),
    /// The service could not use a model that was downloaded.
    #[error("{}; the download is kept (.pull-* in {}), so the next pull needs only the trial", .0, .1.display())]
    UnfitDownload(Box<Error>, PathBuf),
    /// The catalogue has no such model.
    #[error("the catalogue has no model `{0}`; `sttctl model list --available` shows all")]
    Unknown(String),
    /// There is no catalogue.
    #[error(
        "there is no catalogue of models: /usr/share/stt-isolated/models.toml belongs to the package; in a checkout, set \
         STT_ISOLATED_CATALOGUE=config/models.toml"
    )]
    NoCatalogue,
    /// A variable does not have an address.
    #[error(
        "{variable}=\"{value}\" is not an address: write https://HOST/PATH or http://HOST/PATH"
    )]
    Address {
        /// Name of the variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// The disk is too full.
    #[error(
        "{} more are needed, but {} has only {} free: {} are missing",
        size(*needed), directory.display(), size(*free), size(needed.saturating_sub(*free))
    )]
    Space {
        /// Bytes that are still to come.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// Path of the models directory.
        directory: PathBuf,
    },
    /// Another process downloads the same file.
    #[error("another `sttctl model pull` is getting the same file: wait until it has ended")]
    Busy,
    /// The client cannot be set up.
    #[error("cannot speak HTTPS: {0}")]
    Client(String),
    /// The server answers with an error.
    #[error("{url}: the server says {status}{}", advice(*status))]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: reqwest::StatusCode,
    },
    /// The server sends to a place that is not allowed, or around in circles.
    #[error("{url}: {reason}")]
    Redirect {
        /// The address.
        url: String,
        /// The reason.
        reason: String,
    },
    /// The file has another length than the catalogue says.
    #[error(
        "{url}: the server has {}, but the catalogue says {expected} bytes: this is another file",
        found.map_or_else(|| format!("more than {expected} bytes"), |found| format!("{found} bytes"))
    )]
    Size {
        /// The address.
        url: String,
        /// Bytes that the server has, if it says so.
        found: Option<u64>,
        /// Bytes that it should have.
        expected: u64,
    },
    /// The downloaded file has another checksum.
    #[error(
        "{url}: the SHA-256 of what came is {found}, not {expected}: it is another file, or was changed on its way; \
         nothing of it was kept"
    )]
    WrongSum {
        /// The address.
        url: String,
        /// SHA-256 of what came.
        found: String,
        /// SHA-256 in the catalogue.
        expected: String,
    },
    /// The server cannot be reached.
    #[error(
        "{url}: {reason}; is this machine online? A proxy is named by https_proxy, a mirror by STT_ISOLATED_MIRROR or HF_ENDPOINT"
    )]
    Unreachable {
        /// The address.
        url: String,
        /// The reason.
        reason: String,
    },
    /// The connection broke several times.
    #[error(
        "{url}: {reason}, at {} of {}; that much is kept: pull again to go on",
        size(*have), size(*all)
    )]
    Broken {
        /// The address.
        url: String,
        /// The last reason.
        reason: String,
        /// Bytes that have come.
        have: u64,
        /// Bytes of the whole file.
        all: u64,
    },
    /// The list cannot be written.
    #[error("cannot write the list: {0}")]
    Write(#[source] io::Error),
}

impl Error {
    /// An error of the system with a path in `directory`.
    pub fn in_directory(directory: &Path) -> impl Fn(io::Error) -> Error + use<> {
        let directory = directory.to_owned();
        move |source| Error::Directory {
            directory: directory.clone(),
            source,
        }
    }
}

/// Advice for the user.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run this as root (sudo)",
        io::ErrorKind::NotFound => "; it is made when the service is started for the first time",
        io::ErrorKind::StorageFull => "; what has come is kept: make room and pull again to go on",
        _ => "",
    }
}

/// Advice for the user about an HTTP status.
fn advice(status: reqwest::StatusCode) -> &'static str {
    match status.as_u16() {
        404 | 410 => {
            ": the file is not there any more; a newer package may know its new place, or an entry in \
             /etc/stt-isolated/models.d"
        }
        401 | 403 | 407 => {
            ": it wants to know who asks, which is not possible here; use another mirror or proxy"
        }
        429 | 500..=599 => ": pull again later; what has come is kept",
        _ => "",
    }
}
