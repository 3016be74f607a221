//! Engine `sherpa`: models in ONNX, run by sherpa-onnx's shared library and its ONNX Runtime.
//!
//! Facts of the library that shape this code (measured with 2.0.1, or read in the source of 1.13.4,
//! the newest that is published):
//! - With one thread it starts none, neither while it loads a model nor while it runs it. So a
//!   zygote that has loaded a model can be forked, and jobs share the weights, which it copies into
//!   its own memory.
//! - It ends the process at most mistakes. So files, languages and words are checked first.
//! - With Whisper it hears the first 29.5 s of what it is given. With Whisper, Moonshine and
//!   FireRedASR it writes a limited number of tokens for each second. Both cut text off without a
//!   word: see [`pieces`].
//! - If a computation fails, it writes a line to standard error and returns an empty result.

mod ffi;
mod kind;
pub(crate) mod onnx;
mod pieces;
mod result;
mod settings;

use std::{
    borrow::Cow,
    ffi::CString,
    fs, iter,
    ops::Range,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    kind::Kind,
    settings::{SherpaSettings, Unit},
};
use self::{
    kind::{Model, Part},
    result::Heard,
};
use super::{AudioSource, Emit, Engine, EngineError, HearsSamples, SAMPLE_RATE, Said};
use crate::{language::primary_language, request::Ask};

/// Name of the engine in the configuration and in messages.
pub const NAME: &str = "sherpa";

/// Longest word to expect, in bytes, and the largest number of them that is used.
const MAX_KEYWORD: usize = 250;
const MAX_KEYWORDS: usize = 500;

/// Samples of silence without which a model hears nothing: shorter pieces are lengthened to 0.1 s,
/// because convolutions need a few frames.
const SHORTEST: usize = SAMPLE_RATE as usize / 10;

/// A loaded model.
pub struct Sherpa {
    recognizer: ffi::Recognizer,
    punctuation: Option<ffi::Punctuation>,
    model: Model,
    settings: SherpaSettings,
    /// Language and task that the library is set to.
    set_to: Option<(String, bool)>,
    /// The language that was heard in this recording.
    language: Option<String>,
}

/// Load the library and the model.
///
/// Call it in a process that may end: the library ends it if a file is malformed.
///
/// # Errors
/// [`EngineError::Unavailable`]: the library is missing or unfit, a file is missing or cannot be
/// read, or the library refuses the model. The message says what to do.
pub fn load(settings: &SherpaSettings) -> Result<Sherpa, EngineError> {
    let folder = &settings.model;
    let unusable = |reason: String| {
        EngineError::Unavailable(format!(
            "the model in {} cannot be used: {reason} (models.<name>.sherpa.model)",
            folder.display()
        ))
    };
    let model = kind::look(folder, settings.kind).map_err(unusable)?;
    let table = library_settings(settings, &model).map_err(unusable)?;
    let library = ffi::Sherpa::open(settings.library.as_os_str()).map_err(|reason| {
        EngineError::Unavailable(format!(
            "sherpa is not available: {reason}; models.<name>.sherpa.library is the path of libsherpa-onnx-c-api.so"
        ))
    })?;
    let recognizer = ffi::Recognizer::load(library, &table).map_err(unusable)?;
    let punctuation = punctuation(settings, library).map_err(|reason| {
        EngineError::Unavailable(format!(
            "{reason} (models.<name>.sherpa.punctuation is the file or the folder of a ct-transformer)"
        ))
    })?;
    Ok(Sherpa {
        recognizer,
        punctuation,
        model,
        settings: settings.clone(),
        set_to: None,
        language: None,
    })
}

