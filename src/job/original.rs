//! Passes a recording to an engine that decodes it itself.

use std::{
    cell::RefCell,
    fs::File,
    io::{ErrorKind, Read},
    os::unix::fs::FileExt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    report::{Heard, Report, failure, too_long},
    speakers,
    wire::Order,
};
use crate::{
    audio::{self, AudioError},
    engine::{EngineError, HearsOriginal, OriginalSource, Said},
    request::{Ask, Failure, Figures, Speakers},
};

/// Bytes passed at once.
const CHUNK: usize = 64 * 1024;

/// Transcribe `recording`, of which only the bytes are known here.
///
/// # Errors
/// The engine cannot read it, reports that it is too long, or failed.
pub(super) fn transcribe(
    engine: &mut dyn HearsOriginal,
    order: &Order,
    recording: Arc<File>,
    report: &mut dyn Report,
) -> Result<Figures, Failure> {
    let start = Instant::now();
    if let Some(part) = selected(order) {
        return Err(failure(&AudioError::NotSelectable(part).into()));
    }
    let reason = "the model reads recordings itself, so their channels cannot be compared";
    let warning = match order.ask.speakers {
        Some(Speakers::Find(find)) => speakers::way(Err(reason), find)?.warning,
        _ => None,
    };
    let is_file = matches!(audio::length(&recording), Ok(Some(_)));
    let report = RefCell::new(report);
    let mut source = Original {
        recording,
        at: is_file.then_some(0),
        chunk: vec![0; CHUNK],
        heard: Duration::ZERO,
        told: Heard::default(),
        too_long: false,
        order,
        report: &report,
    };
    let mut emit = |said| match said {
        Said::Segment(segment) => report.borrow_mut().segment(segment),
        Said::Hypothesis(hypothesis) => report.borrow_mut().hypothesis(hypothesis),
    };
    let result = engine.transcribe_original(&mut source, &order.ask, &mut emit);
    if source.too_long {
        return Err(too_long(order.max_audio));
    }
    match result {
        Ok(()) | Err(EngineError::Stopped) => Ok(Figures {
            audio: source.heard,
            decode: Duration::ZERO,
            transcribe: start.elapsed(),
            languages: engine.languages().into_iter().map(str::to_owned).collect(),
            converted: false,
            warnings: warning.into_iter().collect(),
        }),
        Err(error) => Err(failure(&error)),
    }
}

/// The parameter by which the request selects a part of the recording, if it does.
fn selected(order: &Order) -> Option<&'static str> {
    let Ask { track, channel, .. } = &order.ask;
    let channel = channel.map(|_| "channel");
    track.map(|_| "track").or(channel)
}

struct Original<'a, 'r> {
    recording: Arc<File>,
    /// Position of the next bytes in a file; `None` for a pipe. Tracked here, because other
    /// processes share a file's own offset.
    at: Option<u64>,
    chunk: Vec<u8>,
    /// Longest audio length that the engine has reported.
    heard: Duration,
    told: Heard,
    too_long: bool,
    order: &'a Order,
    report: &'a RefCell<&'r mut dyn Report>,
}

impl OriginalSource for Original<'_, '_> {
    fn next_bytes(&mut self) -> Result<Option<&[u8]>, EngineError> {
        loop {
            let read = match self.at {
                Some(at) => self.recording.read_at(&mut self.chunk, at),
                None => (&*self.recording).read(&mut self.chunk),
            };
            match read {
                Ok(0) => return Ok(None),
                Ok(length) => {
                    self.at = self.at.map(|at| at + length as u64);
                    return Ok(self.chunk.get(..length));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(AudioError::Read(error).into()),
            }
        }
    }

    fn hint(&self) -> (Option<&str>, Option<&str>) {
        (
            self.order.ask.extension.as_deref(),
            self.order.ask.media_type.as_deref(),
        )
    }

    fn heard(&mut self, audio: Duration) -> Result<(), EngineError> {
        self.heard = self.heard.max(audio);
        if self.heard > self.order.max_audio {
            self.too_long = true;
            return Err(EngineError::Stopped);
        }
        let mut report = self.report.borrow_mut();
        if report.progress(self.heard).is_break() {
            return Err(EngineError::Stopped);
        }
        drop(report);
        self.told.until(self.heard, self.report)
    }
}
