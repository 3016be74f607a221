//! Places decoded audio on the recording's clock: silence where audio is missing, and nothing
//! before the start.

use symphonia::core::{
    formats::{FormatReader, Track},
    units::{Duration, TimeBase, Timestamp},
};

use super::formats::{has_clock, is_heard_or_seen, starts_anywhere};

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// Shortest gap that becomes silence, in nanoseconds. Matroska rounds time stamps to milliseconds,
/// and browsers let them jitter by a few. A shorter gap is not lost: it adds to the next one.
const SHORTEST_GAP: i64 = SECOND / 40;

/// Sound that differs from its clock by less, in nanoseconds, is in step with it.
const IN_STEP: u64 = SECOND.unsigned_abs() / 500;

/// Longest gap that becomes silence, in nanoseconds: a file of a few bytes can claim a century.
const LONGEST_GAP: i64 = 3600 * SECOND;

/// Time stamps that fall back by more than this, in nanoseconds, begin anew: recordings were
/// joined. Those that fall back by less overlap a little, and no audio is dropped for that.
const LONGEST_OVERLAP: i64 = SECOND;

/// Instructions for the frames of one decoded packet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of silent frames that come first.
    pub(super) silence: u64,
    /// Number of decoded frames to drop from the front.
    pub(super) skip: u64,
}

/// The recording's clock, and how much of the recording exists already.
#[derive(Debug)]
pub(super) struct Timeline {
    /// Unit of the packets' time stamps; `None` if they are not to be believed.
    base: Option<TimeBase>,
    /// Time stamp of the recording's start, in nanoseconds; `None` until a packet tells.
    origin: Option<i64>,
    /// Length of what was placed at earlier sample rates, in nanoseconds.
    earlier: i64,
    /// Frames placed at `rate` hertz.
    frames: u64,
    rate: u32,
    /// Frames that could not be decoded, if packets have no time stamps.
    owed: u64,
    /// Something was lost. The clock is obeyed exactly until the sound is in step with it.
    is_exact: bool,
    /// Longest leap of the clock that did not become silence, in nanoseconds.
    leap: i64,
}

impl Timeline {
    /// The clock of a recording that begins where its first track of sound or picture begins.
    pub(super) fn of(format: &dyn FormatReader, track: &Track) -> Self {
        Self {
            base: base(format, track),
            origin: origin(format),
            earlier: 0,
            frames: 0,
            rate: 1,
            owed: 0,
            is_exact: false,
            leap: 0,
        }
    }

    /// Say where the next `frames` decoded frames belong, whose first one has the time stamp `at`.
    pub(super) fn place(&mut self, at: Timestamp, frames: u64, rate: u32) -> Place {
        self.run_at(rate);
        let place = match self.base {
            Some(base) => self.place_by_clock(nanoseconds(at, base), frames),
            None => Place {
                silence: std::mem::take(&mut self.owed),
                skip: 0,
            },
        };
        self.frames += place.silence + frames - place.skip;
        place
    }

    fn place_by_clock(&mut self, at: i64, frames: u64) -> Place {
        let position = self.position();
        let origin = *self.origin.get_or_insert(at.saturating_sub(position));
        let late = at.saturating_sub(origin).saturating_sub(position);
        let begins = position == 0;
        if late > LONGEST_GAP || (late < -LONGEST_OVERLAP && !begins) {
            self.leap = self.leap.max(late);
            self.origin = Some(at.saturating_sub(position));
            return Place::default();
        }
        let exact = self.frames_in(late.unsigned_abs());
        let obeys = begins || self.is_exact;
        self.is_exact &= late.unsigned_abs() >= IN_STEP;
        match late {
            0.. if obeys || late >= SHORTEST_GAP => Place {
                silence: exact,
                skip: 0,
            },
            ..0 if obeys => Place {
                silence: 0,
                skip: exact.min(frames),
            },
            _ => Place::default(),
        }
    }

    /// Note that something was lost. A damaged packet may also be decoded to something longer.
    pub(super) fn broke(&mut self) {
        self.is_exact = true;
    }

    /// Note that a packet of this length could not be decoded.
    pub(super) fn lose(&mut self, frames: u64) {
        // Packets with time stamps tell by themselves what is missing. Before the first sound it
        // is usual that a stream cannot be decoded.
        if self.base.is_none() && self.position() > 0 {
            self.owed = self
                .owed
                .saturating_add(frames)
                .min(u64::from(self.rate) * 60);
        }
    }

    /// Let another track, or another part of the file, go on where the last one ended.
    pub(super) fn join(&mut self, format: &dyn FormatReader, track: &Track) {
        self.base = base(format, track);
        self.origin = None;
    }

    /// Number of frames of `length`, in the packets' units, at `rate` hertz.
    pub(super) fn frames(&self, length: Duration, rate: u32) -> u64 {
        let base = self
            .base
            .map_or((1, 1), |base| (base.numer.get(), base.denom.get()));
        let scaled = u128::from(length.get()) * u128::from(base.0) * u128::from(rate);
        u64::try_from(scaled / u128::from(base.1)).unwrap_or(u64::MAX)
    }

    /// Seconds of `length`, in the packets' units, at `rate` hertz.
    pub(super) fn length(&self, length: Duration, rate: u32) -> f64 {
        match self.base {
            Some(_) => self.frames(length, rate) as f64 / f64::from(rate),
            None => length.get() as f64 / f64::from(rate),
        }
    }

