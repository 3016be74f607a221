//! Books of a damaged file: losses, words for the sender, and when nothing counts as heard.

use std::time::Duration;

use super::AudioError;

/// Damage of a file that was read nevertheless.
///
/// Losses are counted in seconds of sound: a damaged stretch may be one packet or half of the file.
#[derive(Default)]
pub(super) struct Damage {
    /// Seconds that were decoded.
    heard: f64,
    /// Seconds that were lost, and the number of places where they were.
    lost: f64,
    places: u64,
    /// Damage behind which nothing was decoded yet.
    open: Option<Open>,
    /// The lost time was computed from the number of lost bytes.
    pub(super) is_estimate: bool,
    /// The file ends before its audio does.
    pub(super) cut_off: bool,
    /// Length that the file announces, in seconds, if it has less and nothing tells where.
    pub(super) announced: Option<f64>,
    /// The reason why the rest of the file was not read.
    pub(super) given_up: Option<String>,
    /// Description of the first damage.
    first: Option<String>,
}

/// A damaged place whose length is not known yet.
#[derive(Default)]
struct Open {
    /// Seconds of the packets that could not be decoded.
    skipped: f64,
    /// Packets are missing as well, which only the time of a later one tells.
    is_gap: bool,
    /// Packets that were decoded since then.
    later: u32,
}

/// Packets of Ogg that may be decoded between the report of a gap and the gap itself: a page holds
/// 255 at most.
const PACKETS_BEFORE_A_GAP: u32 = 512;

impl Damage {
    pub(super) fn found(&mut self, what: impl ToString) {
        self.first.get_or_insert_with(|| what.to_string());
    }

    /// A packet of this length, in seconds, cannot be decoded.
    pub(super) fn skipped(&mut self, what: impl ToString, seconds: f64) {
        self.found(what);
        self.open.get_or_insert_default().skipped += seconds;
    }

    /// Packets are missing here, or soon.
    pub(super) fn broke(&mut self, what: impl ToString) {
        self.found(what);
        let open = self.open.get_or_insert_default();
        (open.is_gap, open.later) = (true, 0);
    }

    /// A packet was decoded: so many seconds, behind so many seconds of silence. `is_late` tells
    /// that gaps are reported before the packets that precede them.
    pub(super) fn heard(&mut self, seconds: f64, silence: f64, is_late: bool) {
        self.heard += seconds;
        let Some(open) = &mut self.open else { return };
        let waits = open.is_gap && is_late && silence == 0.0 && open.later < PACKETS_BEFORE_A_GAP;
        if waits {
            open.later += 1;
            return;
        }
        let missing = if open.is_gap { silence } else { 0.0 };
        self.close(missing);
    }

    fn close(&mut self, missing: f64) {
        if let Some(open) = self.open.take() {
            self.lost += open.skipped.max(missing);
            self.places += 1;
        }
    }

    /// No more packets follow, though the file announces so many seconds more.
    pub(super) fn end(&mut self, missing: f64) {
        self.close(missing);
    }

    /// Warnings for the sender. `read` is the length of the recording, `leap` the longest leap of
    /// its clock that did not become silence, in seconds.
    pub(super) fn warnings(&self, read: Duration, leap: Option<f64>) -> Vec<String> {
        let seconds = read.as_secs_f64();
        let cut_off = self
            .cut_off
            .then(|| format!("the file ends early: {seconds:.1} s of audio were read"));
        let announced = self.announced.map(|announced| {
            format!("{seconds:.1} s of audio were read, and the file announces {announced:.1} s")
        });
        let given_up = self.given_up.as_ref().map(|reason| {
            format!("the file is damaged ({reason}): only {seconds:.1} s of audio were read")
        });
        let places = (self.places > 0).then(|| {
            let (lost, all) = (self.lost, self.lost + self.heard);
            let share = lost * 100.0 / all.max(lost).max(f64::MIN_POSITIVE);
            let about = if self.is_estimate { "about " } else { "" };
            let estimate = if self.is_estimate {
                ", estimated from the lost bytes"
            } else {
                ""
            };
            let places = self.places;
            format!(
                "damaged parts that were skipped: {places}, {about}{lost:.2} s of {all:.2} s \
                 ({share:.1} %){estimate}"
            )
        });
        let leap = leap.map(|seconds| {
            format!("the time stamps leap by {seconds:.0} s: the times that follow are too early")
        });
        [cut_off, announced, given_up, places, leap]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The end of the recording is an error if most of it could not be decoded.
    pub(super) fn verdict(&self) -> Result<(), AudioError> {
        if self.lost <= self.heard {
            return Ok(());
        }
        let first = self.first.as_deref().unwrap_or_default();
        Err(AudioError::Corrupt(format!(
            "{:.1} s of its {:.1} s cannot be decoded: {first}",
            self.lost,
            self.lost + self.heard
        )))
    }

    /// The error to report if only so many seconds were decoded, which is less than a block.
    pub(super) fn nothing_usable(&self, seconds: f64) -> AudioError {
        match self {
            Self {
                first: Some(what), ..
            } => AudioError::Corrupt(what.clone()),
            Self {
                cut_off, announced, ..
            } if *cut_off || announced.is_some() => {
                AudioError::Corrupt(format!("it ends after {seconds:.3} s of audio"))
            }
            _ => AudioError::TooShort { seconds },
        }
    }
}
