//! `sttctl model`: puts a file into the models directory after the daemon's own program has tested
//! it, completely or not at all.

use std::{
    env,
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    cli::{self, Install, Model, Remove},
    error::report,
};

/// Program that tests a model, in the same folder as this one.
const DAEMON: &str = "stt-isolated";

/// Unit that reads the models directory.
const UNIT: &str = "stt-isolated.service";

/// Extension of a model's file.
const EXTENSION: &str = "bin";

/// Bytes copied at once.
const BLOCK: usize = 1 << 20;

/// Exit status if a signal ended the program, as in a shell.
const INTERRUPTED: u8 = 130;

/// Reasons why nothing was changed.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Read(#[source] io::Error),
    /// The path is a folder, a pipe or a device.
    #[error(
        "not a regular file; the folder of a model for Vosk is tried with `{DAEMON} check-model FOLDER` and copied there \
         by hand"
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
}

/// Advice for the user.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run this as root (sudo)",
        io::ErrorKind::NotFound => "; it is made when the service is started for the first time",
        _ => "",
    }
}

/// Installs or removes a model; the exit status says whether that succeeded.
pub async fn run(arguments: &Model) -> ExitCode {
    let (done, place) = match arguments {
        Model::Install(arguments) => (install_unless_told(arguments).await, &arguments.place),
        Model::Remove(arguments) => {
            let done = remove(arguments).map_err(|error| {
                report(None, &error.to_string());
                ExitCode::FAILURE
            });
            (done, &arguments.place)
        }
    };
    let message = match done {
        Ok(message) => message,
        Err(status) => return status,
    };
    // The work is done, even if the message cannot be written.
    let _ = writeln!(io::stdout(), "{message}");
    if place.reload {
        return reload().await;
    }
    let _ = writeln!(
        io::stdout(),
        "The service takes notice when it is told to: systemctl reload {UNIT}"
    );
    ExitCode::SUCCESS
}

/// Installs unless a signal comes. Problems have already been reported.
async fn install_unless_told(arguments: &Install) -> Result<String, ExitCode> {
    let file = Some(arguments.file.as_path());
    let mut signals = Signals::catch().map_err(|error| {
        report(None, &format!("cannot start: {error}"));
        ExitCode::FAILURE
    })?;
    tokio::select! {
        done = install(arguments) => done.map_err(|error| {
            report(file, &error.to_string());
            ExitCode::FAILURE
        }),
        () = signals.next() => {
            report(file, "interrupted, nothing was installed");
            Err(ExitCode::from(INTERRUPTED))
        }
    }
}

/// Signals that end an installation early. They are caught before there is anything to clean up.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn catch() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Copies the file into the directory under a hidden name, tests the copy, and renames it. So the
/// installed file is the tested one, even if the source changes meanwhile.
async fn install(arguments: &Install) -> Result<String, Error> {
    let Install { file, place, .. } = arguments;
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => cli::name(&file.file_stem().unwrap_or_default().to_string_lossy())
            .map_err(Error::Name)?,
    };
    let source = File::open(file).map_err(Error::Read)?;
    if !source.metadata().map_err(Error::Read)?.is_file() {
        return Err(Error::NotAFile);
    }
    let target = place.directory.join(format!("{name}.{EXTENSION}"));
    refuse_taken(&name, &target, arguments)?;
    let unwritable = |source| Error::Directory {
        directory: place.directory.clone(),
        source,
    };
    let copy = tempfile::Builder::new()
        .prefix(".install-")
        .suffix(&format!(".{EXTENSION}"))
        .tempfile_in(&place.directory)
        .map_err(unwritable)?;
    let sum = fill(&copy, source, unwritable).await?;
    if let Some(expected) = &arguments.sha256
        && *expected != sum
    {
        return Err(Error::Sum {
            found: sum,
            expected: expected.clone(),
        });
    }
    try_out(copy.path(), file).await?;
    let kept = if arguments.force {
        copy.persist(&target)
    } else {
        copy.persist_noclobber(&target)
    };
    kept.map_err(|failed| match failed.error.kind() {
        io::ErrorKind::AlreadyExists => Error::Taken(name.clone()),
        _ => unwritable(failed.error),
    })?;
    // Make the name survive a loss of power.
    let directory = File::open(&place.directory).and_then(|directory| directory.sync_all());
    directory.map_err(unwritable)?;
    Ok(format!(
        "Model `{name}` is {} (SHA-256 {sum}).",
        target.display()
    ))
}

