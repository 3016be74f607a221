//! Sends messages to the journal with their fields if systemd connected us to it, else as lines to
//! stderr.

use std::os::linux::fs::MetadataExt;

use tracing_subscriber::{
    Layer, Registry, filter::LevelFilter, fmt, layer::SubscriberExt, reload,
    util::SubscriberInitExt,
};

use super::journal::Journal;
use crate::config::LogLevel;

/// The log level, which can be changed while the service runs.
pub(super) struct Level(reload::Handle<LevelFilter, Registry>);

impl Level {
    /// From now on log messages of this level and above.
    pub(super) fn set(&self, level: LogLevel) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::warn!("the log level cannot be changed: {error}");
        }
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Start logging. Call it once.
pub(super) fn start(level: LogLevel) -> Level {
    let (filter, handle) = reload::Layer::new(filter(level));
    let journal = if stderr_is_journal() {
        Journal::connect().ok()
    } else {
        None
    };
    let layer = match journal {
        Some(journal) => journal.boxed(),
        None => fmt::layer()
            .with_writer(std::io::stderr)
            .with_target(false)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .init();
    Level(handle)
}

/// True if stderr is connected to the journal. `JOURNAL_STREAM` holds device and inode of the
/// stream that systemd connected to the journal (systemd.exec(5)). We may use the journal directly
/// only if that stream is still our stderr.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    stream == format!("{}:{}", stderr.st_dev(), stderr.st_ino())
}
