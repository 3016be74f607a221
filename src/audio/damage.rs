//! Books of a damaged file: losses, words for the sender, and when nothing counts as heard.

use std::time::Duration;

use super::AudioError;

/// Damage of a file that was read nevertheless.
#[derive(Default)]
pub(super) struct Damage {
    /// Number of packets that were decoded.
    pub(super) intact: u64,
    /// Number of packets that could not be decoded.
    pub(super) packets: u64,
    /// The file ends before its audio does.
    pub(super) cut_off: bool,
    /// Length that the file announces, in seconds, if it has less and nothing tells where.
    pub(super) announced: Option<f64>,
    /// The reason why the rest of the file was not read.
    pub(super) given_up: Option<String>,
    /// Description of the first damage.
    first: Option<String>,
}

impl Damage {
    pub(super) fn found(&mut self, what: impl ToString) {
        self.first.get_or_insert_with(|| what.to_string());
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
        let packets = (self.packets > 0).then(|| {
            let (lost, all) = (self.packets, self.packets.saturating_add(self.intact));
            let share = lost as f64 * 100.0 / all as f64;
            format!("damaged packets that were skipped: {lost} of {all} ({share:.1} %)")
        });
        let leap = leap.map(|seconds| {
            format!("the time stamps leap by {seconds:.0} s: the times that follow are too early")
        });
        [cut_off, announced, given_up, packets, leap]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The end of the recording is an error if most of it could not be decoded.
    pub(super) fn verdict(&self) -> Result<(), AudioError> {
        if self.packets <= self.intact {
            return Ok(());
        }
        let first = self.first.as_deref().unwrap_or_default();
        Err(AudioError::Corrupt(format!(
            "{} of its {} packets cannot be decoded: {first}",
            self.packets,
            self.packets.saturating_add(self.intact)
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
