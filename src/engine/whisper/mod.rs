//! Engine `whisper`: OpenAI's Whisper, run by whisper.cpp 1.8, which is compiled in.
//!
//! Facts of the library that shape this code (measured or read in its source):
//! - Built without OpenMP, it starts its threads for each computation and ends them afterwards. So
//!   a process that has loaded a model has one thread, and can be forked. A process that has run
//!   OpenMP could not.
//! - It reads weights into its own memory, which is in huge pages (see `isolation/exec.rs`) and
//!   shared by the fork. Everything else that a transcription needs is its state. The state for the
//!   first run is made before the fork, so that a job shares the caches that it does not fill.
//! - It trusts the numbers in a model file: see [`file`].
//! - It hears thirty seconds at once, unless it is told that the recording is shorter: see
//!   [`window`].

mod cpu;
mod decoding;
mod doubt;
mod file;
mod kernels;
mod log;
mod run;
mod settings;
mod tongue;
mod window;
mod words;

use std::{ffi::c_int, ops::ControlFlow, time::Duration};

use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState,
    get_lang_id, get_lang_str,
};

pub use self::settings::WhisperSettings;
use self::{run::Tongue, tongue::Search, window::Window};
use super::{AudioSource, Emit, Engine, EngineError, Hearing, HearsSamples, SAMPLE_RATE, Said};
use crate::request::Ask;
use crate::{language::primary_language, transcript::Segment};

/// Name of the engine in the configuration and in messages.
pub const NAME: &str = "whisper";

/// If the chosen temperature gives no likely text, it is raised by this step, up to 1. OpenAI's
/// value.
const TEMPERATURE_STEP: f32 = 0.2;

/// Number of texts that are tried with a temperature; the best one is taken. OpenAI's value.
const BEST_OF: i32 = 5;

/// Bytes of a prompt that are used, from its end. The model takes at most 224 tokens, and the
/// library finds words by recursion as deep as the text is long.
const MAX_PROMPT: usize = 1024;

/// Number of a prompt's tokens that the library uses, from its end.
const MAX_PROMPT_TOKENS: usize = 223;

/// Samples below which the library finds no text: 0.1 s. It reads beyond the end of much fewer.
const FEWEST_SAMPLES: usize = SAMPLE_RATE as usize / 10;

/// Tokens of the models from `large-v3` on.
const LARGEST_VOCABULARY: i32 = 51_866;

/// Tokens of a vocabulary that are not languages.
const TOKENS_BESIDE_LANGUAGES: i32 = 51_766;

/// A loaded model, and what was heard of the recording at hand.
pub struct Whisper {
    context: WhisperContext,
    /// The state for the first run. Its caches (`base`: 28 MiB) are always made for the whole
    /// window, and cleared.
    fresh: Option<WhisperState>,
    settings: WhisperSettings,
    /// The languages that were heard, in the order in which they were first heard.
    heard: Vec<&'static str>,
}

/// Load the model. This takes as much memory as the file is long.
///
/// Call it in a process that may end: a malformed file can crash the library.
///
/// # Errors
/// [`EngineError::Unavailable`]: the CPU lacks an instruction that the library was built for, or
/// the file is not a complete model.
pub fn load(settings: &WhisperSettings) -> Result<Whisper, EngineError> {
    cpu::check()?;
    let path = &settings.file;
    let unusable = |reason: String| {
        EngineError::Unavailable(format!(
            "the model {} cannot be used: {reason} (models.<name>.whisper.file)",
            path.display()
        ))
    };
    file::check(path).map_err(unusable)?;
    log::listen();
    kernels::choose(Some(log::hear));
    let params = WhisperContextParameters {
        // This halves a job's memory (`small`: 156 MiB instead of 288), and costs a tenth more
        // time.
        flash_attn: true,
        ..WhisperContextParameters::default()
    };
    let context = WhisperContext::new_with_params(path, params)
        .map_err(|error| unusable(log::reason(error)))?;
    let fresh = context
        .create_state()
        .map_err(|error| unusable(log::reason(error)))?;
    Ok(Whisper {
        context,
        fresh: Some(fresh),
        settings: settings.clone(),
        heard: Vec::new(),
    })
}

impl Engine for Whisper {
    fn begin(&mut self) {
        self.heard.clear();
    }

    fn languages(&self) -> Vec<&str> {
        self.heard.clone()
    }
}

impl HearsSamples for Whisper {
    fn hearing(&self) -> Hearing {
        Hearing::LongPieces
    }

