//! Parameters about the people who speak: how they are told apart, and their names.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{api::error::ApiError, audio::MOST_VOICES, config::Speakers, transcript::is_name};

/// Bytes of a reference's data, in base64: ten seconds of 48 kHz, stereo, 16 bits, and half as much
/// again.
const MAX_REFERENCE: usize = 4 << 20;

/// Bytes of a data URL before its data.
const MAX_HEAD: usize = 256;

/// Beginnings of the files that OpenAI's service takes: their place, and their bytes.
const BEGINNINGS: [(usize, &[u8]); 9] = [
    (0, b"RIFF"),
    (0, b"fLaC"),
    (0, b"OggS"),
    (0, b"ID3"),
    (4, b"ftyp"),
    (0, b"\x1a\x45\xdf\xa3"),
    (0, b"FORM"),
    (0, b"caff"),
    (0, b"RF64"),
];

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
            // Clients send an empty value for a parameter that they leave open.
            _ if reference.head.is_empty() => return Ok(()),
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

/// A recording of a known voice, in a data URL. No engine compares voices, so it is checked while
/// it arrives, and not kept.
#[derive(Debug, Default)]
pub(in crate::api::http) struct Reference {
    /// The URL up to its data, and the first letters of the data.
    head: Vec<u8>,
    /// Letters of the data, and those of them that stand for no bits (`=`).
    letters: usize,
    padding: usize,
    has_data: bool,
    is_bad: bool,
}

impl Reference {
    /// Take the next bytes of the URL.
    pub(in crate::api::http) fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if !self.has_data {
                self.has_data = *byte == b',';
                self.is_bad |= self.head.len() >= MAX_HEAD;
                if !self.is_bad {
                    self.head.push(*byte);
                }
                continue;
            }
            let is_padding = *byte == b'=';
            let is_letter = byte.is_ascii_alphanumeric() || b"+/".contains(byte);
            self.is_bad |= !is_padding && (!is_letter || self.padding > 0);
            self.letters += 1;
            self.padding += usize::from(is_padding);
            if self.letters <= 16 {
                self.head.push(*byte);
            }
        }
    }

    /// Why it is no recording, if it is none.
    fn fault(&self) -> Option<&'static str> {
        let end = self.head.len() - self.letters.min(16);
        let (url, data) = self.head.split_at(end);
        let url = String::from_utf8_lossy(url).to_ascii_lowercase();
        let is_audio = ["data:audio/", "data:video/", "data:application/ogg"];
        let is_audio = is_audio.iter().any(|kind| url.starts_with(kind));
        if !self.has_data || !url.starts_with("data:") {
            Some("this is no data URL")
        } else if !is_audio || !url.ends_with(";base64,") {
            Some("its media type is not that of a recording in base64")
        } else if self.is_bad || !self.letters.is_multiple_of(4) || self.padding > 2 {
            Some("its data are not base64")
        } else if self.letters > MAX_REFERENCE {
            Some("it is longer than 10 s of sound are")
        } else if !STANDARD
            .decode(data)
            .is_ok_and(|bytes| begins_like_audio(&bytes))
        {
            Some("its data are not a recording")
        } else {
            None
        }
    }
}

/// True if a file that begins with these bytes may be a recording. MPEG has no word in front, only
/// eleven bits that are 1.
fn begins_like_audio(bytes: &[u8]) -> bool {
    let begins =
        |(at, word): &(usize, &[u8])| bytes.get(*at..).is_some_and(|b| b.starts_with(word));
    BEGINNINGS.iter().any(begins) || matches!(bytes, [0xff, second, ..] if *second >= 0xe0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(url: &str) -> Option<&'static str> {
        let mut reference = Reference::default();
        for bytes in url.as_bytes().chunks(7) {
            reference.take(bytes);
        }
        reference.fault()
    }

    #[test]
    fn a_reference_is_a_recording_in_a_data_url() {
        // RIFF, fLaC, an MPEG frame, MP4.
        for data in [
            "UklGRiQAAABXQVZF",
            "ZkxhQwAAACI=",
            "//uQZAAA",
            "AAAAIGZ0eXBNNEEg",
        ] {
            assert_eq!(
                fault(&format!("data:audio/wav;base64,{data}")),
                None,
                "{data}"
            );
        }
        for (url, what) in [
            ("", "no data URL"),
            ("Ann", "no data URL"),
            ("https://example.org/ann.wav,", "no data URL"),
            ("data:text/plain;base64,UklGRiQA", "media type"),
            ("data:audio/wav,UklGRiQA", "media type"),
            ("data:audio/wav;base64,UklGRiQ", "not base64"),
            ("data:audio/wav;base64,Ukl=RiQA", "not base64"),
            ("data:audio/wav;base64,UklG RiQA", "not base64"),
            ("data:audio/wav;base64,", "not a recording"),
            ("data:audio/wav;base64,bm8gYXVkaW8h", "not a recording"),
        ] {
            let fault = fault(url).unwrap();
            assert!(fault.contains(what), "{url}: {fault}");
        }
        let long = "A".repeat(MAX_REFERENCE);
        assert!(fault(&format!("data:audio/wav;base64,UklG{long}")).is_some());
        assert!(fault(&format!("data:{long}")).is_some());
    }

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
