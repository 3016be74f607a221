//! Texts of turns that are not complete yet: grow with the news of each turn's job, and are told in
//! the order in which they were spoken. A later turn may be heard before an earlier one is.

use std::{
    collections::{HashMap, VecDeque},
    mem,
};

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

/// The texts.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// By the item of their turn.
    open: HashMap<String, Open>,
    /// These items, in the order of their turns.
    order: VecDeque<String>,
}

/// A turn whose text is not complete, or not told.
#[derive(Debug)]
struct Open {
    transcript: Transcript,
    deltas: Deltas,
    language: Option<String>,
    mode: Mode,
    warnings: Vec<String>,
    /// Whether times and probabilities of words are needed at the end.
    is_whole: bool,
    /// All that is told when the turns before are over.
    held: Vec<Happening>,
    is_over: bool,
}

impl Texts {
    /// True if no text is to come.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Number of turns whose text is not told to its end.
    pub(super) fn count(&self) -> usize {
        self.open.len()
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
            held: Vec::new(),
            is_over: false,
        };
        self.open.insert(item.to_owned(), open);
        self.order.push_back(item.to_owned());
    }

    /// The client wants no text of this turn.
    pub(super) fn forget(&mut self, item: &str, happenings: &mut VecDeque<Happening>) {
        self.open.remove(item);
        self.order.retain(|one| one != item);
        self.tell(happenings);
    }

    /// Take news of a turn, and note all that the client is to be told now.
    pub(super) fn hear(&mut self, news: News, happenings: &mut VecDeque<Happening>) {
        let News { item, what } = news;
        let what = *what;
        let Some(open) = self.open.get_mut(&item) else {
            // A turn that was refused was never begun here. Others were forgotten.
            if let What::Refused(error) = what {
                happenings.push_back(failed(item, error, None));
            }
            return;
        };
        open.is_over = what.is_last();
        match what {
            What::Waits => happenings.push_back(Happening::Waits { item }),
            What::Hypothesis(hypothesis) => open.guess(item, &hypothesis),
            What::Segment(segment) => open.add(item, segment),
            What::Refused(error) => open.held.push(failed(item, error, None)),
            What::Ended(report) => open.end(item, report),
        }
        self.tell(happenings);
    }

    /// Note what is held of the first turn, and of those behind it if it is over.
    fn tell(&mut self, happenings: &mut VecDeque<Happening>) {
        while let Some(first) = self.order.front()
            && let Some(open) = self.open.get_mut(first)
        {
            happenings.extend(open.held.drain(..));
            if !open.is_over {
                return;
            }
            self.open.remove(first);
            self.order.pop_front();
        }
    }
}

impl Open {
    fn guess(&mut self, item: String, hypothesis: &Hypothesis) {
        let (text, tentative) = self.deltas.hypothesis(hypothesis);
        // Of guesses only the last one counts.
        self.held
            .retain(|one| !matches!(one, Happening::Tentative { .. }));
        self.held.push(Happening::Delta {
            item: item.clone(),
            text,
            segment: None,
        });
        let text = tentative;
        self.held.push(Happening::Tentative { item, text });
    }

    fn add(&mut self, item: String, segment: Segment) {
        let text = self.deltas.segment(&segment);
        self.transcript.segments.push(match self.is_whole {
            true => segment.clone(),
            false => segment.clone().bare(),
        });
        self.held.push(Happening::Delta {
            item,
            text,
            segment: Some(segment),
        });
    }

    fn end(&mut self, item: String, report: Box<Report>) {
        if let Some(error) = ApiError::of_outcome(&report.outcome) {
            return self.held.push(failed(item, error, Some(report)));
        }
        let transcript = Transcript {
            duration: report.figures.audio,
            languages: report.figures.languages.clone(),
            ..mem::take(&mut self.transcript)
        };
        self.held.push(Happening::Completed(Box::new(Completed {
            item,
            transcript,
            language: self.language.take(),
            report,
            mode: self.mode,
            warnings: mem::take(&mut self.warnings),
        })));
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
