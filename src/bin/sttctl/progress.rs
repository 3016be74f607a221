//! What a person at a terminal sees while a file is under way; nothing at all elsewhere.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::error::{one_line, report};

/// The progress of one file; clones show the same.
#[derive(Clone, Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// For one file, not yet shown.
    pub fn new(file: &Path) -> Progress {
        // indicatif draws only if standard error is a terminal.
        Progress(ProgressBar::new(0).with_prefix(one_line(&file.to_string_lossy())))
    }

    /// An upload of `total` bytes begins, for the first time or again.
    pub fn start(&self, total: u64) {
        self.0.disable_steady_tick();
        self.0.set_style(style(
            "{prefix}: sending [{bar:30}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}",
        ));
        self.0.set_length(total);
        self.0.reset();
    }

    /// `count` more bytes were sent; `all` if they were the last.
    pub fn sent(&self, count: u64, all: bool) {
        self.0.inc(count);
        if all {
            self.0
                .set_style(style("{spinner} {prefix}: transcribing, {elapsed}"));
            self.0.reset_elapsed();
            self.0.enable_steady_tick(Duration::from_millis(120));
        }
    }

    /// Prints a line about the file on standard error, terminal or not.
    pub fn report(&self, file: &Path, message: &str) {
        self.0.suspend(|| report(Some(file), message));
    }

    /// Takes the display away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
