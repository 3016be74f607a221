//! Texts of turns that are not complete yet: grow with the news of each turn's job.

use std::collections::{HashMap, VecDeque};

use super::{
    turn::{News, What},
    words::{Completed, Happening, Order},
};
use crate::{
    api::{deltas::Deltas, error::ApiError},
    config::Mode,
    dispatch::Report,
    transcript::{Hypothesis, Segment, Transcript},
};

/// The texts, by the item of their turn.
#[derive(Debug, Default)]
pub(super) struct Texts(HashMap<String, Open>);

/// A turn whose text is not complete.
#[derive(Debug)]
struct Open {
    transcript: Transcript,
    deltas: Deltas,
    language: Option<String>,
    mode: Mode,
    warnings: Vec<String>,
    /// Whether times and probabilities of words are needed at the end.
    is_whole: bool,
}

impl Texts {
    /// True if no text is to come.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A turn with this order begins.
    pub(super) fn begin(&mut self, item: &str, order: &Order) {
        let open = Open {
            transcript: Transcript::default(),
            deltas: Deltas::default(),
            language: order.language.clone(),
            mode: order.mode,
            warnings: order.warnings.clone(),
            is_whole: order.is_whole,
        };
        self.0.insert(item.to_owned(), open);
    }

    /// The client wants no text of this turn.
    pub(super) fn forget(&mut self, item: &str) {
        self.0.remove(item);
    }

    /// Take news of a turn, and note all that the client is to be told.
    pub(super) fn hear(&mut self, news: News, happenings: &mut VecDeque<Happening>) {
        let News { item, what } = news;
        let what = *what;
        let Some(open) = self.0.get_mut(&item) else {
            // A turn that was refused was never begun here. Others were forgotten.
            if let What::Refused(error) = what {
                happenings.push_back(failed(item, error, None));
            }
            return;
        };
        match what {
            What::Waits => happenings.push_back(Happening::Waits { item }),
            What::Hypothesis(hypothesis) => happenings.extend(open.guess(item, &hypothesis)),
            What::Segment(segment) => happenings.push_back(open.add(item, segment)),
            What::Refused(error) => {
                self.0.remove(&item);
                happenings.push_back(failed(item, error, None));
            }
            What::Ended(report) => {
                let open = self.0.remove(&item);
                happenings.extend(open.map(|open| open.end(item, report)));
            }
        }
    }
}

impl Open {
    fn guess(&mut self, item: String, hypothesis: &Hypothesis) -> [Happening; 2] {
        let (text, tentative) = self.deltas.hypothesis(hypothesis);
        let delta = Happening::Delta {
            item: item.clone(),
            text,
            segment: None,
        };
        let text = tentative;
        [delta, Happening::Tentative { item, text }]
    }

    fn add(&mut self, item: String, segment: Segment) -> Happening {
        let text = self.deltas.segment(&segment);
        self.transcript.segments.push(match self.is_whole {
            true => segment.clone(),
            false => segment.clone().bare(),
        });
        Happening::Delta {
            item,
            text,
            segment: Some(segment),
        }
    }

    fn end(self, item: String, report: Box<Report>) -> Happening {
        if let Some(error) = ApiError::of_outcome(&report.outcome) {
            return failed(item, error, Some(report));
        }
        let transcript = Transcript {
            duration: report.figures.audio,
            languages: report.figures.languages.clone(),
            ..self.transcript
        };
        Happening::Completed(Box::new(Completed {
            item,
            transcript,
            language: self.language,
            report,
            mode: self.mode,
            warnings: self.warnings,
        }))
    }
}

/// The turn `item` has no text.
pub(super) fn failed(item: String, error: ApiError, report: Option<Box<Report>>) -> Happening {
    Happening::Failed {
        item,
        error,
        report,
    }
}
