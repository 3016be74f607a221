//! Engine `whisper`: OpenAI's Whisper, run by whisper.cpp 1.8, which is compiled in.
//!
//! Facts of the library that shape this code (measured or read in its source):
//! - Built without OpenMP it starts its threads for each computation and ends them after it: a process that has loaded a
//!   model has one thread, and can be forked. One that has run OpenMP could not.
//! - It reads weights into memory of its own, which is in huge pages (see `isolation/exec.rs`) and shared by the fork.
//!   All else that a transcription needs is its state, which is made in the job.
//! - It believes what a model file says of itself: see [`file`].
//! - It hears thirty seconds at once, however short the recording is.

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

/// Where the chosen temperature finds nothing likely, it is raised in such steps up to 1. OpenAI's value.
const TEMPERATURE_STEP: f32 = 0.2;

/// Texts that are tried with a temperature, of which the best is taken. OpenAI's value.
const BEST_OF: i32 = 5;

/// Bytes of a prompt that are used, from its end. The model takes 224 tokens at the most; and the library's way to find
/// words recurs with the length of the text.
const MAX_PROMPT: usize = 1024;

/// Vocabularies are as large as the languages in them are many.
const TOKENS_BESIDE_LANGUAGES: i32 = 51_766;

/// A loaded model.
pub struct Whisper {
    // Before the context, into which it points.
    state: Option<WhisperState>,
    context: WhisperContext,
    settings: WhisperSettings,
    language: Option<String>,
}

/// Load the model: as much memory as its file is long.
///
/// Call it in a process that may end: a malformed file can crash the library.
///
/// # Errors
/// [`EngineError::Unavailable`]: the CPU lacks what the library was built for, or the file is no whole model.
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
        // Half the memory of a job (`small`: 156 MiB instead of 288), for a tenth more of its time.
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
        // A state remembers what it has chosen by chance, which would show in what it chooses next.
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
        // What the first piece is in, all others are.
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

    /// What leads up to the recording, as the model reads it.
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
        // No token is shorter than a byte: there is room for all.
        let tokens = self.context.tokenize(&text, text.len());
        tokens.map_err(|error| failed(error.to_string()))
    }

    /// What is the same for all requests.
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
        // Pieces are cut at pauses and stand for themselves: what one got wrong must not mislead the next.
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
    /// 0: no other is tried.
    step: f32,
}

impl Temperatures {
    /// As OpenAI's API: whoever asks for a temperature gets that one.
    fn of(options: &Ask) -> Self {
        match options.temperature.filter(|&temperature| temperature > 0.0) {
            Some(first) => Self { first, step: 0.0 },
            None => Self {
                first: 0.0,
                step: TEMPERATURE_STEP,
            },
        }
    }

    /// The one that is tried after so many others.
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
