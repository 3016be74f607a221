//! Engine `whisper`: OpenAI's Whisper, run by whisper.cpp 1.8, which is compiled in.
//!
//! Facts of the library that shape this code (measured or read in its source):
//! - Built without OpenMP, it starts its threads for each computation and ends them afterwards. So
//!   a process that has loaded a model has one thread, and can be forked. A process that has run
//!   OpenMP could not.
//! - It reads weights into its own memory, which is in huge pages (see `isolation/exec.rs`) and
//!   shared by the fork. Everything else that a transcription needs is its state, which is made in
//!   the job.
//! - It trusts the numbers in a model file: see [`file`].
//! - It hears thirty seconds at once, also if the recording is shorter.

mod cpu;
mod decoding;
mod file;
mod log;
mod run;
mod settings;
mod words;

use std::ops::ControlFlow;

use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState,
    get_lang_id,
};

pub use self::settings::WhisperSettings;
use super::{AudioSource, Engine, EngineError, Hearing, HearsSamples};
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

/// Tokens of a vocabulary that are not languages.
const TOKENS_BESIDE_LANGUAGES: i32 = 51_766;

/// A loaded model, and the state of the recording at hand.
pub struct Whisper {
    // Declared before the context, into which it points.
    state: Option<WhisperState>,
    context: WhisperContext,
    settings: WhisperSettings,
    language: Option<String>,
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
    let params = WhisperContextParameters {
        // This halves a job's memory (`small`: 156 MiB instead of 288), and costs a tenth more
        // time.
        flash_attn: true,
        ..WhisperContextParameters::default()
    };
    let context = WhisperContext::new_with_params(path, params)
        .map_err(|error| unusable(log::reason(error)))?;
    Ok(Whisper {
        state: None,
        context,
        settings: settings.clone(),
        language: None,
    })
}

impl Engine for Whisper {
    fn begin(&mut self) {
        // A state remembers its random choices, which would influence the next recording.
        self.state = None;
        self.language = None;
    }

    fn language(&self) -> Option<&str> {
        self.language.as_deref()
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
        emit: &mut dyn FnMut(Segment) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let mut samples = Vec::new();
        while let Some(block) = audio.next_block()? {
            samples.extend_from_slice(block);
        }
        if samples.is_empty() {
            return Ok(());
        }
        let language = self.chosen_language(options)?;
        let prompt = self.prompt(options)?;
        let mut params = self.params();
        params.set_language(language.as_deref());
        params.set_translate(options.translate);
        params.set_tokens(&prompt);
        let temperatures = Temperatures::of(options);
        params.set_temperature(temperatures.first);
        params.set_temperature_inc(temperatures.step);

        let state = match self.state.take() {
            Some(state) => state,
            None => self
                .context
                .create_state()
                .map_err(|error| failed(log::reason(error)))?,
        };
        let (state, language) = run::run(state, params, &samples, temperatures, &*audio, emit)?;
        self.state = Some(state);
        // All other pieces are in the language of the first.
        self.language = language.map(str::to_owned).or(self.language.take());
        Ok(())
    }
}

impl Whisper {
    /// The language to transcribe in; `None`: the model finds out.
    fn chosen_language(&self, options: &Ask) -> Result<Option<String>, EngineError> {
        if !self.context.is_multilingual() {
            if options.translate {
                return Err(failed("the model knows English only".into()));
            }
            return Ok(Some("en".into()));
        }
        let asked = options.language.as_deref();
        let primary = asked.map(primary_language);
        let configured = Some(self.settings.language.as_str()).filter(|code| !code.is_empty());
        let Some(code) = primary.or(configured).or(self.language.as_deref()) else {
            return Ok(None);
        };
        let code = code.to_ascii_lowercase();
        let known = self.context.n_vocab() - TOKENS_BESIDE_LANGUAGES;
        let is_known = get_lang_id(&code).is_some_and(|id| (0..known).contains(&id));
        if !is_known {
            return Err(failed(format!("the model has no language `{code}`")));
        }
        Ok(Some(code))
    }

    /// The text that precedes the recording, as tokens.
    fn prompt(&self, options: &Ask) -> Result<Vec<i32>, EngineError> {
        let text = options.prompt.as_deref().unwrap_or_default();
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
        tokens.map_err(|error| failed(error.to_string()))
    }

    /// Parameters that all requests share.
    fn params<'a>(&self) -> FullParams<'a, 'a> {
        let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let mut params = FullParams::new(match self.settings.beam_size {
            0 | 1 => SamplingStrategy::Greedy { best_of: BEST_OF },
            beam_size => SamplingStrategy::BeamSearch {
                beam_size: number(beam_size),
                patience: -1.0,
            },
        });
        params.set_n_threads(number(self.settings.threads.max(1)));
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
