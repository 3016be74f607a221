//! The words between a conversation and the protocol that holds it: the client's wishes, and all
//! that happens.

use crate::{
    api::error::ApiError,
    config::{Config, Mode},
    detector::{LiveFormat, Rule},
    dispatch::Report,
    request::{Ask, Refusal},
    transcript::{Segment, Transcript},
};

/// How turns are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::api) struct Manner {
    /// When speech has ended.
    pub(in crate::api) rule: Rule,
    /// Audio before the speech that belongs to the turn, in milliseconds.
    pub(in crate::api) prefix: u64,
    /// Silence after which an empty turn is told, in milliseconds.
    pub(in crate::api) idle: Option<u64>,
}

/// A request for the audio of one turn.
#[derive(Debug)]
pub(in crate::api) struct Order {
    /// Name or alias of the model.
    pub(in crate::api) model: String,
    pub(in crate::api) mode: Mode,
    pub(in crate::api) ask: Ask,
    /// Code of the language of the text, if it is known before anything is heard.
    pub(in crate::api) language: Option<String>,
    /// Wishes that the model cannot fulfil.
    pub(in crate::api) warnings: Vec<String>,
    /// Whether times and probabilities of words are needed at the end.
    pub(in crate::api) is_whole: bool,
}

/// The wishes of a client.
pub(in crate::api) trait Wishes {
    /// The format of its audio.
    fn format(&self) -> LiveFormat;

    /// How turns are found; `None` if the client says where they end.
    fn manner(&self) -> Option<Manner>;

    /// The request for a turn.
    ///
    /// # Errors
    /// The model does not exist (any more), or cannot do what is asked.
    fn order(&self, config: &Config) -> Result<Order, ApiError>;
}

/// Something that the client is told.
#[derive(Debug)]
pub(in crate::api) enum Happening {
    /// Somebody began to speak at this time.
    Began { item: String, at: u64 },
    /// The turn ended at this time.
    Ended { item: String, at: u64 },
    /// The audio became a turn, after the `previous` one.
    Committed {
        item: String,
        previous: Option<String>,
    },
    /// Nobody has spoken in this time: an empty turn.
    Idle {
        item: String,
        previous: Option<String>,
        from: u64,
        until: u64,
    },
    /// The turn waits for a job.
    Waits { item: String },
    /// More of its text, which is never taken back; perhaps nothing. With `segment` that piece is
    /// final.
    Delta {
        item: String,
        text: String,
        segment: Option<Segment>,
    },
    /// The rest of its text, as it is heard now.
    Tentative { item: String, text: String },
    /// It is complete.
    Completed(Box<Completed>),
    /// It has no text.
    Failed {
        item: String,
        error: ApiError,
        report: Option<Box<Report>>,
    },
    /// The detector was lost.
    Trouble(ApiError),
    /// New wishes are in force.
    Settled,
}

/// A turn with its whole text.
#[derive(Debug)]
pub(in crate::api) struct Completed {
    pub(in crate::api) item: String,
    pub(in crate::api) transcript: Transcript,
    /// Code of its language, if that need not be found out.
    pub(in crate::api) language: Option<String>,
    pub(in crate::api) report: Box<Report>,
    /// How its job was isolated.
    pub(in crate::api) mode: Mode,
    /// Wishes that the model could not fulfil.
    pub(in crate::api) warnings: Vec<String>,
}

/// Why a conversation cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Over {
    /// The service is ending.
    Stopping,
    /// The detector is lost again and again.
    Deaf,
}

impl Over {
    /// The error for the client.
    pub(in crate::api) fn error(self) -> ApiError {
        match self {
            Self::Stopping => ApiError::refused(&Refusal::ShuttingDown, ""),
            Self::Deaf => ApiError::internal("speech cannot be detected at the moment".into()),
        }
    }
}
