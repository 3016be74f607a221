//! Why a request does not run, with what the client needs to know to ask again.

use std::time::Duration;

use super::Code;

/// Why a request does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No model has this name.
    #[error("there is no such model")]
    UnknownModel,
    /// The queue is full.
    #[error("too many requests are waiting")]
    QueueFull {
        /// When the client should ask again.
        retry_after: Duration,
    },
    /// This client already has its share of the queue.
    #[error("as many of your own requests wait as may (clients.max_queued)")]
    UserLimit {
        /// When the client should ask again.
        retry_after: Duration,
    },
    /// The request waited for `jobs.queue_timeout` without getting a job.
    #[error("the request waited {waited:?} without finding a free job")]
    QueueTimeout {
        /// How long it waited.
        waited: Duration,
        /// When the client should ask again.
        retry_after: Duration,
    },
    /// The model cannot be started at the moment.
    #[error("the model `{model}` is not available: {reason}")]
    EngineUnavailable {
        /// Name of the model.
        model: String,
        /// The reason, in the words of the engine or the system.
        reason: String,
        /// When the client should ask again.
        retry_after: Duration,
    },
    /// The service is going down.
    #[error("the service is shutting down")]
    ShuttingDown,
}

impl Refusal {
    /// Its row in the table of codes.
    pub fn code(&self) -> Code {
        match self {
            Self::UnknownModel => Code::ModelNotFound,
            Self::QueueFull { .. } => Code::QueueFull,
            Self::UserLimit { .. } => Code::UserLimit,
            Self::QueueTimeout { .. } => Code::QueueTimeout,
            Self::EngineUnavailable { .. } => Code::EngineUnavailable,
            Self::ShuttingDown => Code::ShuttingDown,
        }
    }

    /// When the client should ask again; `None` if asking again is useless.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::UnknownModel => None,
            Self::QueueFull { retry_after }
            | Self::UserLimit { retry_after }
            | Self::QueueTimeout { retry_after, .. }
            | Self::EngineUnavailable { retry_after, .. } => Some(*retry_after),
            Self::ShuttingDown => self.code().pause(),
        }
    }
}
