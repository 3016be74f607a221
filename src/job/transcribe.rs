//! Takes a recording through decoder, cutter and engine, in a process of its own or (mode `thread`)
//! next to others.

use std::{
    cell::RefCell,
    fs::File,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    converter::{self, Conversion},
    report::{Heard, PROGRESS_STEP, Report, failure, too_long},
    wire::Order,
};
use crate::{
    audio::{self, AudioError, Cutter, Decoder, Hint, Keep, Wanted},
    engine::{AudioSource, EngineError, Hearing, HearsSamples, LoadedModel, SAMPLE_RATE},
    isolation::Standby,
    request::{Ask, Failure, Figures},
    transcript::Segment,
};

/// Transcribe `recording`, with the `standby` as its converter if need be.
///
/// # Errors
/// The recording is unreadable or too long, or the engine failed.
pub fn transcribe(
    model: &mut LoadedModel,
    order: &Order,
    recording: Arc<File>,
    report: &mut dyn Report,
    standby: &mut Option<Standby>,
) -> Result<Figures, Failure> {
    let start = Instant::now();
    let hint = Hint {
        extension: order.ask.extension.as_deref(),
        mime: order.ask.media_type.as_deref(),
    };
    model.engine().begin();
    let engine = match model {
        LoadedModel::Samples(engine) => engine.as_mut(),
        LoadedModel::Original(engine) => {
            let engine = engine.as_mut();
            return super::original::transcribe(engine, order, recording, report);
        }
    };
    let wanted = Wanted {
        channel: order.ask.channel,
        track: order.ask.track,
        language: order.ask.language.clone(),
    };
    let open = || Decoder::open_for(Arc::clone(&recording), hint, &wanted);
    let (decoder, conversion) = match open() {
        Ok(decoder) => (decoder, None),
        Err(error) => {
            let converted = converter::decode(&error, &recording, &wanted, standby)?;
            (converted.0, Some(converted.1))
        }
    };
    let report = RefCell::new(report);
    let mut source = Source {
        decoder,
        conversion,
        decode: start.elapsed(),
        samples: 0,
        told: Duration::ZERO,
        heard: Heard::default(),
        hears_as_it_reads: engine.hearing() == Hearing::Whole,
        limit: order.max_audio,
        too_long: false,
        report: &report,
    };
    let mut emit = |segment| report.borrow_mut().segment(segment);
    let result = match engine.hearing() {
        Hearing::Whole => source
            .measure(&recording, open)
            .and_then(|()| engine.transcribe(&mut source, &order.ask, &mut emit)),
        hearing @ (Hearing::Pieces | Hearing::LongPieces) => {
            let keep = if order.ask.vad {
                Keep::Speech
            } else {
                Keep::Everything
            };
            let mut cutter = Cutter::new(keep);
            if hearing == Hearing::LongPieces {
                cutter = cutter.long();
            }
            source
                .measure(&recording, open)
                .and_then(|()| in_pieces(engine, &mut source, cutter, &order.ask, &mut emit))
        }
    };
    if source.too_long {
        return Err(too_long(order.max_audio));
    }
    match result {
        Ok(()) | Err(EngineError::Stopped) => Ok(Figures {
            converted: source.conversion.is_some(),
            audio: position(source.samples),
            decode: source.decode,
            transcribe: start.elapsed().saturating_sub(source.decode),
            languages: engine.languages().into_iter().map(str::to_owned).collect(),
            warnings: source.warnings(),
        }),
        Err(error) => Err(match &mut source.conversion {
            Some(conversion) => conversion.failure(&error),
            None => failure(&error),
        }),
    }
}

/// Pass the recording to the engine piece by piece.
fn in_pieces(
    engine: &mut dyn HearsSamples,
    source: &mut Source<'_, '_>,
    mut cutter: Cutter,
    ask: &Ask,
    emit: &mut dyn FnMut(Segment) -> ControlFlow<()>,
) -> Result<(), EngineError> {
    let mut is_over = false;
    while !is_over {
        match source.next_block()? {
            Some(block) => cutter.push(block),
            None => {
                cutter.finish();
                is_over = true;
            }
        }
        while let Some(piece) = cutter.next_piece() {
            let start = position(piece.start);
            let mut flow = ControlFlow::Continue(());
            let mut piece = OnePiece {
                whole: source,
                samples: piece.samples,
                is_given: false,
            };
            engine.transcribe(&mut piece, ask, &mut |segment| {
                flow = emit(segment.later(start));
                flow
            })?;
            if flow.is_break() {
                return Ok(());
            }
            source.is_heard(cutter.position())?;
        }
        source.is_heard(cutter.position())?;
    }
    Ok(())
}

