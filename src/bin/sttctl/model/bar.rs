//! The progress of a download: a bar on a terminal, otherwise a line for each tenth.

use std::{
    io::{self, IsTerminal},
    path::Path,
    time::Duration,
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{error::report, text::size};

/// Interval at which the bar shows the time that is left.
const TICK: Duration = Duration::from_millis(500);

/// A bar on a terminal.
const BAR: &str = "{prefix}: [{bar:24}] {bytes_here} of {all}, {rate}/s, {time} left";

/// The progress of all files of a model.
#[derive(Debug)]
pub struct Bar {
    name: String,
    line: ProgressBar,
    terminal: bool,
    all: u64,
    have: u64,
    /// The last tenth that was told.
    told: u64,
}

impl Bar {
    /// A bar for a model of `all` bytes, `have` of which are there already.
    pub fn new(name: &str, all: u64, have: u64) -> Bar {
        let terminal = io::stderr().is_terminal();
        let line = ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(BAR)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key(
                "bytes_here",
                |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                    let _ = out.write_str(&size(state.pos()));
                },
            )
            .with_key(
                "all",
                |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                    let _ = out.write_str(&size(state.len().unwrap_or_default()));
                },
            )
            .with_key(
                "rate",
                |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                    let _ = out.write_str(&size(state.per_sec() as u64));
                },
            )
            .with_key(
                "time",
                |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                    // While nothing comes, no time can be told.
                    let _ = match state.per_sec() {
                        ..1.0 => out.write_str("?"),
                        _ => write!(out, "{:#}", HumanDuration(state.eta())),
                    };
                },
            );
        line.set_style(style);
        line.set_prefix(name.to_owned());
        line.set_position(have);
        line.enable_steady_tick(TICK);
        let bar = Bar {
            name: name.into(),
            line,
            terminal,
            all,
            have,
            told: have.saturating_mul(10) / all.max(1),
        };
        if have > 0 {
            bar.say(&format!("goes on at {} of {}", size(have), size(all)));
        }
        bar
    }

    /// Sets the bytes that are there now.
    pub fn set(&mut self, have: u64) {
        let tenth = |bytes: u64| bytes.saturating_mul(10) / self.all.max(1);
        self.line.set_position(have);
        // Bytes that were there before, and the time to read them, say nothing of the rate.
        if have <= self.have {
            self.line.reset_eta();
        }
        if !self.terminal && tenth(have) > self.told {
            self.told = tenth(have);
            let (percent, all) = (tenth(have) * 10, size(self.all));
            report(
                Some(Path::new(&self.name)),
                &format!("{percent} % of {all}"),
            );
        }
        self.have = have;
    }

    /// Prints a line about the download.
    pub fn say(&self, message: &str) {
        self.line
            .suspend(|| report(Some(Path::new(&self.name)), message));
    }

    /// Shows that the model is tried.
    pub fn trial(&self) {
        let style =
            ProgressStyle::with_template("{prefix}: {spinner} trying it in the sandbox, {elapsed}");
        self.line
            .set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.line.reset_elapsed();
        if !self.terminal {
            self.say("trying it in the sandbox");
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.line.finish_and_clear();
    }
}
