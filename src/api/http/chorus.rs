//! One request as a stream of words: of one job, or of a job for each channel of its recording.

use std::{collections::VecDeque, time::Instant};

use futures_util::future::{FutureExt, select_all};

use super::merge::{Merge, Names, UNKNOWN};
use crate::{
    api::{
        error::ApiError,
        word::{self, Word},
    },
    dispatch::{Dispatcher, Report, RequestEvent, Submission, Ticket},
    isolation::Usage,
    request::{Code, Figures, FindSpeakers, Refusal, Speakers},
    transcript::Segment,
};

/// The jobs of one request.
///
/// A recording whose channels tell its speakers apart has a job for each of them. They are ordinary
/// requests of the same client in the queue, and run one after the other if no more may run at
/// once. Each is asked for only after the one before it has its job, so a request never has two
/// places in the queue. No job waits for another one, so requests cannot block each other.
pub(super) struct Chorus {
    dispatcher: Dispatcher,
    /// The model, as the client called it.
    model: String,
    /// The request for further channels, if speakers are to be told apart.
    template: Option<Submission>,
    names: Names,
    parts: Vec<Part>,
    /// The channels for which there is no job yet.
    channels: VecDeque<u16>,
    merge: Merge,
    /// When the first job began.
    began: Option<Instant>,
    /// Whether nobody says that a channel is one person.
    is_doubted: bool,
    /// Whether the model knows voices.
    by_model: bool,
}

/// One job of the request.
struct Part {
    channel: Option<u16>,
    ticket: Ticket,
    stage: Stage,
}

/// How far a job is.
enum Stage {
    Waiting,
    Running,
    Ended(Box<Report>),
}

/// The cost of one job of a request, for the client.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// The channel that it heard.
    pub(super) channel: u16,
    /// The job's own report.
    pub(super) report: Report,
}

