//! Limits how fast a recording is given to the SDK: as fast as the SDK sends it, so that little of
//! it waits in the job's memory.

use std::time::{Duration, Instant};

use crate::engine::SAMPLE_RATE;

/// Seconds of audio that the SDK sends in one second after the first burst. Measured with 1.53.0.
const SPEED: f64 = 2.0;

/// Speed of the burst itself. If audio came faster than this, the SDK's own buffer overflowed.
const BURST_SPEED: f64 = 200.0;

/// How far a burst may be ahead of what the service has understood. The SDK keeps all audio until
/// then, and fails at about 90 s.
const AHEAD: Duration = Duration::from_secs(30);

/// How much audio may wait in the SDK.
const LEAD: Duration = Duration::from_secs(10);

/// Progress of one recording.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    burst: Duration,
    samples: u64,
    /// How much of it the service has understood.
    heard: Duration,
    /// When the last samples were given.
    last: Instant,
}

impl Pace {
    /// Begin now, with a burst of this length.
    pub(super) fn new(now: Instant, burst: Duration) -> Self {
        Self {
            start: now,
            burst,
            samples: 0,
            heard: Duration::ZERO,
            last: now,
        }
    }

    /// Note that `samples` were given now.
    pub(super) fn sending(&mut self, now: Instant, samples: usize) {
        self.samples += samples as u64;
        self.last = now;
    }

    /// The service has understood the recording up to here.
    pub(super) fn heard(&mut self, end: Duration) {
        self.heard = self.heard.max(end);
    }

    /// Length of the audio that was given so far.
    pub(super) fn sent(&self) -> Duration {
        Duration::from_secs(self.samples) / SAMPLE_RATE
    }

    /// How long to wait before the next samples.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let ready = self.start + self.after(self.sent().saturating_sub(LEAD));
        ready.saturating_duration_since(now)
    }

    /// When the service will have all that was given so far.
    pub(super) fn arrival(&self) -> Instant {
        self.last.max(self.start + self.after(self.sent()))
    }

    /// How long the SDK takes to send this much.
    fn after(&self, audio: Duration) -> Duration {
        let burst = self.burst.min(self.heard + AHEAD);
        let rest = audio.saturating_sub(burst);
        audio.min(burst).div_f64(BURST_SPEED) + rest.div_f64(SPEED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_given_stays_little_ahead_of_what_is_sent() {
        let start = Instant::now();
        let mut pace = Pace::new(start, 5 * SECOND);
        let (mut now, mut seconds) = (start, 0);
        while seconds < 600 {
            now += pace.wait(now);
            pace.sending(now, SAMPLE_RATE as usize);
            seconds += 1;
        }
        // A burst of 5 s, 10 s that wait, and the rest at twice the speed of speech.
        let taken = (now - start).as_secs_f64();
        assert!((290.0..294.0).contains(&taken), "{taken}");
        let arrival = (pace.arrival() - now).as_secs_f64();
        assert!((4.0..6.0).contains(&arrival), "{arrival}");
    }

    #[test]
    fn a_burst_waits_for_a_service_that_understands_nothing() {
        let start = Instant::now();
        let taken = |understands: bool| {
            let mut pace = Pace::new(start, 3600 * SECOND);
            let mut now = start;
            for second in 1..=600 {
                now += pace.wait(now);
                pace.sending(now, SAMPLE_RATE as usize);
                if understands && second % 10 == 0 {
                    pace.heard(second * SECOND);
                }
            }
            (now - start).as_secs_f64()
        };
        assert!((2.0..4.0).contains(&taken(true)), "{}", taken(true));
        assert!((279.0..281.0).contains(&taken(false)), "{}", taken(false));
    }

    #[test]
    fn a_recording_that_comes_slowly_waits_for_nothing() {
        let start = Instant::now();
        let mut pace = Pace::new(start, 5 * SECOND);
        for second in 1..100 {
            let now = start + second * SECOND;
            assert_eq!(pace.wait(now), Duration::ZERO);
            pace.sending(now, SAMPLE_RATE as usize);
            assert_eq!(pace.arrival(), now);
        }
    }
}
