//! Parameters about the people who speak: how they are told apart, and their names.

use super::reference::Reference;
use crate::{api::error::ApiError, audio::MOST_VOICES, config::Speakers, transcript::is_name};

/// The wishes of a client about speakers.
#[derive(Debug, Default)]
pub(in crate::api::http) struct KnownSpeakers {
    /// How they are told apart; `None` leaves it to the model's settings.
    pub(in crate::api::http) by: Option<Speakers>,
    /// Names of the channels, in their order, or of the references.
    pub(in crate::api::http) names: Vec<String>,
    /// Number of the recordings of known voices.
    pub(in crate::api::http) references: usize,
}

impl KnownSpeakers {
    /// Take a name, from the parameter `parameter`.
    pub(super) fn add(&mut self, parameter: &str, name: &str) -> Result<(), ApiError> {
        let name = name.trim();
        let what = if !is_name(name) {
            "a speaker's name is one line of at most 100 characters".into()
        } else if self.names.iter().any(|known| known == name) {
            format!("two speakers have the name `{name}`")
        } else if self.names.len() == MOST_VOICES {
            format!("at most {MOST_VOICES} speakers can have names")
        } else {
            self.names.push(name.to_owned());
            return Ok(());
        };
        Err(ApiError::parameter(parameter, what))
    }

    /// Take a reference, from the parameter `parameter`.
    pub(in crate::api::http) fn add_reference(
        &mut self,
        parameter: &str,
        reference: &Reference,
    ) -> Result<(), ApiError> {
        let what = match reference.fault() {
            _ if reference.is_empty() => return Ok(()),
            Some(fault) => format!(
                "a reference must be a recording of 2 to 10 s in a data URL \
                 (data:audio/wav;base64,…): {fault}"
            ),
            None if self.references == MOST_VOICES => {
                format!("at most {MOST_VOICES} speakers can have references")
            }
            None => {
                self.references += 1;
                return Ok(());
            }
        };
        Err(ApiError::parameter(parameter, what))
    }

    /// Take references that came as one value.
    pub(super) fn add_references(
        &mut self,
        parameter: &str,
        urls: Vec<String>,
    ) -> Result<(), ApiError> {
        for url in urls {
            let mut reference = Reference::default();
            reference.take(url.as_bytes());
            self.add_reference(parameter, &reference)?;
        }
        Ok(())
    }

    /// Check that there is a name for each reference.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        let (names, references) = (self.names.len(), self.references);
        if references > 0 && names != references {
            let message = format!(
                "there are {references} known_speaker_references and {names} known_speaker_names: \
                 give a name for each reference"
            );
            return Err(ApiError::parameter("known_speaker_references", message));
        }
        Ok(())
    }
}

/// How speakers are told apart.
pub(super) fn by(name: &str, value: &str) -> Result<Speakers, ApiError> {
    match value {
        "auto" => Ok(Speakers::Auto),
        "channels" => Ok(Speakers::Channels),
        _ => {
            let message = "`speakers` must be channels (a channel for each speaker) or auto";
            Err(ApiError::parameter(name, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_few() {
        let mut speakers = KnownSpeakers::default();
        for n in 0..MOST_VOICES {
            speakers.add("names", &format!(" {n} ")).unwrap();
        }
        assert_eq!(speakers.names[1], "1");
        for name in ["another", "1", "", "a\tb", &"a".repeat(101)] {
            assert!(speakers.add("names", name).is_err(), "{name}");
        }
        let mut speakers = KnownSpeakers {
            references: 1,
            ..KnownSpeakers::default()
        };
        assert!(speakers.check().is_err());
        speakers.add("names", "Ann").unwrap();
        assert!(speakers.check().is_ok());
    }
}
