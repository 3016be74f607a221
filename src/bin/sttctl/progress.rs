//! Shows progress while files are transcribed, if standard error is a terminal.

use std::{path::Path, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::error::{one_line, report};

/// The display: a line for each file in progress and, if there are several files, one for all of
/// them.
#[derive(Debug)]
pub struct Display {
    lines: MultiProgress,
    all: Option<ProgressBar>,
}

impl Display {
    /// A display for this many files.
    pub fn new(files: usize) -> Display {
        // indicatif draws only if standard error is a terminal.
        let lines = MultiProgress::new();
        let all = (files > 1).then(|| {
            let all = lines.add(ProgressBar::new(files as u64));
            all.set_style(style("[{bar:30}] {pos} of {len} files, {elapsed}"));
            all.enable_steady_tick(TICK);
            all
        });
        Display { lines, all }
    }

    /// Counts one more finished file.
    pub fn next(&self) {
        if let Some(all) = &self.all {
            all.inc(1);
        }
    }

    /// Hides the display while `write` writes to the terminal.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.lines.suspend(write)
    }

    /// Removes the display from the terminal.
    pub fn end(&self) {
        if let Some(all) = &self.all {
            all.finish_and_clear();
        }
    }
}

/// Interval at which animations move.
const TICK: Duration = Duration::from_millis(120);

/// Progress of one file; clones share the same line.
#[derive(Clone, Debug)]
pub struct Progress {
    line: ProgressBar,
    lines: MultiProgress,
}

impl Progress {
    /// A line for one file, not yet shown.
    pub fn new(display: &Display, file: &Path) -> Progress {
        let line = ProgressBar::new(0).with_prefix(one_line(&file.to_string_lossy()));
        Progress {
            line: display.lines.add(line),
            lines: display.lines.clone(),
        }
    }

    /// Shows that a recording of unknown length is being sent.
    pub fn listen(&self) {
        self.line.set_style(style(
            "{spinner} {prefix}: listening, {binary_bytes}, {elapsed}",
        ));
        self.line.reset();
        self.line.enable_steady_tick(TICK);
    }

    /// Shows that an upload of `total` bytes begins, for the first time or again.
    pub fn start(&self, total: u64) {
        self.line.disable_steady_tick();
        self.line.set_style(style(
            "{prefix}: sending [{bar:30}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}",
        ));
        self.line.set_length(total);
        self.line.reset();
    }

    /// Adds `count` sent bytes; `all` is true if they were the last.
    pub fn sent(&self, count: u64, all: bool) {
        self.line.inc(count);
        if all {
            self.line
                .set_style(style("{spinner} {prefix}: transcribing, {elapsed}"));
            self.line.reset_elapsed();
            self.line.enable_steady_tick(TICK);
        }
    }

    /// Prints a line about the file on standard error, even without a terminal.
    pub fn report(&self, file: &Path, message: &str) {
        self.lines.suspend(|| report(Some(file), message));
    }

    /// Removes the file's line.
    pub fn end(&self) {
        self.line.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