impl Chorus {
    /// Queue the request `submission`, whose speakers have these names.
    ///
    /// # Errors
    /// It is refused at once.
    pub(super) fn begin(
        dispatcher: &Dispatcher,
        submission: Submission,
        names: Vec<String>,
    ) -> Result<Self, ApiError> {
        let model = submission.model.clone();
        let finds_speakers = submission.ask.speakers.is_some();
        let find = match submission.ask.speakers {
            Some(Speakers::Find(find)) => find,
            _ => FindSpeakers::default(),
        };
        // Its channel is replaced for each job.
        let template = finds_speakers.then(|| submission.for_channel(0));
        let template = template.transpose();
        let template = template.map_err(|error| ApiError::storage(&error))?;
        let ticket = dispatcher.submit(submission);
        let ticket = ticket.map_err(|refusal| ApiError::refused(&refusal, &model))?;
        Ok(Self {
            dispatcher: dispatcher.clone(),
            model,
            template,
            names: Names::of(names),
            parts: vec![Part::of(None, ticket)],
            channels: VecDeque::new(),
            merge: Merge::default(),
            began: None,
            is_doubted: !find.must && find.names == 0,
            by_model: find.by_model,
        })
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> Word {
        if self.template.is_none() {
            return self.plain().await;
        }
        loop {
            if let Some(error) = self.submit_next() {
                return Word::Refused(error);
            }
            if let Some(word) = self.ready() {
                return word;
            }
            let (place, event) = self.event().await;
            if let Some(word) = self.take(place, event) {
                return word;
            }
        }
    }

    /// The next event of a request that needs only one job.
    async fn plain(&mut self) -> Word {
        let Some(part) = self.parts.first_mut() else {
            return Word::Refused(ApiError::refused(&Refusal::ShuttingDown, &self.model));
        };
        match word::next(&mut part.ticket, &self.model).await {
            Word::Segment(segment) => Word::Segment(Segment {
                speaker: None,
                ..segment
            }),
            word => word,
        }
    }

    /// The error of a request that ended like this; `None` if it succeeded.
    pub(super) fn error(&self, report: &Report) -> Option<ApiError> {
        let error = ApiError::of_outcome(&report.outcome)?;
        if error.code() == Code::SpeakersUnknown {
            let parameter = match self.names.are_given() {
                true => "known_speaker_names",
                false => "speakers",
            };
            return Some(error.about(parameter));
        }
        let failed = self.parts.iter().find(|part| part.has_failed());
        match failed.and_then(|part| part.channel) {
            Some(channel) => Some(error.on_channel(channel)),
            None => Some(error),
        }
    }

    /// The jobs that have ended, if there was one for each channel.
    pub(super) fn shares(&self) -> Vec<Share> {
        let share = |part: &Part| match (&part.stage, part.channel) {
            (Stage::Ended(report), Some(channel)) => Some(Share {
                channel,
                report: report.as_ref().clone(),
            }),
            _ => None,
        };
        self.parts.iter().filter_map(share).collect()
    }

    /// Ask for a job for the next channel, if no other one waits. Gives the error if there will be
    /// none.
    fn submit_next(&mut self) -> Option<ApiError> {
        let waits = |part: &Part| matches!(part.stage, Stage::Waiting);
        if self.parts.iter().any(waits) {
            return None;
        }
        let channel = self.channels.pop_front()?;
        let template = self.template.as_ref()?;
        let error = match template.for_channel(channel) {
            Ok(submission) => match self.dispatcher.submit(submission) {
                Ok(ticket) => {
                    self.parts.push(Part::of(Some(channel), ticket));
                    return None;
                }
                Err(refusal) => ApiError::refused(&refusal, &self.model),
            },
            Err(error) => ApiError::storage(&error),
        };
        self.give_up();
        Some(error.on_channel(channel))
    }

    /// A word that can be said without a further event.
    fn ready(&mut self) -> Option<Word> {
        if let Some((place, segment)) = self.merge.next() {
            let channel = self.parts.get(place).and_then(|part| part.channel);
            let speaker = match channel {
                Some(channel) if !self.is_one_voice() => self.names.of_channel(channel),
                _ => self.names.of_label(None),
            };
            return Some(Word::Segment(Segment {
                speaker: Some(speaker),
                ..segment
            }));
        }
        let is_over = self.parts.iter().all(Part::is_over) && self.channels.is_empty();
        is_over.then(|| self.finish())
    }

    /// True if only one channel has speech, and nobody says that it is that of one person.
    fn is_one_voice(&self) -> bool {
        self.is_doubted && self.merge.speaking() < 2
    }

    /// Wait for the next event of any job.
    async fn event(&mut self) -> (usize, Option<RequestEvent>) {
        let runs = |part: &Part| matches!(part.stage, Stage::Running);
        let is_at_work = self.parts.iter().any(runs);
        let parts = self.parts.iter_mut().enumerate();
        let open = parts.filter(|(_, part)| !part.is_over());
        let events: Vec<_> = open
            .map(|(place, part)| {
                // While a job of this request runs, the others may have to wait for it.
                let waits = is_at_work && matches!(part.stage, Stage::Waiting);
                let ticket = &mut part.ticket;
                let event = async move {
                    let event = match waits {
                        true => ticket.next_in_time().await,
                        false => ticket.next().await,
                    };
                    (place, event)
                };
                event.boxed()
            })
            .collect();
        if events.is_empty() {
            return (0, None);
        }
        let ((place, event), ..) = select_all(events).await;
        (place, event)
    }

    /// Take an event of the job at `place`. Gives a word if that is clear at once.
    fn take(&mut self, place: usize, event: Option<RequestEvent>) -> Option<Word> {
        let part = self.parts.get_mut(place)?;
        match event {
            Some(RequestEvent::Started) => {
                part.stage = Stage::Running;
                self.began.get_or_insert_with(Instant::now);
                None
            }
            Some(RequestEvent::Channels(channels)) => {
                self.merge = Merge::of(channels.len());
                let mut channels = VecDeque::from(channels);
                part.channel = channels.pop_front();
                self.channels = channels;
                None
            }
            // A request whose speakers are told apart does not ask for them.
            Some(RequestEvent::Hypothesis(_)) => None,
            Some(RequestEvent::Segment(segment)) if part.channel.is_none() => {
                let label = segment.speaker.as_deref().filter(|_| self.by_model);
                let speaker = self.names.of_label(label);
                Some(Word::Segment(Segment {
                    speaker: Some(speaker),
                    ..segment
                }))
            }
            Some(RequestEvent::Segment(segment)) => {
                self.merge.push(place, segment);
                None
            }
            Some(RequestEvent::Finished(report)) => {
                part.stage = Stage::Ended(report);
                self.merge.end(place);
                if part.has_failed() {
                    let word = self.finish();
                    self.give_up();
                    return Some(word);
                }
                // Jobs that wait now wait for others.
                self.parts
                    .iter_mut()
                    .for_each(|part| part.ticket.be_patient());
                None
            }
            Some(RequestEvent::Refused(refusal)) => {
                let channel = part.channel;
                self.give_up();
                let error = ApiError::refused(&refusal, &self.model);
                Some(Word::Refused(match channel {
                    Some(channel) => error.on_channel(channel),
                    None => error,
                }))
            }
            // The scheduler dropped the request without an event, so it is shutting down.
            None => {
                self.give_up();
                let error = ApiError::refused(&Refusal::ShuttingDown, &self.model);
                Some(Word::Refused(error))
            }
        }
    }

    /// Let go of all jobs that have not ended: their tickets are dropped.
    fn give_up(&mut self) {
        self.channels.clear();
        self.parts.retain(Part::is_over);
    }

    /// The end of the whole request.
    fn finish(&mut self) -> Word {
        let reports = || self.parts.iter().filter_map(Part::report);
        let Some(first) = reports().next() else {
            return Word::Refused(ApiError::refused(&Refusal::ShuttingDown, &self.model));
        };
        let failed = self.parts.iter().filter(|part| part.has_failed());
        let ending = failed.filter_map(Part::report).next().unwrap_or(first);
        let mut report = Report {
            outcome: ending.outcome.clone(),
            usage: together(reports().map(|report| report.usage)),
            figures: joined(reports().map(|report| &report.figures)),
            wall: match self.began {
                Some(began) if self.parts.len() > 1 => began.elapsed(),
                _ => first.wall,
            },
            ..first.clone()
        };
        if self.is_doubted && self.merge.speaking() == 1 {
            report.figures.warnings.insert(
                0,
                format!(
                    "only one channel has speech, and nothing tells whether several people speak \
                     there: each segment has the speaker `{UNKNOWN}`"
                ),
            );
        }
        Word::Finished(Box::new(report))
    }
}

impl Part {
    fn of(channel: Option<u16>, ticket: Ticket) -> Self {
        Self {
            channel,
            ticket,
            stage: Stage::Waiting,
        }
    }

