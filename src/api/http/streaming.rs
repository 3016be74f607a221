//! An answer in parts: server-sent events with new text, and one at the end.

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::{Stream, stream};
use serde::Serialize;
use serde_json::Value;

use super::{
    chorus::{Chorus, Share},
    cost::Cost,
    half_closed::Closed,
    parts::{segment_id, spoken},
    render::{Code, Logprobs, codes, no_tokens},
};
use crate::{
    api::{deltas::Deltas, word::Word},
    config::Mode,
    dispatch::Report,
    transcript::{Hypothesis, Segment, Transcript},
};

/// An event that every client passes over.
const COMMENT: &[u8] = b":\n\n";

/// How a request is answered.
pub(super) struct Way {
    pub(super) mode: Mode,
    pub(super) with_logprobs: bool,
    /// True if each segment comes with its speaker, too.
    pub(super) with_speakers: bool,
    /// Code of the language of the text, if it is known.
    pub(super) language: Option<String>,
    /// Parts of the request that were left out.
    pub(super) warnings: Vec<String>,
    pub(super) closed: Closed,
}

impl Way {
    fn cost<'a>(&'a self, report: &'a Report, shares: &'a [Share]) -> Cost<'a> {
        Cost {
            report,
            mode: self.mode,
            warnings: &self.warnings,
            shares,
        }
    }
}

/// Answer with events, as soon as there is the first one. A request that fails before gets an
/// ordinary answer.
///
/// The request is cancelled if the answer's body is dropped, because the client hung up or stopped
/// reading.
pub(super) async fn answer(mut chorus: Chorus, way: Way) -> Response {
    let first = match chorus.next().await {
        Word::Finished(report) => {
            if let Some(error) = chorus.error(&report) {
                let mut response = error.into_response();
                way.cost(&report, &chorus.shares())
                    .tell(response.headers_mut());
                return response;
            }
            Word::Finished(report)
        }
        Word::Refused(error) => return error.into_response(),
        words @ (Word::Segment(_) | Word::Hypothesis(_)) => words,
    };
    let telling = Telling {
        chorus,
        way,
        said: Transcript::default(),
        deltas: Deltas::default(),
        first: Some(first),
        is_over: false,
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, Body::from_stream(telling.events())).into_response()
}

/// State of a streamed answer.
struct Telling {
    chorus: Chorus,
    way: Way,
    said: Transcript,
    deltas: Deltas,
    /// The event that came before there was a body.
    first: Option<Word>,
    is_over: bool,
}

impl Telling {
    fn events(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut telling| async move {
            if telling.is_over {
                return None;
            }
            let word = match telling.first.take() {
                Some(first) => first,
                None => tokio::select! {
                    biased;
                    word = telling.chorus.next() => word,
                    () = telling.way.closed.0.notified() => {
                        return Some((Ok(Bytes::from_static(COMMENT)), telling));
                    }
                },
            };
            let events = telling.event(word);
            // Only data: OpenAI's events have neither names nor numbers.
            let lines = events.iter().map(|event| format!("data: {event}\n\n"));
            let lines = Bytes::from(lines.collect::<String>());
            Some((Ok(lines), telling))
        })
    }

    /// Data of the next events, as JSON.
    fn event(&mut self, word: Word) -> Vec<String> {
        match word {
            Word::Segment(segment) => {
                // The deltas joined together must equal the final text.
                let between = self.said.separator(&segment);
                let number = self.said.segments.len();
                let delta = Delta {
                    kind: "transcript.text.delta",
                    delta: self.deltas.segment(&segment),
                    segment_id: self.way.with_speakers.then(|| segment_id(number)),
                    logprobs: self.logprobs(between, std::slice::from_ref(&segment)),
                };
                // All of it may be known already.
                let is_new = !delta.delta.is_empty();
                let mut events: Vec<String> = is_new.then(|| data(&delta)).into_iter().collect();
                if self.way.with_speakers {
                    events.push(data(&spoken(number, &segment)));
                }
                self.said.segments.push(if self.way.with_logprobs {
                    segment
                } else {
                    segment.bare()
                });
                events
            }
            Word::Hypothesis(hypothesis) => self.guess(&hypothesis),
            Word::Finished(report) => {
                self.is_over = true;
                vec![self.end(&report)]
            }
            Word::Refused(error) => {
                self.is_over = true;
                vec![data(&error.body())]
            }
        }
    }

    /// Words that will not be taken back, and the rest as it is heard now.
    fn guess(&mut self, hypothesis: &Hypothesis) -> Vec<String> {
        let (delta, tentative) = self.deltas.hypothesis(hypothesis);
        let delta = (!delta.is_empty()).then(|| {
            data(&Delta {
                kind: "transcript.text.delta",
                delta,
                segment_id: None,
                logprobs: None,
            })
        });
        let guess = data(&Guess {
            kind: "stt.hypothesis",
            tentative,
        });
        delta.into_iter().chain([guess]).collect()
    }

    fn end(&self, report: &Report) -> String {
        if let Some(error) = self.chorus.error(report) {
            return data(&error.body());
        }
        let shares = self.chorus.shares();
        data(&Done {
            kind: "transcript.text.done",
            text: self.said.text(),
            languages: codes(self.way.language.as_deref(), &report.figures.languages),
            logprobs: self.logprobs("", &self.said.segments),
            usage: no_tokens(),
            stt: self.way.cost(report, &shares).object(),
        })
    }

    fn logprobs<'a>(&self, before: &'a str, segments: &'a [Segment]) -> Option<Logprobs<'a>> {
        self.way
            .with_logprobs
            .then_some(Logprobs { before, segments })
    }
}

/// Event with the text since the previous event.
#[derive(Serialize)]
struct Delta<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    delta: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    segment_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Logprobs<'a>>,
}

/// Extension: event with what follows the text so far, as it is heard now.
#[derive(Serialize)]
struct Guess {
    #[serde(rename = "type")]
    kind: &'static str,
    tentative: String,
}

/// The last event, with the whole text.
#[derive(Serialize)]
struct Done<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: String,
    languages: Vec<Code<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Logprobs<'a>>,
    usage: Value,
    stt: Value,
}

fn data(event: &impl Serialize) -> String {
    // This cannot fail: all keys are strings.
    serde_json::to_string(event).unwrap_or_default()
}
