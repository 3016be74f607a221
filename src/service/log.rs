//! Where messages go: the journal with its fields when systemd connected us to it, else lines on stderr.

use std::os::linux::fs::MetadataExt;

use tracing_subscriber::{
    Layer, Registry, filter::LevelFilter, fmt, layer::SubscriberExt, reload,
    util::SubscriberInitExt,
};

use super::journal::Journal;
use crate::config::LogLevel;

/// What is logged; can be changed while the service runs.
pub(super) struct Level(reload::Handle<LevelFilter, Registry>);

impl Level {
    /// Log what is at least so severe from now on.
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

/// Start logging; called once.
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

/// systemd.exec(5): `JOURNAL_STREAM` holds device and inode of the stream that it connected to the journal; only if
/// that is still our stderr may we talk to the journal instead.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    stream == format!("{}:{}", stderr.st_dev(), stderr.st_ino())
}
