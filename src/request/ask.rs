//! One request as its client asks it: passed whole from the protocol to the engine.

use serde::{Deserialize, Serialize};

/// Everything that a request asks of the job and the engine. The protocol fills it in once, the
/// scheduler passes it on, and the job obeys it. It asks nothing that the model cannot do: the
/// protocol has refused that (`Capabilities`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// ISO 639-1 code of the spoken language; `None` lets the engine decide.
    pub language: Option<String>,
    /// ISO 639-1 codes of two or more languages, of which one is spoken; empty if `language` says
    /// it, or if any may be spoken.
    pub languages: Vec<String>,
    /// Text that precedes the recording, or that shows the wanted style.
    pub prompt: Option<String>,
    /// Words that the engine should expect.
    pub keywords: Vec<String>,
    /// Sampling temperature, 0 to 1.
    pub temperature: Option<f32>,
    /// Write English text, whatever language is spoken.
    pub translate: bool,
    /// Extension of the upload's file name: only a hint for the decoder.
    pub extension: Option<String>,
    /// Media type of the upload: only a hint for the decoder.
    pub media_type: Option<String>,
    /// The only channel to listen to, counted from 0; `None` mixes all channels.
    pub channel: Option<u16>,
    /// How its speakers are told apart; `None` if nobody wants to know them.
    pub speakers: Option<Speakers>,
    /// Number of the audio track to listen to, counted from 1; `None` leaves it to the file.
    pub track: Option<u16>,
    /// Leave out everything that is not speech, if the engine does not do so itself.
    pub vad: bool,
    /// The client can use words before they are final. An engine gives hypotheses only then.
    pub partials: bool,
    /// The service itself asks, to learn whether the model works. An engine must not contact a
    /// remote service for it, which may charge money.
    pub self_test: bool,
    /// The misbehaviour that a test asks of the engine `fault`; every other engine ignores it.
    pub fault: Option<String>,
}

/// How the speakers of a recording are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speakers {
    /// Compare the channels. If they tell the speakers apart, the job names them, and hears the
    /// first one. Otherwise it hears all channels, and the model tells the speakers if it can.
    Find(FindSpeakers),
    /// Hear only [`Ask::channel`], without what crosses over from the others.
    Channel,
}

/// The wishes of a client that wants speakers to be told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindSpeakers {
    /// Number of names that the client gives to the channels, in their order; 0 for none.
    pub names: u16,
    /// The recording is refused if its channels do not tell the speakers apart.
    pub must: bool,
    /// The model tells speakers apart by their voices.
    pub by_model: bool,
}

impl Default for Ask {
    /// Transcribe all channels, without silence, in whatever language the engine hears.
    fn default() -> Self {
        Self {
            language: None,
            languages: Vec::new(),
            prompt: None,
            keywords: Vec::new(),
            temperature: None,
            translate: false,
            extension: None,
            media_type: None,
            channel: None,
            speakers: None,
            track: None,
            vad: true,
            partials: false,
            self_test: false,
            fault: None,
        }
    }
}
