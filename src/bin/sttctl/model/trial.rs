//! The trial of a model: the daemon's program loads it and transcribes with it, in its sandbox.

use std::{env, path::Path, process::Stdio};

use tokio::process::Command;

use super::error::Error;

/// Program that tests a model, in the same folder as this one.
const DAEMON: &str = "stt-isolated";

/// Lets the daemon's program try the model at `copy`; `shown` is the user's name for it.
///
/// # Errors
///
/// The program cannot be started, or refuses the model.
pub async fn try_out(copy: &Path, shown: &str) -> Result<(), Error> {
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
    let reason = said.replace(&*copy.to_string_lossy(), shown);
    Err(Error::Unfit(match reason.as_str() {
        "" => format!("{DAEMON} check-model ended with {}", output.status),
        _ => reason,
    }))
}