    /// True if the time stamps, and so the trims, of packets are to be believed.
    pub(super) fn is_by_clock(&self) -> bool {
        self.base.is_some()
    }

    /// Length of the recording so far, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.position() as f64 / SECOND as f64
    }

    /// Time of the file's clock that was reached, in seconds.
    pub(super) fn reach(&self) -> f64 {
        let origin = self.origin.unwrap_or(0).max(0);
        self.position().saturating_add(origin) as f64 / SECOND as f64
    }

    /// Length of the longest leap of the clock that did not become silence, in seconds.
    pub(super) fn leap(&self) -> Option<f64> {
        (self.leap > 0).then(|| self.leap as f64 / SECOND as f64)
    }

    fn run_at(&mut self, rate: u32) {
        if rate != self.rate {
            (self.earlier, self.frames, self.rate) = (self.position(), 0, rate);
        }
    }

    fn position(&self) -> i64 {
        let frames = i128::from(self.frames) * i128::from(SECOND) / i128::from(self.rate);
        self.earlier.saturating_add(saturated(frames))
    }

    /// Number of frames in so many nanoseconds, rounded.
    fn frames_in(&self, nanoseconds: u64) -> u64 {
        let frames = u128::from(nanoseconds) * u128::from(self.rate);
        let second = u128::from(SECOND.unsigned_abs());
        u64::try_from((frames + second / 2) / second).unwrap_or(u64::MAX)
    }
}

/// Unit of the time stamps of this track; `None` if there are none or they are only counted.
fn base(format: &dyn FormatReader, track: &Track) -> Option<TimeBase> {
    track
        .time_base
        .filter(|_| has_clock(format.format_info().format))
}

/// Time stamp of the recording's start, in nanoseconds: that of its first track of sound or
/// picture, behind the frames that only prime the decoder. `None` if the first packet tells.
fn origin(format: &dyn FormatReader) -> Option<i64> {
    if starts_anywhere(format.format_info().format) {
        return None;
    }
    let tracks = format
        .tracks()
        .iter()
        .filter(|track| is_heard_or_seen(track));
    let starts = tracks.filter_map(|track| {
        let delay = Duration::from(track.delay.unwrap_or(0));
        let start = track.start_ts.saturating_add(delay);
        Some(nanoseconds(start, track.time_base?).max(0))
    });
    starts.min()
}

fn nanoseconds(at: Timestamp, base: TimeBase) -> i64 {
    let scaled = i128::from(at.get()) * i128::from(base.numer.get()) * i128::from(SECOND);
    saturated(scaled / i128::from(base.denom.get()))
}

fn saturated(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock of milliseconds that starts at `origin`.
    fn clock(origin: Option<i64>) -> Timeline {
        Timeline {
            base: TimeBase::try_new(1, 1_000),
            origin: origin.map(|at| at * 1_000_000),
            earlier: 0,
            frames: 0,
            rate: 1,
            owed: 0,
            is_exact: false,
            leap: 0,
        }
    }

    /// Silence and skipped frames of packets of 20 ms at 48 kHz with these time stamps.
    fn places(origin: Option<i64>, stamps: &[i64]) -> Vec<(u64, u64)> {
        let mut timeline = clock(origin);
        let place = |at: &i64| timeline.place(Timestamp::new(*at), 960, 48_000);
        let places = stamps.iter().map(place);
        places.map(|place| (place.silence, place.skip)).collect()
    }

    #[test]
    fn what_comes_before_the_start_is_dropped_and_what_starts_later_is_late() {
        assert_eq!(
            places(Some(0), &[-30, -10, 10]),
            [(0, 960), (0, 480), (0, 0)]
        );
        assert_eq!(places(Some(1_000), &[1_500, 1_520]), [(24_000, 0), (0, 0)]);
        assert_eq!(places(None, &[1_500, 1_520]), [(0, 0), (0, 0)]);
    }

    #[test]
    fn gaps_become_silence_and_jitter_does_not() {
        assert_eq!(places(Some(0), &[0, 22, 39, 62]), [(0, 0); 4]);
        assert_eq!(
            places(Some(0), &[0, 40, 70, 90]),
            [(0, 0), (0, 0), (1_440, 0), (0, 0)]
        );
        assert_eq!(
            places(Some(0), &[0, 5_020, 5_040]),
            [(0, 0), (240_000, 0), (0, 0)]
        );
    }

    #[test]
    fn joined_recordings_follow_each_other() {
        let stamps = [0, 20, 2_000, 0, 20, 520];
        let silence: Vec<u64> = places(Some(0), &stamps)
            .iter()
            .map(|place| place.0)
            .collect();
        assert_eq!(silence, [0, 0, 94_080, 0, 0, 23_040]);
    }

    #[test]
    fn a_century_is_no_silence() {
        let mut timeline = clock(Some(0));
        assert_eq!(timeline.leap(), None);
        for at in [0, 3_000_000_000_000, 3_000_000_000_020] {
            let place = timeline.place(Timestamp::new(at), 960, 48_000);
            assert_eq!(place, Place::default());
        }
        assert!(timeline.leap().is_some_and(|leap| leap > 2.9e9));
        for at in [i64::MAX, i64::MIN, 0] {
            timeline.broke();
            timeline.place(Timestamp::new(at), 960, 48_000);
        }
    }
}