/// The model that adds punctuation, if the settings name one.
fn punctuation(
    settings: &SherpaSettings,
    library: ffi::Sherpa,
) -> Result<Option<ffi::Punctuation>, String> {
    let path = &settings.punctuation;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let file = match path.is_dir() {
        true => one_of(path, ["model.int8.onnx", "model.onnx"]),
        false => path.clone(),
    };
    onnx::read(&file)?;
    let name = CString::new(file.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    let threads = i32::try_from(settings.threads).unwrap_or(1);
    let made = ffi::Punctuation::load(library, &name, threads);
    let made = made.map_err(|reason| format!("{}: {reason}", file.display()))?;
    Ok(Some(made))
}

/// The first of these files that is in `folder`, or the last.
fn one_of(folder: &Path, names: [&str; 2]) -> PathBuf {
    let [first, last] = names.map(|name| folder.join(name));
    match fs::exists(&first) {
        Ok(true) => first,
        _ => last,
    }
}

/// The settings in the library's form.
///
/// # Errors
/// A path has a NUL byte, or a file is missing.
fn library_settings(settings: &SherpaSettings, model: &Model) -> Result<ffi::Settings, String> {
    let mut table = ffi::Settings::new();
    let files = &model.files;
    let texts = &mut table.texts;
    let mut path = |path: &Path| texts.keep(path.as_os_str().as_bytes());
    let null = std::ptr::null();
    let mut part = |part: Part| files.part(part).map_or(Ok(null), &mut path);
    let own = &mut table.config.model_config;
    match model.kind {
        Kind::Whisper => {
            own.whisper.encoder = part(Part::Encoder)?;
            own.whisper.decoder = part(Part::Decoder)?;
        }
        Kind::Transducer | Kind::NemoTransducer => {
            own.transducer.encoder = part(Part::Encoder)?;
            own.transducer.decoder = part(Part::Decoder)?;
            own.transducer.joiner = part(Part::Joiner)?;
        }
        Kind::Moonshine => {
            own.moonshine.preprocessor = part(Part::Preprocessor)?;
            own.moonshine.encoder = part(Part::Encoder)?;
            own.moonshine.uncached_decoder = part(Part::UncachedDecoder)?;
            own.moonshine.cached_decoder = part(Part::CachedDecoder)?;
            own.moonshine.merged_decoder = part(Part::MergedDecoder)?;
        }
        Kind::Canary => {
            own.canary.encoder = part(Part::Encoder)?;
            own.canary.decoder = part(Part::Decoder)?;
            own.canary.use_pnc = 1;
        }
        Kind::FireRedAsr => {
            own.fire_red_asr.encoder = part(Part::Encoder)?;
            own.fire_red_asr.decoder = part(Part::Decoder)?;
        }
        Kind::SenseVoice => {
            own.sense_voice.model = part(Part::Whole)?;
            own.sense_voice.use_itn = i32::from(settings.itn);
        }
        Kind::Paraformer => own.paraformer = part(Part::Whole)?,
        Kind::NemoCtc => own.nemo_ctc = part(Part::Whole)?,
        Kind::ZipformerCtc => own.zipformer_ctc = part(Part::Whole)?,
        Kind::WenetCtc => own.wenet_ctc = part(Part::Whole)?,
        Kind::TelespeechCtc => own.telespeech_ctc = part(Part::Whole)?,
        Kind::Dolphin => own.dolphin = part(Part::Whole)?,
        Kind::Omnilingual => own.omnilingual = part(Part::Whole)?,
        Kind::FireRedAsrCtc => own.fire_red_asr_ctc = part(Part::Whole)?,
        Kind::MedasrCtc => own.medasr = part(Part::Whole)?,
    }
    own.tokens = path(&files.tokens)?;
    own.num_threads = i32::try_from(settings.threads).unwrap_or(1);
    let is_searching = settings.beam_size > 1;
    if let Some(unit) = settings.modeling_unit {
        if unit.has_pieces() {
            let missing = "it has no bpe.vocab, by which words to expect are cut into tokens";
            own.bpe_vocab = path(files.vocabulary.as_deref().ok_or(missing)?)?;
        }
        if !settings.hotwords_file.as_os_str().is_empty() {
            super::files::check(&settings.hotwords_file)?;
            table.config.hotwords_file = path(&settings.hotwords_file)?;
        }
        own.modeling_unit = texts.keep(unit.name())?;
    }
    own.model_type = match model.kind {
        Kind::Transducer => texts.keep("transducer")?,
        Kind::NemoTransducer => texts.keep("nemo_transducer")?,
        Kind::TelespeechCtc => texts.keep("telespeech_ctc")?,
        _ => null,
    };
    if model.kind == Kind::SenseVoice {
        own.sense_voice.language = texts.keep(settings.language.as_str())?;
    }
    let method = match is_searching {
        true => "modified_beam_search",
        false => "greedy_search",
    };
    table.config.decoding_method = texts.keep(method)?;
    table.config.max_active_paths = i32::try_from(settings.beam_size).unwrap_or(1);
    table.config.hotwords_score = settings.hotwords_score;
    table.config.blank_penalty = settings.blank_penalty;
    Ok(table)
}

impl Engine for Sherpa {
    fn begin(&mut self) {
        self.language = None;
    }

    fn languages(&self) -> Vec<&str> {
        self.language.as_deref().into_iter().collect()
    }
}

impl HearsSamples for Sherpa {
    fn transcribe(
        &mut self,
        audio: &mut dyn AudioSource,
        options: &Ask,
        emit: &mut Emit<'_>,
    ) -> Result<(), EngineError> {
        let samples = audio.rest()?;
        if samples.is_empty() {
            return Ok(());
        }
        self.set_language(options).map_err(failed)?;
        let hotwords = self.hotwords(options);
        let mut parts: Vec<Range<usize>> = iter::once(0..samples.len()).collect();
        while let Some(part) = parts.pop() {
            if !audio.is_wanted() {
                return Ok(());
            }
            let own = samples.get(part.clone()).unwrap_or_default();
            let heard = self.hear(own, hotwords.as_ref()).map_err(failed)?;
            let Some(heard) = heard else {
                let middle = part.start + pieces::quietest(own);
                parts.extend([middle..part.end, part.start..middle]);
                continue;
            };
            let text = self.punctuated(&heard).map_err(failed)?;
            let Some(segment) = heard.segment(&text, time(own.len())) else {
                continue;
            };
            if emit(Said::Segment(segment.later(time(part.start)))).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Sherpa {
    /// The speech in `samples`; `None` if they are too long for the model, or if it could not
    /// finish its text.
    fn hear(
        &mut self,
        samples: &[f32],
        hotwords: Option<&CString>,
    ) -> Result<Option<Heard>, String> {
        let is_whisper = self.model.kind == Kind::Whisper;
        if is_whisper && samples.len() > pieces::LONGEST {
            return Ok(None);
        }
        let samples = match samples.len() {
            ..SHORTEST => {
                let mut longer = samples.to_vec();
                longer.resize(SHORTEST, 0.0);
                Cow::Owned(longer)
            }
            _ => Cow::Borrowed(samples),
        };
        let words = hotwords.map(CString::as_c_str);
        let heard = self.recognizer.transcribe(&samples, words)?;
        let most = self.tokens_a_second();
        if most.is_some_and(|most| pieces::is_cut_off(&heard, samples.len(), most)) {
            return Ok(None);
        }
        let tells_language = match self.model.kind {
            Kind::Whisper => self.is_multilingual(),
            kind => kind == Kind::SenseVoice,
        };
        if tells_language && heard.language.is_empty() {
            // It has caught an exception of ONNX Runtime, and written it to standard error.
            return Err(
                "its model could not be computed; the log of this job has the reason".into(),
            );
        }
        if self.language.is_none() {
            self.language = heard.language().map(str::to_owned);
        }
        Ok(Some(heard))
    }

    /// Tokens after which the library stops, for each second of a piece; `None` if the model's own
    /// end of a text is always reached.
    fn tokens_a_second(&self) -> Option<usize> {
        match self.model.kind {
            Kind::Whisper => Some(6),
            Kind::Moonshine => match self.model.files.part(Part::MergedDecoder) {
                Some(_) => Some(15),
                None => Some(6),
            },
            Kind::FireRedAsr => Some(8),
            _ => None,
        }
    }

    fn is_multilingual(&self) -> bool {
        let says = self.model.metadata.get("is_multilingual");
        says.is_some_and(|says| says != "0")
    }

    /// Tell the library the language and the task, if it can be told.
    ///
    /// # Errors
    /// The model has no such language.
    fn set_language(&mut self, options: &Ask) -> Result<(), String> {
        let kind = self.model.kind;
        let is_told = kind == Kind::Canary || kind == Kind::Whisper && self.is_multilingual();
        if !is_told {
            return match options.translate {
                true => Err("the model does not translate".into()),
                false => Ok(()),
            };
        }
        let asked = options.language.as_deref().map(primary_language);
        let configured = Some(self.settings.language.as_str()).filter(|code| !code.is_empty());
        // All other pieces are in the language of the first.
        let known = asked.or(configured).or(self.language.as_deref());
        let code = known.unwrap_or_default().to_ascii_lowercase();
        if kind == Kind::Whisper && !code.is_empty() {
            let all = self.model.metadata.get("all_language_codes");
            let is_known = all.is_some_and(|all| all.split(',').any(|it| it.trim() == code));
            if !is_known {
                // The library would end the process.
                return Err(format!("the model has no language `{code}`"));
            }
        }
        let wanted = (code, options.translate);
        if self.set_to.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let (code, translate) = &wanted;
        let mut table = library_settings(&self.settings, &self.model)?;
        let language = table.texts.keep(code.as_str())?;
        let own = &mut table.config.model_config;
        match kind {
            Kind::Canary => {
                own.canary.src_lang = language;
                own.canary.tgt_lang = match translate {
                    true => table.texts.keep("en")?,
                    false => language,
                };
            }
            _ => {
                own.whisper.language = language;
                let task = if *translate {
                    "translate"
                } else {
                    "transcribe"
                };
                own.whisper.task = table.texts.keep(task)?;
            }
        }
        self.recognizer.set(&table);
        self.set_to = Some(wanted);
        Ok(())
    }

    /// The words to expect, as the library takes them: lines, with `/` between them.
    fn hotwords(&self, options: &Ask) -> Option<CString> {
        self.settings.modeling_unit?;
        let lines: Vec<String> = (options.keywords.iter())
            .take(MAX_KEYWORDS)
            .map(|keyword| keyword_line(keyword))
            .filter(|line| !line.is_empty())
            .collect();
        let lines = CString::new(lines.join("/")).unwrap_or_default();
        (!lines.is_empty()).then_some(lines)
    }

    /// The text, with punctuation if a model for that is loaded.
    fn punctuated<'a>(&mut self, heard: &'a Heard) -> Result<Cow<'a, str>, String> {
        let text = heard.text.as_str();
        match &mut self.punctuation {
            Some(model) if !text.trim().is_empty() => {
                Ok(result::own_signs(&model.add(text.trim())?).into())
            }
            _ => Ok(text.into()),
        }
    }
}

/// A word to expect, of nothing but its letters: other characters would be orders to the library
/// (`:2.0` is a score, `/` ends a line), which ends the process if it cannot read them.
fn keyword_line(keyword: &str) -> String {
    let is_letter = |c: char| c.is_alphanumeric() || matches!(c, '\'' | '-');
    let words: Vec<&str> = keyword
        .split(|c: char| !is_letter(c))
        .map(|word| word.trim_matches(['\'', '-']))
        .filter(|word| !word.is_empty())
        .collect();
    let mut line = words.join(" ");
    while line.len() > MAX_KEYWORD {
        line.pop();
    }
    line
}

/// The length of this many samples.
fn time(samples: usize) -> Duration {
    Duration::from_secs(samples as u64) / SAMPLE_RATE
}

/// An error of this engine.
fn failed(reason: String) -> EngineError {
    EngineError::Failed {
        engine: NAME,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_letters_only() {
        for (keyword, line) in [
            ("Dashwood", "Dashwood"),
            ("a:b /c\n#1 @x", "a b c 1 x"),
            ("ill-disposed isn't", "ill-disposed isn't"),
            (":2.0", "2 0"),
            ("北京", "北京"),
            ("::/", ""),
        ] {
            assert_eq!(keyword_line(keyword), line);
        }
        assert!(keyword_line(&"ä".repeat(1000)).len() <= MAX_KEYWORD);
    }
}
