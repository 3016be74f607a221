//! Checks that a model can do what a request asks. Unsupported parameters are refused, never
//! ignored.

use super::options::{Options, Task};
use crate::api::error::ApiError;
use crate::config::{MIN_JOB_MEMORY, Model};

/// Refuse parameters that `model`, called `name` by the client, does not support.
pub(super) fn check(options: &Options, name: &str, model: &Model) -> Result<(), ApiError> {
    let ask = &options.ask;
    let one = ask.language.iter().map(|code| ("language", code));
    let several = ask.languages.iter().map(|code| ("languages", code));
    let mut asked = one.chain(several);
    if let Some((parameter, language)) = asked.find(|(_, code)| !model.engine.speaks(code)) {
        let message = format!("the model `{name}` does not know the language `{language}`");
        return Err(ApiError::parameter(parameter, message));
    }
    let can = model.engine.capabilities();
    if options.task == Task::Translate && !can.translation {
        let message =
            format!("the model `{name}` does not translate; /v1/audio/transcriptions transcribes");
        return Err(ApiError::parameter("model", message));
    }
    for (asked, can, parameter, what) in [
        (
            options.ask.prompt.is_some(),
            can.prompt,
            "prompt",
            "takes no prompt",
        ),
        (
            !options.ask.keywords.is_empty(),
            can.keywords,
            "keywords",
            "takes no keywords",
        ),
        (
            !options.ask.languages.is_empty(),
            can.choice,
            "languages",
            "does not choose among several languages; name one",
        ),
        (
            options.ask.temperature.is_some(),
            can.temperature,
            "temperature",
            "has no temperature other than 0",
        ),
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
    only_lower(options, model)
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