    fn report(&self) -> Option<&Report> {
        match &self.stage {
            Stage::Ended(report) => Some(report),
            Stage::Waiting | Stage::Running => None,
        }
    }

    fn is_over(&self) -> bool {
        self.report().is_some()
    }

    fn has_failed(&self) -> bool {
        self.report()
            .is_some_and(|report| report.outcome.code() != Code::Ok)
    }
}

/// The cost of several jobs. Each has had its own limits.
fn together(all: impl Iterator<Item = Usage>) -> Usage {
    let add = |sum: Usage, one: Usage| Usage {
        peak: sum.peak + one.peak,
        anonymous: sum.anonymous + one.anonymous,
        began_with: sum.began_with + one.began_with,
        limit: sum
            .limit
            .zip(one.limit)
            .map(|(sum, one)| sum.saturating_add(one)),
        cpu: sum.cpu + one.cpu,
        page_cache: sum.page_cache + one.page_cache,
        page_faults: sum.page_faults + one.page_faults,
        oom_kills: sum.oom_kills + one.oom_kills,
    };
    all.reduce(add).unwrap_or_default()
}

/// The figures of jobs that heard the same recording: it counts once.
fn joined<'a>(all: impl Iterator<Item = &'a Figures>) -> Figures {
    let mut joined = Figures::default();
    for one in all {
        joined.audio = joined.audio.max(one.audio);
        joined.decode += one.decode;
        joined.transcribe += one.transcribe;
        joined.converted |= one.converted;
        unite(&mut joined.languages, &one.languages);
        unite(&mut joined.warnings, &one.warnings);
    }
    joined
}

/// Add what is not there.
fn unite(all: &mut Vec<String>, more: &[String]) {
    for one in more {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}
