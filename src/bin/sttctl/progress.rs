//! Shows progress while files are transcribed, if standard error is a terminal.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{error::report, shown, text::time};

/// Columns for the name of a file: with the bar and the times, a line has at most 80.
const NAME: usize = 24;

/// A recording of this length, in seconds, has a bar.
const LONG: f64 = 10.0;

/// The bar of a long recording.
const BAR: &str = "{prefix}: [{bar:20}] {msg}";

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
        // indicatif draws only if standard error is a terminal, and not a dumb one.
        let lines = MultiProgress::new();
        let all = (files > 1).then(|| {
            let all = lines.add(ProgressBar::new(files as u64));
            all.set_style(style("[{bar:30}] {pos} of {len} files, {elapsed}"));
            all.enable_steady_tick(TICK);
            all
        });
        Display { lines, all }
    }

    /// Whether anybody sees it.
    pub fn is_seen(&self) -> bool {
        !self.lines.is_hidden()
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
    stage: Arc<Mutex<Stage>>,
}

/// How far a file has come.
#[derive(Debug, Default)]
struct Stage {
    /// Whether all of it was sent.
    is_sent: bool,
    /// Seconds that are transcribed, as the service said last.
    heard: f64,
    /// When the rest will be transcribed, by the rate so far.
    end: Option<Instant>,
}

impl Progress {
    /// A line for one file, not yet shown.
    pub fn new(display: &Display, file: &Path) -> Progress {
        let line = ProgressBar::new(0).with_prefix(shown::short(file, NAME));
        Progress {
            line: display.lines.add(line),
            lines: display.lines.clone(),
            stage: Arc::default(),
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
        *self.stage() = Stage::default();
        self.line.disable_steady_tick();
        self.line.set_style(style(
            "{prefix}: sending [{bar:20}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}",
        ));
        self.line.set_length(total);
        self.line.reset();
    }

    /// Adds `count` sent bytes; `all` is true if they were the last.
    pub fn sent(&self, count: u64, all: bool) {
        self.line.inc(count);
        if all {
            self.stage().is_sent = true;
            self.line
                .set_style(style("{spinner} {prefix}: transcribing, {elapsed}"));
            self.line.reset_elapsed();
            self.line.enable_steady_tick(TICK);
        }
    }

    /// Whether the service has all of the file: from then on only it knows how far it is.
    pub fn is_sent(&self) -> bool {
        self.stage().is_sent
    }

    /// Shows that the file waits at this place in the queue.
    pub fn waits(&self, place: u64) {
        self.line.set_message(place.to_string());
        self.line.set_style(style(
            "{spinner} {prefix}: waiting, place {msg} in the queue, {elapsed}",
        ));
    }

    /// Shows how much of the file is transcribed after `age` seconds of work: `heard` seconds, of
    /// `total` if that is known.
    pub fn works(&self, heard: f64, total: Option<f64>, age: f64) {
        let Some(total) = total.filter(|total| *total >= LONG) else {
            let much = heard >= LONG;
            let of_it = if much { ", {msg} of audio" } else { "" };
            self.line.set_message(time(heard));
            self.line.set_style(style(&format!(
                "{{spinner}} {{prefix}}: transcribing{of_it}, {{elapsed}}"
            )));
            return;
        };
        let left = self.stage().left(heard, total, age, Instant::now());
        let left = match left {
            Some(left) => format!("{} left", time(left)),
            None => time(age),
        };
        let message = format!("{} of {}, {left}", time(heard), time(total));
        self.line.set_length(milliseconds(total));
        self.line.set_position(milliseconds(heard));
        self.line.set_message(message);
        self.line.set_style(style(BAR));
    }

    /// Prints a line about the file on standard error, even without a terminal.
    pub fn report(&self, file: &Path, message: &str) {
        self.lines.suspend(|| report(Some(file), message));
    }

    /// Removes the file's line.
    pub fn end(&self) {
        self.line.finish_and_clear();
    }

    fn stage(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage {
    /// Seconds until all of it is transcribed, if it goes on at the rate so far; `None` as long as
    /// there is no rate, and when only the end is missing. Between two steps of the service the
    /// time runs down, and stops at 1 s.
    fn left(&mut self, heard: f64, total: f64, age: f64, now: Instant) -> Option<f64> {
        if heard <= 0.0 || heard >= total {
            return None;
        }
        let end = match self.end.filter(|_| heard <= self.heard) {
            Some(end) => end,
            None => {
                let left = (total - heard).max(0.0) * age / heard;
                now.checked_add(Duration::try_from_secs_f64(left).ok()?)?
            }
        };
        (self.heard, self.end) = (heard, Some(end));
        let left = end.saturating_duration_since(now).as_secs_f64();
        Some(left.max(1.0))
    }
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_the_rate_and_runs_down_between_steps() {
        let start = Instant::now();
        let mut stage = Stage::default();
        let mut left = |heard, age: u64| {
            let now = start + Duration::from_secs(age);
            let left = stage.left(heard, 3600.0, age as f64, now);
            left.map(f64::round)
        };
        assert_eq!(left(0.0, 1), None);
        // Six seconds of audio in each second.
        assert_eq!(left(30.0, 5), Some(595.0));
        assert_eq!(left(30.0, 8), Some(592.0));
        assert_eq!(left(60.0, 10), Some(590.0));
        // It became slower.
        assert_eq!(left(90.0, 30), Some(1170.0));
        assert_eq!(left(90.0, 1300), Some(1.0));
        assert_eq!(left(3600.0, 1400), None);
    }
}
