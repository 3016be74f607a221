//! Decides whether the channels of a recording tell its speakers apart, and which ones are heard.

use crate::{
    audio::{MOST_VOICES, Voices},
    request::{Code, Failure, FindSpeakers},
};

/// The way in which a job hears a recording whose speakers are to be told apart.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Way {
    /// The channels that have a speaker each. The job hears the first of them, and other jobs the
    /// others. Empty: the job hears all channels mixed.
    pub(super) channels: Vec<u16>,
    /// A sentence for the client.
    pub(super) warning: Option<String>,
}

/// The way to hear a recording with these `voices`. Without them, `reason` says why its channels
/// cannot be compared.
///
/// # Errors
/// It cannot be heard as the client asks.
pub(super) fn way(voices: Result<&Voices, &str>, find: FindSpeakers) -> Result<Way, Failure> {
    let own = voices.map_or(&[][..], |voices| &voices.own);
    let channels = voices.ok().map(|voices| voices.channels);
    let is_one_voice = voices.is_ok_and(|voices| !voices.is_odd && own.len() < 2);
    let names = usize::from(find.names);
    let is_named = channels == Some(names) || (names == 1 && is_one_voice);
    if names > 0 && !is_named {
        let message = match channels {
            Some(channels) => format!(
                "there are {names} known_speaker_names for a recording of {channels} channels: \
                 give one for each channel, in their order"
            ),
            None => format!(
                "known_speaker_names cannot name its channels: {}",
                reason(voices)
            ),
        };
        return Err(Failure::new(Code::SpeakersUnknown, message));
    }
    // Silent channels are no reason to doubt a client that says what its channels are.
    let is_sure = (find.must || is_named) && channels > Some(1);
    let is_told = own.len() > 1 || (is_sure && voices.is_ok_and(|v| !v.is_same && !v.is_odd));
    if is_told {
        return Ok(Way {
            channels: own.to_vec(),
            warning: None,
        });
    }
    if find.must || names > 1 {
        let parameter = if names > 1 {
            "known_speaker_names"
        } else {
            "speakers"
        };
        let message = format!(
            "its channels do not tell the speakers apart: {}; send a recording with a channel for \
             each speaker, or leave out `{parameter}`",
            reason(voices)
        );
        return Err(Failure::new(Code::SpeakersUnknown, message));
    }
    let warning = format!(
        "nothing tells the speakers apart, so each segment has the speaker `unknown`: {}, and the \
         model does not know voices",
        reason(voices)
    );
    Ok(Way {
        channels: Vec::new(),
        warning: (!find.by_model && !is_named).then_some(warning),
    })
}

/// Why the channels do not tell speakers apart.
fn reason(voices: Result<&Voices, &str>) -> String {
    let voices = match voices {
        Ok(voices) => voices,
        Err(reason) => return reason.to_owned(),
    };
    let channels = voices.channels;
    match voices.own.as_slice() {
        _ if channels == 1 => "the recording has one channel".into(),
        _ if channels > MOST_VOICES => {
            format!("the recording has {channels} channels, and {MOST_VOICES} are compared at most")
        }
        _ if voices.is_odd => "the number of its channels changes".into(),
        [] => "no channel has any sound".into(),
        [one] if !voices.is_same => format!("only channel {one} has a sound of its own"),
        _ => format!("its {channels} channels have the same sound"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voices(channels: usize, own: &[u16], is_same: bool) -> Voices {
        let mut voices = Voices::default();
        voices.channels = channels;
        voices.own = own.to_vec();
        voices.is_same = is_same;
        voices
    }

    fn find(names: u16, must: bool) -> FindSpeakers {
        FindSpeakers {
            names,
            must,
            by_model: false,
        }
    }

    /// The channels that are heard; `None` for all, with the warning; or the message.
    fn heard(
        voices: &Voices,
        names: u16,
        must: bool,
    ) -> Result<(Vec<u16>, Option<String>), String> {
        let way = way(Ok(voices), find(names, must));
        way.map(|way| (way.channels, way.warning))
            .map_err(|failure| {
                assert_eq!(failure.code, Code::SpeakersUnknown);
                failure.message
            })
    }

    #[test]
    fn channels_with_sounds_of_their_own_are_speakers() {
        let call = voices(2, &[0, 1], false);
        for (names, must) in [(0, false), (2, false), (0, true), (2, true)] {
            assert_eq!(heard(&call, names, must), Ok((vec![0, 1], None)));
        }
        let three = voices(4, &[0, 1, 3], true);
        assert_eq!(heard(&three, 0, false), Ok((vec![0, 1, 3], None)));
    }

    #[test]
    fn as_many_names_as_channels_are_wanted_or_one_for_one_voice() {
        let call = voices(2, &[0, 1], false);
        for names in [1, 3, 4] {
            let message = heard(&call, names, false).unwrap_err();
            assert!(message.contains("2 channels"), "{message}");
        }
        for one in [voices(1, &[0], false), voices(2, &[0], true)] {
            assert_eq!(heard(&one, 1, false), Ok((vec![], None)));
            assert!(heard(&one, 3, false).is_err());
        }
        let message = heard(&voices(2, &[0], true), 2, false).unwrap_err();
        assert!(message.contains("the same sound"), "{message}");
        // Both channels are named, and only one of the two people speaks.
        let half = voices(2, &[1], false);
        assert_eq!(heard(&half, 2, false), Ok((vec![1], None)));
    }

    #[test]
    fn nobody_is_told_apart_in_one_voice() {
        for (voices, why) in [
            (voices(1, &[0], false), "one channel"),
            (voices(2, &[0], true), "the same sound"),
            (voices(12, &[], false), "12 channels"),
        ] {
            let (channels, warning) = heard(&voices, 0, false).unwrap();
            assert!(channels.is_empty());
            assert!(
                warning.is_some_and(|warning| warning.contains(why)),
                "{why}"
            );
            let by_model = FindSpeakers {
                by_model: true,
                ..find(0, false)
            };
            assert_eq!(way(Ok(&voices), by_model), Ok(Way::default()));
        }
        let half = voices(2, &[1], false);
        let (_, warning) = heard(&half, 0, false).unwrap();
        assert!(warning.is_some_and(|warning| warning.contains("only channel 1")));
        assert_eq!(heard(&half, 0, true), Ok((vec![1], None)));
        for voices in [voices(1, &[0], false), voices(2, &[0], true)] {
            assert!(heard(&voices, 0, true).is_err());
        }
        let odd = Err("it was converted");
        assert!(
            way(odd, find(2, false))
                .unwrap_err()
                .message
                .contains("converted")
        );
        assert!(
            way(odd, find(0, true))
                .unwrap_err()
                .message
                .contains("converted")
        );
        let warning = way(odd, find(0, false)).unwrap().warning;
        assert!(warning.is_some_and(|warning| warning.contains("converted")));
    }
}
