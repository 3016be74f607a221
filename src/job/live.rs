//! Passes a recording to an engine while it is being spoken.

use super::source::{Source, position};
use crate::{
    audio::{LiveCutter, Part},
    engine::{AudioSource, Emit, EngineError, HearsSamples},
    request::Ask,
};
use std::ops::ControlFlow;

/// Pass each piece to the engine as soon as it begins.
///
/// # Errors
/// The audio source failed, or the engine did.
pub(super) fn in_live_pieces(
    engine: &mut dyn HearsSamples,
    source: &mut Source<'_, '_>,
    mut cutter: LiveCutter,
    ask: &Ask,
    emit: &mut Emit<'_>,
) -> Result<(), EngineError> {
    while let Some(start) = beginning(source, &mut cutter)? {
        let start = position(start);
        let mut flow = ControlFlow::Continue(());
        let mut piece = LivePiece {
            source: &mut *source,
            cutter: &mut cutter,
            block: Vec::new(),
            is_over: false,
        };
        engine.transcribe(&mut piece, ask, &mut |said| {
            flow = emit(said.later(start));
            flow
        })?;
        if flow.is_break() {
            return Ok(());
        }
        while piece.next_block()?.is_some() {}
        source.is_heard(cutter.position())?;
    }
    source.is_heard(cutter.position())
}

/// Wait for the next piece; the index of its first sample. `None` at the end of the recording.
fn beginning(
    source: &mut Source<'_, '_>,
    cutter: &mut LiveCutter,
) -> Result<Option<u64>, EngineError> {
    loop {
        match cutter.next_part() {
            Some(Part::Begin(start)) => return Ok(Some(start)),
            Some(Part::Samples(_) | Part::End) => {}
            None if cutter.is_over() => return Ok(None),
            None => {
                feed(source, cutter)?;
                source.is_heard(cutter.position())?;
            }
        }
    }
}

/// Give the cutter more of the recording.
fn feed(source: &mut Source<'_, '_>, cutter: &mut LiveCutter) -> Result<(), EngineError> {
    match source.next_block()? {
        Some(block) => cutter.push(block),
        None => cutter.finish(),
    }
    Ok(())
}

/// A piece that grows while it is heard.
struct LivePiece<'a, 's, 'r> {
    source: &'a mut Source<'s, 'r>,
    cutter: &'a mut LiveCutter,
    block: Vec<f32>,
    is_over: bool,
}

impl AudioSource for LivePiece<'_, '_, '_> {
    fn next_block(&mut self) -> Result<Option<&[f32]>, EngineError> {
        while !self.is_over {
            match self.cutter.next_part() {
                Some(Part::Samples(samples)) => {
                    self.block = samples;
                    return Ok(Some(&self.block));
                }
                Some(Part::Begin(_)) => {}
                Some(Part::End) => self.is_over = true,
                None => feed(self.source, self.cutter)?,
            }
        }
        Ok(None)
    }

    fn is_wanted(&self) -> bool {
        self.source.is_wanted()
    }

    fn at_work(&mut self) -> Result<(), EngineError> {
        self.source.at_work()
    }
}
