//! Engine `null`: reads the whole recording and recognises nothing. For benchmarks of everything but the engine, and for
//! what jobs rehearse.

mod settings;

use std::ops::ControlFlow;

pub use self::settings::NullSettings;

use super::{AudioSource, Engine, EngineError, Hearing, HearsSamples};
use crate::{request::Ask, transcript::Segment};

/// The engine that does nothing: what a request with it costs is what the service itself costs. The recording is
/// decoded to its end, as by every engine, so that a damaged one is refused and its length is known; no segment is
/// emitted. It ignores every option.
#[derive(Debug)]
pub struct Null;

impl Engine for Null {}

impl HearsSamples for Null {
    fn hearing(&self) -> Hearing {
        Hearing::Whole
    }

    fn transcribe(
        &mut self,
        audio: &mut dyn AudioSource,
        _: &Ask,
        _: &mut dyn FnMut(Segment) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        while audio.next_block()?.is_some() {}
        Ok(())
    }
}