/// One piece of the recording as the engine sees it: a single block.
struct OnePiece<'a> {
    whole: &'a dyn AudioSource,
    samples: Vec<f32>,
    is_given: bool,
}

impl AudioSource for OnePiece<'_> {
    fn next_block(&mut self) -> Result<Option<&[f32]>, EngineError> {
        let block = (!self.is_given).then_some(self.samples.as_slice());
        self.is_given = true;
        Ok(block)
    }

    fn is_wanted(&self) -> bool {
        self.whole.is_wanted()
    }
}

/// The decoder as the engine sees it: it measures, reports progress, and stops at the model's
/// limit.
struct Source<'a, 'r> {
    decoder: Decoder,
    /// The converter whose output is decoded, if it is not the recording itself.
    conversion: Option<Conversion>,
    decode: Duration,
    /// Number of samples given to the engine so far.
    samples: u64,
    told: Duration,
    heard: Heard,
    /// True if the engine does its work while it reads.
    hears_as_it_reads: bool,
    limit: Duration,
    too_long: bool,
    report: &'a RefCell<&'r mut dyn Report>,
}

/// Playing time of `samples` at 16 kHz.
fn position(samples: u64) -> Duration {
    Duration::from_secs(samples) / SAMPLE_RATE
}

impl Source<'_, '_> {
    /// Refuse a recording that is too long before any of it is transcribed. If the file does not
    /// itself say that it is short enough, it is read twice: reading is a hundred times faster than
    /// transcribing.
    ///
    /// # Errors
    /// As [`AudioSource::next_block`].
    fn measure(
        &mut self,
        recording: &File,
        open: impl Fn() -> Result<Decoder, AudioError>,
    ) -> Result<(), EngineError> {
        let says_it_is_short = |length: &Duration| *length <= self.limit;
        self.heard.total = self.decoder.announced().filter(says_it_is_short);
        // A pipe or a converter cannot be read twice.
        let is_file = matches!(audio::length(recording), Ok(Some(_)));
        if !is_file || self.conversion.is_some() || self.heard.total.is_some() {
            return self.heard.begin(self.report);
        }
        let hears_as_it_reads = std::mem::take(&mut self.hears_as_it_reads);
        while self.next_block()?.is_some() {}
        self.hears_as_it_reads = hears_as_it_reads;
        self.heard.total = Some(position(self.samples));
        self.decoder = open()?;
        self.samples = 0;
        self.heard.begin(self.report)
    }

    /// The engine is done with this many samples.
    ///
    /// # Errors
    /// As [`AudioSource::at_work`].
    fn is_heard(&mut self, samples: u64) -> Result<(), EngineError> {
        self.heard.until(position(samples), self.report)
    }

    /// Warnings for the client, once the work is done.
    fn warnings(&mut self) -> Vec<String> {
        let mut warnings = self.decoder.warnings();
        let position = position(self.samples);
        let conversion = self.conversion.as_mut();
        warnings.extend(conversion.and_then(|conversion| conversion.warning(position)));
        warnings
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

/// An eighth of a second of faint noise as a WAV file (16 kHz, mono, 16 bits) for the self-test.
/// Noise, because digital silence takes shortcuts in some engines. Short, because clients wait
/// while a zygote starts; but PocketSphinx begins to search only after a tenth of a second, and
/// each further frame of 10 ms costs 3 ms. A linear congruential generator makes it always the
/// same.
pub(super) fn noise() -> Vec<u8> {
    let samples = SAMPLE_RATE / 8;
    let bytes = samples * 2;
    let mut wav = Vec::with_capacity(44 + bytes as usize);
    wav.extend(b"RIFF");
    wav.extend((36 + bytes).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16u32.to_le_bytes());
    wav.extend(1u16.to_le_bytes());
    wav.extend(1u16.to_le_bytes());
    wav.extend(SAMPLE_RATE.to_le_bytes());
    wav.extend((SAMPLE_RATE * 2).to_le_bytes());
    wav.extend(2u16.to_le_bytes());
    wav.extend(16u16.to_le_bytes());
    wav.extend(b"data");
    wav.extend(bytes.to_le_bytes());
    let mut state = 1u32;
    for _ in 0..samples {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [.., high] = state.to_le_bytes();
        wav.extend((i16::from(high) - 128).to_le_bytes());
    }
    wav
}
