//! Bytes of a body as they arrive, cut off if a client breaks the rules.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::body::{Body, Bytes};
use futures_util::{Stream, StreamExt};

use super::ENVELOPE;
use crate::{
    api::{error::ApiError, patience::Patience},
    config::Http,
};

/// Most bytes before the first part, and before the content of each part: the parser keeps all of
/// them.
const MAX_HEAD: usize = 256 * 1024;

/// The stream of a body's bytes. It ends with an error if a client breaks the rules.
pub(super) fn chunks(
    body: Body,
    limits: &Http,
    unparsed: Unparsed,
) -> impl Stream<Item = Result<Bytes, Interruption>> + Send + use<> {
    let pause = limits.body_timeout;
    let limit = (limits.max_upload.bytes()).saturating_add(ENVELOPE.bytes());
    let start = (body.into_data_stream(), Patience::new(limits));
    futures_util::stream::unfold(start, move |(mut stream, mut patience)| {
        let unparsed = unparsed.clone();
        async move {
            let (begin, left) = (Instant::now(), patience.left());
            let next = match tokio::time::timeout(left, stream.next()).await {
                Ok(next) => next?.map_err(Interruption::from),
                Err(_) if patience.is_paused(left) => Err(Interruption::TooSlow(pause)),
                Err(_) => Err(Interruption::Trickling(patience.received())),
            };
            let checked = next.and_then(|chunk| {
                patience.arrived(chunk.len(), begin.elapsed());
                if patience.received() > limit {
                    return Err(Interruption::TooLarge);
                }
                unparsed.add(chunk.len())?;
                Ok(chunk)
            });
            Some((checked, (stream, patience)))
        }
    })
}

/// Bytes given to the parser since it last returned something. It keeps all bytes that it cannot
/// interpret, and a body without its boundary must not fill our memory.
#[derive(Clone, Default)]
pub(super) struct Unparsed(Arc<AtomicUsize>);

impl Unparsed {
    fn add(&self, length: usize) -> Result<(), Interruption> {
        match self.0.fetch_add(length, Ordering::Relaxed) {
            before if before + length <= MAX_HEAD => Ok(()),
            _ => Err(Interruption::Senseless),
        }
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Reasons why a body's stream ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interruption {
    #[error("the connection broke: {0}")]
    Broken(#[from] axum::Error),
    #[error("the body stopped arriving")]
    TooSlow(Duration),
    #[error("after {0} bytes the body hardly arrives any more")]
    Trickling(u64),
    #[error("the body is too large")]
    TooLarge,
    #[error("the body's boundary does not come")]
    Senseless,
}

impl Interruption {
    pub(super) fn refusal(&self, limits: &Http) -> ApiError {
        match self {
            Self::Broken(_) => cut_off(),
            Self::TooSlow(after) => ApiError::too_slow(*after),
            Self::Trickling(received) => ApiError::trickling(*received, limits.body_min_rate),
            Self::TooLarge => ApiError::too_large(limits.max_upload),
            Self::Senseless => {
                ApiError::bad_body("the boundary of the multipart body does not come where it must")
            }
        }
    }
}

pub(super) fn cut_off() -> ApiError {
    ApiError::bad_body("the body ends in the middle: its closing boundary never came")
}
