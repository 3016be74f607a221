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
    converter,
    live::in_live_pieces,
    report::{Heard, Report, failure, too_long},
    source::{Source, position},
    speakers,
    wire::Order,
};
use crate::{
    audio::{self, AudioError, Cutter, Decoder, Hint, Keep, LiveCutter, Wanted},
    engine::{
        AudioSource, Emit, EngineError, Hearing, HearsSamples, LoadedModel, SAMPLE_RATE, Said,
    },
    isolation::Standby,
    request::{Ask, Failure, Figures, Speakers},
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
    let mut ask = order.ask.clone();
    let mut wanted = Wanted {
        channel: ask.channel.filter(|_| ask.speakers.is_none()),
        track: ask.track,
        language: ask.language.clone(),
        survey: ask.speakers.is_some(),
        voices: None,
    };
    let open = |wanted: &Wanted| Decoder::open_for(Arc::clone(&recording), hint, wanted);
    let (decoder, conversion) = match open(&wanted) {
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
    let (mut warning, is_file) = (None, is_file(&recording));
    let surveyed = source.survey(is_file, &mut ask, &mut wanted, open);
    if source.too_long {
        return Err(too_long(order.max_audio));
    }
    let result = match surveyed {
        Ok(surveyed) => {
            warning = surveyed?;
            source
                .measure(is_file, || open(&wanted))
                .and_then(|()| hear(engine, &mut source, &ask))
        }
        Err(error) => Err(error),
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
            warnings: warning.into_iter().chain(source.warnings()).collect(),
        }),
        Err(error) => Err(match &mut source.conversion {
            Some(conversion) => conversion.failure(&error),
            None => failure(&error),
        }),
    }
}

/// True for a recording that can be read twice.
fn is_file(recording: &File) -> bool {
    matches!(audio::length(recording), Ok(Some(_)))
}

/// Pass the recording to the engine as the engine wants it.
fn hear(
    engine: &mut dyn HearsSamples,
    source: &mut Source<'_, '_>,
    ask: &Ask,
) -> Result<(), EngineError> {
    let report = source.report;
    let mut emit = |said| match said {
        Said::Segment(segment) => report.borrow_mut().segment(segment),
        Said::Hypothesis(hypothesis) => report.borrow_mut().hypothesis(hypothesis),
    };
    let hearing = engine.hearing();
    if hearing == Hearing::Whole {
        return engine.transcribe(source, ask, &mut emit);
    }
    let keep = match ask.vad {
        true => Keep::Speech,
        false => Keep::Everything,
    };
    if ask.partials && engine.hears_live() {
        let cutter = LiveCutter::new(keep);
        return in_live_pieces(engine, source, cutter, ask, &mut emit);
    }
    let mut cutter = Cutter::new(keep);
    if hearing == Hearing::LongPieces {
        cutter = cutter.long();
    }
    if ask.speakers == Some(Speakers::Channel) {
        cutter = cutter.in_turns();
    }
    in_pieces(engine, source, cutter, ask, &mut emit)
}

/// Pass the recording to the engine piece by piece.
fn in_pieces(
    engine: &mut dyn HearsSamples,
    source: &mut Source<'_, '_>,
    mut cutter: Cutter,
    ask: &Ask,
    emit: &mut Emit<'_>,
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
            engine.transcribe(&mut piece, ask, &mut |said| {
                flow = emit(said.later(start));
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

impl Source<'_, '_> {
    /// Refuse a recording that is too long before any of it is transcribed. If the file does not
    /// itself say that it is short enough, it is read twice: reading is a hundred times faster than
    /// transcribing.
    ///
    /// # Errors
    /// As [`AudioSource::next_block`].
    fn measure(
        &mut self,
        is_file: bool,
        open: impl Fn() -> Result<Decoder, AudioError>,
    ) -> Result<(), EngineError> {
        let says_it_is_short = |length: &Duration| *length <= self.limit;
        let announced = || self.decoder.announced().filter(says_it_is_short);
        self.heard.total = self.heard.total.or_else(announced);
        // A pipe or a converter cannot be read twice. If speakers were to be found, it was read.
        if !is_file || self.conversion.is_some() || self.heard.total.is_some() {
            return self.heard.begin(self.report);
        }
        self.read_through()?;
        self.decoder = open()?;
        self.heard.begin(self.report)
    }

    /// Read the recording to its end, without the engine.
    ///
    /// # Errors
    /// As [`AudioSource::next_block`].
    fn read_through(&mut self) -> Result<(), EngineError> {
        let hears_as_it_reads = std::mem::take(&mut self.hears_as_it_reads);
        while self.next_block()?.is_some() {}
        self.hears_as_it_reads = hears_as_it_reads;
        self.heard.total = Some(position(self.samples));
        self.samples = 0;
        Ok(())
    }

    /// If speakers are to be told apart, read the recording once to compare its channels. Then
    /// `ask` and `wanted` say what is heard, and a sentence may be for the client.
    ///
    /// # Errors
    /// As [`AudioSource::next_block`]; inside, the recording cannot be heard as the client asks.
    fn survey(
        &mut self,
        is_file: bool,
        ask: &mut Ask,
        wanted: &mut Wanted,
        open: impl Fn(&Wanted) -> Result<Decoder, AudioError>,
    ) -> Result<Result<Option<String>, Failure>, EngineError> {
        let Some(speakers) = ask.speakers else {
            return Ok(Ok(None));
        };
        let voices = match is_file && self.conversion.is_none() {
            true => {
                self.read_through()?;
                self.decoder
                    .voices()
                    .ok_or("its channels were not compared")
            }
            false => Err("a recording that has to be converted first can be read only once"),
        };
        let mut warning = None;
        if let Speakers::Find(find) = speakers {
            let way = match speakers::way(voices.as_ref().map_err(|reason| *reason), find) {
                Ok(way) => way,
                Err(failure) => return Ok(Err(failure)),
            };
            warning = way.warning;
            ask.channel = way.channels.first().copied().or(ask.channel);
            if !way.channels.is_empty() {
                ask.speakers = Some(Speakers::Channel);
                if self.report.borrow_mut().channels(&way.channels).is_break() {
                    return Err(EngineError::Stopped);
                }
            }
        }
        wanted.channel = ask.channel;
        if let Ok(voices) = voices {
            wanted.survey = false;
            wanted.voices = Some(Arc::new(voices));
            self.decoder = open(wanted)?;
        }
        Ok(Ok(warning))
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
