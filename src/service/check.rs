//! Tests one model: loads it and lets it transcribe as in the service, in the same sandbox, then
//! releases it.

use std::{io, path::Path, sync::Arc};

use super::{error::ServeError, privileges};
use crate::{
    config::Config,
    dispatch::{Dispatcher, Health},
    isolation::Probe,
};

/// Reasons why the service could not use a model.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The model cannot be tried.
    #[error(transparent)]
    Service(#[from] ServeError),
    /// The model was tried and failed; holds the reason in one line.
    #[error("{0}")]
    Unfit(String),
}

impl From<io::Error> for CheckError {
    fn from(error: io::Error) -> Self {
        ServeError::from(error).into()
    }
}

/// Start a zygote for the only model of `config`, which is at `path`, and let one of its jobs
/// transcribe. There are no sockets and no cgroup, so no special rights are needed. The time limit
/// is `zygote.load_timeout`.
///
/// Call it while the process has one thread.
///
/// # Errors
/// The model cannot be used or tried.
pub fn check_model(config: Config, path: &Path) -> Result<(), CheckError> {
    privileges::become_owner(path.parent().unwrap_or(path)).map_err(ServeError::from)?;
    privileges::give_up(false)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let probe = Probe::run(None).map_err(ServeError::from)?;
        let dispatcher = Dispatcher::start(Arc::new(config), None, probe);
        let mut changes = dispatcher.health_changes();
        loop {
            match dispatcher.health().pop() {
                Some((_, Health::Ready)) => return Ok(()),
                Some((_, Health::Failed(reason) | Health::Tripped(reason))) => {
                    let lines: Vec<&str> = reason.lines().collect();
                    return Err(CheckError::Unfit(lines.join("; ")));
                }
                // Never an error, because the dispatcher owns the sender.
                Some((_, Health::Starting)) | None => drop(changes.changed().await),
            }
        }
    })
}
