//! The answers: one to each message, as Vosk's server gives them.

use std::{collections::HashMap, mem, time::Duration};

use serde_json::{Value, json};

use crate::{
    api::conversation::{Completed, Happening},
    transcript::{Transcript, between},
};

/// All that was heard and not told.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// When the turns that are heard began, in milliseconds.
    began: HashMap<String, u64>,
    /// The words of the present turn as they are heard now.
    sure: String,
    tentative: String,
    /// Complete turns that were not told.
    text: String,
    words: Vec<Value>,
    is_complete: bool,
    /// Why a turn has no text.
    failed: Option<String>,
}

impl Answers {
    /// Take note of what has happened.
    pub(super) fn note(&mut self, happening: Happening) {
        match happening {
            Happening::Began { item, at } => {
                self.began.insert(item, at);
            }
            Happening::Delta { text, .. } => {
                self.sure += &text;
                self.tentative.clear();
            }
            Happening::Tentative { text, .. } => self.tentative = text,
            Happening::Completed(completed) => self.complete(*completed),
            Happening::Failed { item, error, .. } => {
                self.began.remove(&item);
                self.sure.clear();
                self.tentative.clear();
                self.failed = Some(error.message().to_owned());
            }
            Happening::Ended { .. }
            | Happening::Committed { .. }
            | Happening::Idle { .. }
            | Happening::Waits { .. }
            | Happening::Trouble(_)
            | Happening::Settled => {}
        }
    }

    fn complete(&mut self, completed: Completed) {
        let Completed {
            item, transcript, ..
        } = completed;
        self.sure.clear();
        self.tentative.clear();
        let began = self.began.remove(&item).unwrap_or_default();
        let text = transcript.text();
        if text.is_empty() {
            return;
        }
        if !self.text.is_empty() {
            let separator = between(&self.text, &text);
            self.text.push_str(separator);
        }
        self.text += &text;
        self.words.extend(words(&transcript, began));
        self.is_complete = true;
    }

    /// The reason why a turn has no text, once.
    pub(super) fn failed(&mut self) -> Option<String> {
        self.failed.take()
    }

    /// The answer to a message: a complete turn if there is one, else the words so far.
    pub(super) fn next(&mut self) -> Value {
        match self.is_complete {
            true => self.result(),
            false => json!({"partial": format!("{}{}", self.sure, self.tentative)}),
        }
    }

    /// All complete turns.
    pub(super) fn result(&mut self) -> Value {
        self.is_complete = false;
        let mut result = json!({"text": mem::take(&mut self.text)});
        let words = mem::take(&mut self.words);
        if !words.is_empty() {
            result["result"] = words.into();
        }
        result
    }
}

/// The words of a turn that began at `began`, with their times.
fn words(transcript: &Transcript, began: u64) -> impl Iterator<Item = Value> {
    let began = Duration::from_millis(began);
    let seconds = move |time: Duration| ((began + time).as_secs_f64() * 1e6).round() / 1e6;
    let words = transcript.segments.iter().flat_map(|one| &one.words);
    words.map(move |word| {
        json!({
            "word": word.text,
            "start": seconds(word.start),
            "end": seconds(word.end),
            "conf": word.confidence.map_or(1.0, |sure| (f64::from(sure) * 1e6).round() / 1e6),
        })
    })
}
