//! The wishes of a client that speaks Vosk's protocol.

use super::message::Config as Asked;
use crate::{
    api::{
        conversation::{Manner, Order, Wishes},
        error::ApiError,
    },
    config::Config,
    detector::{Coding, LiveFormat, Rule},
    language::tag,
    request::Ask,
};

/// Rates of samples that are taken, in hertz.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;

/// The wishes: all that a client says before its audio.
#[derive(Clone, Debug)]
pub(super) struct Said {
    rate: u32,
    language: Option<String>,
    phrases: Vec<String>,
}

impl Default for Said {
    /// Vosk's server takes 8 kHz, unless it is told otherwise.
    fn default() -> Self {
        Self {
            rate: 8_000,
            language: None,
            phrases: Vec::new(),
        }
    }
}

impl Said {
    /// These wishes, changed by `asked`.
    ///
    /// # Errors
    /// The rate is impossible.
    pub(super) fn changed(&self, asked: Asked) -> Result<Self, String> {
        let mut new = self.clone();
        if let Some(rate) = asked.sample_rate {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let whole = rate as u32;
            if !RATES.contains(&whole) || f64::from(whole) != rate {
                return Err(format!(
                    "sample_rate must be a whole number from {} to {}",
                    RATES.start(),
                    RATES.end()
                ));
            }
            new.rate = whole;
        }
        if asked.language.is_some() {
            new.language = asked.language;
        }
        if !asked.phrase_list.is_empty() {
            new.phrases = asked.phrase_list;
        }
        Ok(new)
    }

    /// Whether the model understands the language, if one was said.
    pub(super) fn is_understood(&self, config: &Config) -> bool {
        self.order(config).is_ok()
    }
}

impl Wishes for Said {
    fn format(&self) -> LiveFormat {
        LiveFormat {
            coding: Coding::Samples16,
            rate: self.rate,
        }
    }

    fn manner(&self) -> Option<Manner> {
        let rule = Rule {
            threshold: 0.5,
            silence: 600,
        };
        Some(Manner {
            rule,
            prefix: 300,
            idle: None,
        })
    }

    fn order(&self, config: &Config) -> Result<Order, ApiError> {
        let name = &config.default_model;
        let model = config
            .model(name)
            .ok_or_else(|| ApiError::model_not_found(name, config))?;
        let language = match self.language.as_deref().filter(|asked| !asked.is_empty()) {
            Some(asked) => {
                let known = tag(asked).and_then(|tag| model.engine.understands(&tag));
                let message = format!("the model `{name}` does not know the language `{asked}`");
                Some(known.ok_or_else(|| ApiError::parameter("language", message))?)
            }
            None => None,
        };
        let can = model.engine.capabilities();
        let ask = Ask {
            language: language.clone(),
            keywords: match can.keywords {
                true => self.phrases.clone(),
                false => Vec::new(),
            },
            media_type: Some(self.format().media_type()),
            ..Ask::default()
        };
        Ok(Order {
            model: name.clone(),
            mode: model.mode,
            ask,
            language,
            warnings: Vec::new(),
            is_whole: true,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_rates_that_exist_are_taken() {
        let rate = |rate| {
            let asked = Asked {
                sample_rate: Some(rate),
                ..Asked::default()
            };
            Said::default().changed(asked).map(|said| said.rate)
        };
        assert_eq!(rate(16_000.0), Ok(16_000));
        assert_eq!(rate(48_000.0), Ok(48_000));
        for wrong in [0.0, -1.0, 7_999.0, 1e9, 16_000.5, f64::NAN, f64::INFINITY] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
