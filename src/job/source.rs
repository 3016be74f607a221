//! The recording as the engine sees it, while it is decoded.

use std::{
    cell::RefCell,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use super::{
    converter::Conversion,
    report::{Heard, PROGRESS_STEP, Report},
};
use crate::{
    audio::Decoder,
    engine::{AudioSource, EngineError, SAMPLE_RATE},
};

/// The decoder as the engine sees it: it measures, reports progress, and stops at the model's
/// limit.
pub(super) struct Source<'a, 'r> {
    pub(super) decoder: Decoder,
    /// The converter whose output is decoded, if it is not the recording itself.
    pub(super) conversion: Option<Conversion>,
    pub(super) decode: Duration,
    /// Number of samples given to the engine so far.
    pub(super) samples: u64,
    pub(super) told: Duration,
    pub(super) heard: Heard,
    /// True if the engine does its work while it reads.
    pub(super) hears_as_it_reads: bool,
    pub(super) limit: Duration,
    pub(super) too_long: bool,
    pub(super) report: &'a RefCell<&'r mut dyn Report>,
}

/// Playing time of `samples` at 16 kHz.
pub(super) fn position(samples: u64) -> Duration {
    Duration::from_secs(samples) / SAMPLE_RATE
}

impl Source<'_, '_> {
    /// The engine is done with this many samples.
    ///
    /// # Errors
    /// As [`AudioSource::at_work`].
    pub(super) fn is_heard(&mut self, samples: u64) -> Result<(), EngineError> {
        self.heard.until(position(samples), self.report)
    }
}

impl AudioSource for Source<'_, '_> {
    fn next_block(&mut self) -> Result<Option<&[f32]>, EngineError> {
        let start = Instant::now();
        let block = self.decoder.next_block()?;
        self.decode += start.elapsed();
        self.samples += block.map_or(0, |samples| samples.len() as u64);
        let position = position(self.samples);
        if position > self.limit {
            self.too_long = true;
            return Err(EngineError::Stopped);
        }
        // The first reading has already reported this part.
        let is_new = position >= self.told;
        if position >= self.told + PROGRESS_STEP || (is_new && block.is_none()) {
            self.told = position;
            if self.report.borrow_mut().progress(position).is_break() {
                return Err(EngineError::Stopped);
            }
        }
        if self.hears_as_it_reads {
            self.heard.until(position, self.report)?;
        }
        Ok(block)
    }

    fn is_wanted(&self) -> bool {
        self.report.borrow().is_wanted()
    }

    fn at_work(&mut self) -> Result<(), EngineError> {
        match self.report.borrow_mut().progress(self.told) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(EngineError::Stopped),
        }
    }
}