    fn transcribe(
        &mut self,
        audio: &mut dyn AudioSource,
        options: &Ask,
        emit: &mut Emit<'_>,
    ) -> Result<(), EngineError> {
        let emit = &mut |segment| emit(Said::Segment(segment));
        let samples = audio.rest()?;
        if samples.len() < FEWEST_SAMPLES {
            return Ok(());
        }
        let mut piece = Piece {
            samples: &samples,
            tongue: self.tongue(options)?,
            prompt: self.prompt(options)?,
            translate: options.translate,
            temperatures: Temperatures::of(options),
            audio: &*audio,
        };
        if let Window::Cut(_) = self.window(&samples) {
            let once = Temperatures {
                step: 0.0,
                ..piece.temperatures
            };
            let temperatures = std::mem::replace(&mut piece.temperatures, once);
            let mut segments = Vec::new();
            let language = self.hear(&piece, true, &mut |segment| {
                segments.push(segment);
                ControlFlow::Continue(())
            })?;
            let length = Duration::from_secs(samples.len() as u64) / SAMPLE_RATE;
            // Nobody reads the text of a self-test, which is always doubtful.
            let is_final = options.self_test
                || !audio.is_wanted()
                || !doubt::is_doubtful(&segments, length, options.vad);
            if is_final {
                self.remember(language);
                let _ = segments.into_iter().try_for_each(emit);
                return Ok(());
            }
            piece.temperatures = temperatures;
        }
        let language = self.hear(&piece, false, emit)?;
        self.remember(language);
        Ok(())
    }
}

/// A piece of a recording, and how it is to be heard.
struct Piece<'a> {
    samples: &'a [f32],
    tongue: Tongue,
    /// The text that precedes it, as tokens.
    prompt: Vec<c_int>,
    translate: bool,
    temperatures: Temperatures,
    audio: &'a dyn AudioSource,
}

impl Whisper {
    /// The window for these samples.
    fn window(&self, samples: &[f32]) -> Window {
        Window::of(samples.len(), self.context.model_n_audio_ctx())
    }