fn refuse_taken(name: &str, target: &Path, arguments: &Install) -> Result<(), Error> {
    let folder = arguments.place.directory.join(name);
    if fs::symlink_metadata(&folder).is_ok_and(|there| there.is_dir()) {
        return Err(Error::Other(folder));
    }
    match fs::symlink_metadata(target) {
        Ok(there) if !there.is_file() => Err(Error::Other(target.into())),
        Ok(_) if !arguments.force => Err(Error::Taken(name.into())),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Copies `source` into `copy`, readable for everybody; returns its SHA-256.
async fn fill(
    copy: &NamedTempFile,
    source: File,
    unwritable: impl Fn(io::Error) -> Error,
) -> Result<String, Error> {
    let mut source = tokio::fs::File::from_std(source);
    let target = copy.as_file().try_clone().map_err(&unwritable)?;
    let mut target = tokio::fs::File::from_std(target);
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    loop {
        let length = source.read(&mut block).await.map_err(Error::Read)?;
        let Some(read @ [_, ..]) = block.get(..length) else {
            break;
        };
        hash.update(read);
        target.write_all(read).await.map_err(&unwritable)?;
    }
    let readable = Permissions::from_mode(0o644);
    target
        .set_permissions(readable)
        .await
        .map_err(&unwritable)?;
    target.flush().await.map_err(&unwritable)?;
    target.sync_all().await.map_err(&unwritable)?;
    let sum = hash.finalize();
    Ok(sum.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Lets the daemon's program load the model and transcribe with it; `file` is the user's name for
/// it.
async fn try_out(copy: &Path, file: &Path) -> Result<(), Error> {
    let own = env::current_exe();
    let program = own.map_or_else(|_| DAEMON.into(), |own| own.with_file_name(DAEMON));
    let mut command = Command::new(&program);
    command.arg("check-model").arg(copy).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.stderr(Stdio::piped()).output().await;
    let output = output.map_err(|source| Error::Daemon { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("stt-isolated: ");
    let reason = said.replace(&*copy.to_string_lossy(), &file.to_string_lossy());
    Err(Error::Unfit(match reason.as_str() {
        "" => format!("{DAEMON} check-model ended with {}", output.status),
        _ => reason,
    }))
}

fn remove(arguments: &Remove) -> Result<String, Error> {
    let Remove { name, place } = arguments;
    let folder = place.directory.join(name);
    let file = place.directory.join(format!("{name}.{EXTENSION}"));
    let there = [&file, &folder].map(|path| fs::symlink_metadata(path).ok());
    match there {
        [Some(kind), _] if kind.is_file() => {}
        [Some(_), _] => return Err(Error::Other(file)),
        [None, Some(_)] => return Err(Error::Other(folder)),
        [None, None] => return Err(Error::Missing(file)),
    }
    fs::remove_file(&file).map_err(|source| Error::Directory {
        directory: place.directory.clone(),
        source,
    })?;
    Ok(format!("{} is removed.", file.display()))
}

/// Lets systemd tell a running service; a stopped one reads the directory at its start.
async fn reload() -> ExitCode {
    let mut command = Command::new("systemctl");
    match command.args(["try-reload-or-restart", UNIT]).status().await {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => {
            report(None, &format!("systemctl could not reload {UNIT}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            report(None, &format!("cannot start systemctl: {error}"));
            ExitCode::FAILURE
        }
    }
}
