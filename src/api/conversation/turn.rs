//! One turn of a conversation: a request like any other, whose audio may still be coming.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep_until},
};

use super::Order;
use crate::{
    api::{
        error::ApiError,
        live::{Live, Step},
        word::{self, Word},
    },
    config::Share,
    dispatch::{Client, Dispatcher, OwnLimits, Report, Submission, Ticket},
    transcript::{Hypothesis, Segment},
};

/// Pieces of audio that can wait for a turn's task.
pub(super) const MOST_PIECES: usize = 2;

/// After this time in the queue the client is told.
const SOON: Duration = Duration::from_millis(300);

/// News of a turn.
#[derive(Debug)]
pub(in crate::api) struct News {
    /// The turn's item.
    pub(super) item: String,
    /// In a box: a channel holds places for 32 news from its beginning.
    pub(super) what: Box<What>,
}

/// The news.
#[derive(Debug)]
pub(in crate::api) enum What {
    /// It waits for a job.
    Waits,
    /// A piece of its text.
    Segment(Segment),
    /// Words that are not final.
    Hypothesis(Hypothesis),
    /// Its job is done.
    Ended(Box<Report>),
    /// It never had a job.
    Refused(ApiError),
}

impl What {
    /// True if nothing follows.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::Refused(_))
    }
}

/// The origin of a turn.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) dispatcher: Dispatcher,
    pub(super) client: Client,
    pub(super) share: Share,
}

/// The request for `order` with this recording.
fn submission(origin: &Origin, order: Order, item: &str, recording: OwnedFd) -> Submission {
    Submission {
        model: order.model,
        ask: order.ask,
        own_limits: OwnLimits::default(),
        recording,
        upload: None,
        request_id: item.to_owned(),
        label: None,
        client: origin.client.clone(),
        share: origin.share,
        follows: false,
    }
}

/// Run a turn whose audio comes from `audio`, until its end. Dropping this kills its job.
pub(super) async fn live(
    origin: Origin,
    order: Order,
    item: String,
    mut audio: mpsc::Receiver<Bytes>,
    news: mpsc::Sender<News>,
) {
    let dispatcher = origin.dispatcher.clone();
    let begun = Live::begin(&dispatcher, |recording| {
        submission(&origin, order, &item, recording)
    });
    let teller = Teller { item, news };
    let mut live = match begun {
        Ok(live) => live,
        Err(error) => return teller.tell(What::Refused(error)).await,
    };
    let mut patience = Some(Instant::now() + SOON);
    let mut is_complete = false;
    loop {
        let takes = live.has_room() && !is_complete;
        live.waits(takes && audio.is_empty() && !audio.is_closed());
        tokio::select! {
            biased;
            step = live.step(true) => match step {
                Step::Fed => {}
                Step::Begun => patience = None,
                Step::Said(word) => {
                    patience = None;
                    if teller.pass(word).await {
                        return;
                    }
                }
            },
            piece = audio.recv(), if takes => match piece {
                Some(piece) => live.take(piece),
                None => {
                    is_complete = true;
                    live.complete();
                }
            },
            () = sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {
                patience = None;
                teller.tell(What::Waits).await;
            }
        }
    }
}

/// Run a turn whose whole audio is in `recording`, until its end. Dropping this kills its job.
pub(super) async fn whole(
    origin: Origin,
    order: Order,
    item: String,
    recording: OwnedFd,
    news: mpsc::Sender<News>,
) {
    let name = order.model.clone();
    let submission = submission(&origin, order, &item, recording);
    let submitted = origin.dispatcher.submit(submission);
    let teller = Teller { item, news };
    let mut ticket: Ticket = match submitted {
        Ok(ticket) => ticket,
        Err(refusal) => {
            let error = ApiError::refused(&refusal, &name);
            return teller.tell(What::Refused(error)).await;
        }
    };
    let mut patience = Some(Instant::now() + SOON);
    loop {
        tokio::select! {
            biased;
            word = word::next_or_start(&mut ticket, &name) => {
                patience = None;
                if let Some(word) = word
                    && teller.pass(word).await
                {
                    return;
                }
            }
            () = sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {
                patience = None;
                teller.tell(What::Waits).await;
            }
        }
    }
}

/// Tell that the turn `item` cannot run.
pub(super) async fn refuse(error: ApiError, item: String, news: mpsc::Sender<News>) {
    let what = What::Refused(error);
    Teller { item, news }.tell(what).await;
}

/// Tells the conversation about one turn.
struct Teller {
    item: String,
    news: mpsc::Sender<News>,
}

impl Teller {
    async fn tell(&self, what: What) {
        let (item, what) = (self.item.clone(), Box::new(what));
        // If the conversation is gone, so is this task.
        let _ = self.news.send(News { item, what }).await;
    }

    /// Pass a word on. True if it was the last one.
    async fn pass(&self, word: Word) -> bool {
        let is_last = !matches!(word, Word::Segment(_) | Word::Hypothesis(_));
        self.tell(match word {
            Word::Segment(segment) => What::Segment(segment),
            Word::Hypothesis(hypothesis) => What::Hypothesis(hypothesis),
            Word::Finished(report) => What::Ended(report),
            Word::Refused(error) => What::Refused(error),
        })
        .await;
        is_last
    }
}