    /// Transcribe a piece, in a window that is cut to it or in the whole one. Returns its language,
    /// if it was found out or told.
    fn hear(
        &mut self,
        piece: &Piece<'_>,
        cut: bool,
        emit: &mut dyn FnMut(Segment) -> ControlFlow<()>,
    ) -> Result<Option<&'static str>, EngineError> {
        let mut tongue = piece.tongue.clone();
        let mut start = Duration::ZERO;
        loop {
            let samples = usize::try_from(start.as_millis()).unwrap_or(usize::MAX);
            let samples = samples.saturating_mul(SAMPLE_RATE as usize / 1_000);
            let samples = piece.samples.get(samples..).unwrap_or_default();
            if samples.len() < FEWEST_SAMPLES {
                return Ok(language_of(&tongue));
            }
            let window = if cut {
                self.window(samples)
            } else {
                Window::Whole
            };
            let mut params = self.params(piece.temperatures);
            params.set_audio_ctx(window.places());
            params.set_translate(piece.translate);
            params.set_tokens(&piece.prompt);
            // A new one for each run: it remembers random choices, and texts of earlier runs.
            let state = match self.fresh.take() {
                Some(state) => state,
                None => self
                    .context
                    .create_state()
                    .map_err(|error| failed(log::reason(error)))?,
            };
            let mut emit = |segment: Segment| emit(segment.later(start));
            let (temperatures, audio) = (piece.temperatures, piece.audio);
            let ended = run::run(
                state,
                params,
                samples,
                tongue,
                temperatures,
                audio,
                &mut emit,
            )?;
            match (ended.rest, ended.language) {
                (Some(rest), Some(language)) => {
                    tongue = Tongue::Told(language);
                    start += rest;
                }
                (_, language) => return Ok(language),
            }
        }
    }

    /// The language to transcribe in.
    fn tongue(&self, options: &Ask) -> Result<Tongue, EngineError> {
        if !self.context.is_multilingual() {
            if options.translate {
                return Err(failed("the model knows English only".into()));
            }
            return Ok(Tongue::Told("en"));
        }
        let asked = options.language.as_deref();
        let configured = self
            .settings
            .told()
            .filter(|_| options.languages.is_empty());
        if let Some(code) = asked.or(configured) {
            return self.known(code).map(Tongue::Told);
        }
        // Unless each piece may have its own, all others are in the language of the first.
        if let (false, Some(language)) = (self.settings.each_piece(), self.heard.first()) {
            return Ok(Tongue::Told(language));
        }
        Ok(Tongue::Sought(Search {
            among: self.choice(options)?,
            prompt: self.prompt(options)?,
            translate: options.translate,
            no_times: self.context.model_n_text_layer() == 2
                && self.context.n_vocab() != LARGEST_VOCABULARY,
            threads: self.threads(),
        }))
    }

    /// The library's numbers of the languages that may be spoken.
    fn choice(&self, options: &Ask) -> Result<Vec<c_int>, EngineError> {
        if options.languages.is_empty() {
            return Ok((0..self.known_languages()).collect());
        }
        let codes = options.languages.iter();
        codes
            .map(|code| Ok(get_lang_id(self.known(code)?).unwrap_or(0)))
            .collect()
    }

    /// Remember that this language was heard.
    fn remember(&mut self, language: Option<&'static str>) {
        if let Some(language) = language
            && !self.heard.contains(&language)
        {
            self.heard.push(language);
        }
    }

    /// The number of languages that the model knows.
    fn known_languages(&self) -> c_int {
        self.context.n_vocab() - TOKENS_BESIDE_LANGUAGES
    }

    /// The library's own code for a language that the model knows.
    fn known(&self, code: &str) -> Result<&'static str, EngineError> {
        let code = primary_language(code).to_ascii_lowercase();
        get_lang_id(&code)
            .filter(|id| (0..self.known_languages()).contains(id))
            .and_then(get_lang_str)
            .ok_or_else(|| failed(format!("the model has no language `{code}`")))
    }

    /// The text that precedes the recording, as tokens: the keywords, then the prompt.
    fn prompt(&self, options: &Ask) -> Result<Vec<i32>, EngineError> {
        let mut text = String::new();
        for word in &options.keywords {
            text.push_str(if text.is_empty() { " " } else { ", " });
            text.push_str(word.trim());
        }
        if let Some(prompt) = &options.prompt {
            text.push_str(if text.is_empty() { "" } else { ". " });
            text.push_str(prompt);
        }
        let mut start = text.len().saturating_sub(MAX_PROMPT);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        let text = text.get(start..).unwrap_or_default().replace('\0', " ");
        if text.is_empty() {
            return Ok(Vec::new());
        }
        // No token is shorter than a byte, so there is room for all.
        let tokens = self.context.tokenize(&text, text.len());
        let mut tokens = tokens.map_err(|error| failed(error.to_string()))?;
        tokens.drain(..tokens.len().saturating_sub(MAX_PROMPT_TOKENS));
        Ok(tokens)
    }

    /// Threads of a computation.
    fn threads(&self) -> c_int {
        number(self.settings.threads.max(1))
    }

    /// Parameters that all requests share.
    fn params<'a>(&self, temperatures: Temperatures) -> FullParams<'a, 'a> {
        let mut params = FullParams::new(match self.settings.beam_size {
            // The library makes room for all texts that it may try.
            0 | 1 if temperatures.are_zero() => SamplingStrategy::Greedy { best_of: 1 },
            0 | 1 => SamplingStrategy::Greedy { best_of: BEST_OF },
            beam_size => SamplingStrategy::BeamSearch {
                beam_size: number(beam_size),
                patience: -1.0,
            },
        });
        params.set_n_threads(self.threads());
        params.set_temperature(temperatures.first);
        params.set_temperature_inc(temperatures.step);
        // Pieces are cut at pauses and are independent: an error in one must not mislead the next.
        params.set_no_context(true);
        params.set_token_timestamps(true);
        params.set_print_special(false);
        params.set_print_progress(false);
        params.set_print_realtime(false);
        params.set_print_timestamps(false);
        params
    }
}

/// A number as the library wants it.
fn number(number: u32) -> c_int {
    c_int::try_from(number).unwrap_or(c_int::MAX)
}

/// The language, if it is known.
fn language_of(tongue: &Tongue) -> Option<&'static str> {
    match tongue {
        Tongue::Told(language) => Some(language),
        Tongue::Sought(_) => None,
    }
}

/// The temperatures that are tried, one after the other, until the text is likely.
#[derive(Clone, Copy, Debug)]
struct Temperatures {
    first: f32,
    /// Step between two temperatures; 0: no other is tried.
    step: f32,
}

impl Temperatures {
    /// As in OpenAI's API: if a request asks for a temperature, no other is tried.
    fn of(options: &Ask) -> Self {
        match options.temperature.filter(|&temperature| temperature > 0.0) {
            Some(first) => Self { first, step: 0.0 },
            None => Self {
                first: 0.0,
                step: TEMPERATURE_STEP,
            },
        }
    }

    /// Whether no text is chosen by chance.
    fn are_zero(self) -> bool {
        self.first <= 0.0 && self.step <= 0.0
    }

    /// The temperature that is tried after `others` others.
    fn after(self, others: u16) -> f32 {
        (self.first + f32::from(others) * self.step).min(1.0)
    }
}

/// An error of this engine.
fn failed(reason: String) -> EngineError {
    EngineError::Failed {
        engine: NAME,
        reason,
    }
}
