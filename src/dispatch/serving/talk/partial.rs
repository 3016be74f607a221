//! The words of a job that are not final yet, checked: nothing is trusted.

use std::time::Duration;

use tokio::time::Instant;

use super::{Allowance, is_clean};
use crate::transcript::{Committed, Hypothesis, Segment};

/// Most hypotheses, with the audio that was read and the time that has passed. An engine makes some
/// ten for each second of both.
const MOST: Allowance = Allowance {
    per_second: 50,
    base: 200,
};

/// Time between two guesses that the client gets: eyes do not follow faster changes.
const PAUSE: Duration = Duration::from_millis(100);

/// The words that are not final, of a request that may have such.
#[derive(Debug, Default)]
pub(super) struct Partials {
    committed: Committed,
    count: u64,
    /// When the last hypothesis was passed on.
    told: Option<Instant>,
}

impl Partials {
    /// Check a hypothesis of a job that has read this much `audio` since `start`. `None` if it is
    /// only a guess and comes too soon after the one before: the client does without it.
    ///
    /// # Errors
    /// The job must not say it.
    pub(super) fn take(
        &mut self,
        hypothesis: Hypothesis,
        audio: Duration,
        start: Instant,
    ) -> Result<Option<Hypothesis>, String> {
        self.count += 1;
        let now = Instant::now();
        if self.count > MOST.after(audio.saturating_add(now - start)) {
            return Err("it floods the service with words that are not final".into());
        }
        if !is_clean(&hypothesis.committed) || !is_clean(&hypothesis.tentative) {
            return Err("its words that are not final are no text".into());
        }
        self.committed.add(&hypothesis)?;
        let is_early = self.told.is_some_and(|told| now < told + PAUSE);
        if is_early && hypothesis.committed.is_empty() {
            return Ok(None);
        }
        self.told = Some(now);
        Ok(Some(hypothesis))
    }

    /// Check that the next segment keeps what was committed.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn settle(&mut self, segment: &Segment) -> Result<(), String> {
        Ok(self.committed.settle(segment)?)
    }

    /// Check that nothing is left that was committed: the job is done.
    ///
    /// # Errors
    /// Something is.
    pub(super) fn finish(&self) -> Result<(), String> {
        Ok(self.committed.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(committed: &str, tentative: &str) -> Hypothesis {
        Hypothesis {
            committed: committed.into(),
            tentative: tentative.into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_come_ten_times_a_second_and_committed_words_at_once() {
        let (mut partials, start) = (Partials::default(), Instant::now());
        let mut take = |hypothesis| partials.take(hypothesis, Duration::ZERO, start).unwrap();
        assert!(take(guess("", "go")).is_some());
        assert!(take(guess("", "go for")).is_none());
        assert!(take(guess("go", " for")).is_some());
        tokio::time::advance(PAUSE).await;
        assert!(take(guess("", " forward")).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn time_and_audio_earn_hypotheses() {
        let (mut partials, start) = (Partials::default(), Instant::now());
        let mut until_refused = |audio| {
            let take = |_: &u64| partials.take(guess("", "a"), audio, start).is_ok();
            (0..10_000).take_while(take).count()
        };
        assert_eq!(until_refused(Duration::ZERO), 200);
        // The refused one counts, too.
        assert_eq!(until_refused(Duration::from_secs(1)), 49);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(until_refused(Duration::from_secs(1)), 99);
    }
}
