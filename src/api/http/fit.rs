//! Fits a request to what its model can do. A parameter that shapes the answer is refused if it is
//! not supported, never ignored; a hint is left out with a warning, unless the model refuses hints.

use super::options::{Format, Options, Page, Task};
use crate::{
    api::error::ApiError,
    config::{Hints, MIN_JOB_MEMORY, Model, Speakers},
    engine::Capabilities,
    request::{self, FindSpeakers},
};

/// Fit `options` to `model`, called `name` by the client. Returns a warning for each hint that was
/// left out.
///
/// # Errors
/// The model does not support what a parameter asks for.
pub(super) fn fit(
    options: &mut Options,
    name: &str,
    model: &Model,
) -> Result<Vec<String>, ApiError> {
    let can = model.engine.capabilities();
    must_support(options, name, can)?;
    only_lower(options, model)?;
    let mut fit = Fit {
        name,
        model,
        warnings: Vec::new(),
    };
    fit.language(options)?;
    fit.languages(options, can)?;
    fit.speakers(options, can)?;
    // The model's default may tell speakers apart, and words of several channels are not in order
    // before they are final.
    options.ask.partials &= options.ask.speakers.is_none();
    let ask = &mut options.ask;
    fit.hint(&mut ask.prompt, can.prompt, "prompt", "takes no prompt")?;
    let keywords = "takes no keywords";
    fit.hint(&mut ask.keywords, can.keywords, "keywords", keywords)?;
    let temperature = "has no temperature other than 0";
    fit.hint(
        &mut ask.temperature,
        can.temperature,
        "temperature",
        temperature,
    )?;
    Ok(fit.warnings)
}

/// Refuse what shapes the answer and is not supported.
fn must_support(options: &Options, name: &str, can: Capabilities) -> Result<(), ApiError> {
    if options.task == Task::Translate && !can.translation {
        let message =
            format!("the model `{name}` does not translate; /v1/audio/transcriptions transcribes");
        return Err(ApiError::parameter("model", message));
    }
    for (asked, can, parameter, what) in [
        (
            options.granularities.words(),
            can.words,
            "timestamp_granularities",
            "gives words no times",
        ),
        (
            options.logprobs,
            can.logprobs,
            "include",
            "does not say how sure it is",
        ),
    ] {
        if asked && !can {
            let message = format!("the model `{name}` {what}");
            return Err(ApiError::parameter(parameter, message));
        }
    }
    Ok(())
}

/// Check that a client's limits are lower than the model's, and high enough to work.
fn only_lower(options: &Options, model: &Model) -> Result<(), ApiError> {
    let limits = &model.limits;
    if let Some(memory) = options.own_limits.memory
        && !(MIN_JOB_MEMORY..=limits.memory).contains(&memory)
    {
        let message = format!(
            "memory_limit must be between {MIN_JOB_MEMORY} and the model's own limit of {}",
            limits.memory
        );
        return Err(ApiError::parameter("memory_limit", message));
    }
    Ok(())
}

/// The model, and what could not be done.
struct Fit<'a> {
    name: &'a str,
    model: &'a Model,
    warnings: Vec<String>,
}

impl Fit<'_> {
    /// Take the hint out if the model cannot use it.
    fn hint<T: Default + PartialEq>(
        &mut self,
        hint: &mut T,
        can: bool,
        parameter: &str,
        what: &str,
    ) -> Result<(), ApiError> {
        if can || *hint == T::default() {
            return Ok(());
        }
        *hint = T::default();
        self.left_out(parameter, what)
    }

    /// Warn of a hint that is left out, or refuse it.
    fn left_out(&mut self, parameter: &str, what: &str) -> Result<(), ApiError> {
        let message = format!("the model `{}` {what}", self.name);
        if self.model.hints == Hints::Refuse {
            return Err(ApiError::parameter(parameter, message));
        }
        let warning = format!("{message}: `{parameter}` was left out");
        self.warnings.push(warning);
        Ok(())
    }

    /// Say how speakers are told apart, if the answer is to have them.
    fn speakers(&mut self, options: &mut Options, can: Capabilities) -> Result<(), ApiError> {
        let is_whole = options.task == Task::Transcribe && options.page == Page::Transcriptions;
        let channel = options.ask.channel;
        let must = options.speakers.by == Some(Speakers::Channels);
        let by_default = || {
            let default = self.model.speakers == Speakers::Channels;
            default && options.speakers.by.is_none() && is_whole && channel.is_none()
        };
        let is_wanted = must || options.format() == Format::Diarized || by_default();
        if is_wanted && channel.is_some() {
            let message = "`channel` hears only one channel, and speakers are told apart by all: \
                           leave it out";
            return Err(ApiError::parameter("channel", message));
        }
        if !is_wanted && !options.speakers.names.is_empty() {
            let message = "only `response_format=diarized_json` and `speakers=channels` tell \
                           speakers apart: leave out `known_speaker_names`";
            return Err(ApiError::parameter("known_speaker_names", message));
        }
        if options.speakers.references > 0 {
            // The names are those of the voices. No channel may get one of them.
            options.speakers.names.clear();
            self.left_out("known_speaker_references", "does not compare voices")?;
        }
        options.ask.speakers = is_wanted.then(|| {
            request::Speakers::Find(FindSpeakers {
                names: u16::try_from(options.speakers.names.len()).unwrap_or(u16::MAX),
                must,
                by_model: can.speakers,
            })
        });
        Ok(())
    }

    /// Put the language as the engine wants it.
    fn language(&self, options: &mut Options) -> Result<(), ApiError> {
        let Some(asked) = &options.ask.language else {
            return Ok(());
        };
        options.ask.language = Some(self.understood(asked).ok_or_else(|| {
            let message = self.unknown(asked);
            ApiError::parameter("language", message)
        })?);
        Ok(())
    }

    /// Put several languages as the engine wants them. They are a hint: those that the model does
    /// not know are left out, but not all.
    fn languages(&mut self, options: &mut Options, can: Capabilities) -> Result<(), ApiError> {
        let asked = std::mem::take(&mut options.ask.languages);
        let Some(first) = asked.first() else {
            return Ok(());
        };
        let mut known: Vec<String> = Vec::new();
        for tag in &asked {
            match self.understood(tag) {
                Some(language) if known.contains(&language) => {}
                Some(language) => known.push(language),
                None if self.model.hints == Hints::Refuse => {
                    return Err(ApiError::parameter("languages", self.unknown(tag)));
                }
                None => {
                    let unknown = self.unknown(tag);
                    self.warnings.push(format!("{unknown}: it was left out"));
                }
            }
        }
        match known.as_slice() {
            [] => return Err(ApiError::parameter("languages", self.unknown(first))),
            [_] => options.ask.language = known.pop(),
            _ if can.choice => options.ask.languages = known,
            _ => self.left_out("languages", "does not choose among several languages")?,
        }
        Ok(())
    }

    /// The language as the engine wants it; `None` if the model does not know it.
    fn understood(&self, tag: &str) -> Option<String> {
        self.model.engine.understands(tag)
    }

    fn unknown(&self, tag: &str) -> String {
        let name = self.name;
        format!("the model `{name}` does not know the language `{tag}`")
    }
}
