//! Engine `null`: reads the whole recording and recognises nothing. Benchmarks use it to measure
//! everything but the engine, and jobs rehearse with it.

mod settings;

pub use self::settings::NullSettings;

use super::{AudioSource, Emit, Engine, EngineError, Hearing, HearsSamples};
use crate::request::Ask;

/// The engine that recognises nothing, so that a request costs only what the service itself costs.
/// It reads the recording to its end, as every engine does, so that a damaged recording is refused
/// and the length is known. It emits no segment and ignores all options.
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
        _: &mut Emit<'_>,
    ) -> Result<(), EngineError> {
        while audio.next_block()?.is_some() {}
        Ok(())
    }
}
