//! Collects all figures of a report, entry by entry in bounded memory.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use super::{thinned::Thinned, timeline::Timeline};
use stt_isolated::request::Group;

use crate::{histogram::Histogram, journal::Entry, text::Text};

/// Largest number of models listed separately; there are rarely more than three.
const MAX_MODELS: usize = 24;

/// Largest number of host names.
const MAX_HOSTS: usize = 8;

/// Largest number of different outcome words; the service has about 14.
const MAX_WORDS: usize = 40;

/// Largest number of points in a plot: each takes about 250 bytes of the page.
const MAX_POINTS: usize = 2000;

/// Largest number of rows in a list of single requests.
const MAX_ROWS: usize = 12;

/// Peaks count as near the limit from this percentage of it.
pub const NEAR: u64 = 90;

/// Everything collected so far.
#[derive(Debug)]
pub struct Tally {
    /// Hosts that wrote the entries.
    pub hosts: BTreeSet<Text>,
    /// Time of the first and the last entry, in microseconds since 1970.
    pub period: Option<(u64, u64)>,
    /// Sums over all models.
    pub total: Model,
    /// Figures of each model by name.
    pub models: Vec<(Text, Model)>,
    /// Number of ended requests, by the service's own outcome words.
    pub words: BTreeMap<(Group, Text), u64>,
    /// Requests over time, in steps.
    pub timeline: Timeline,
    /// Highest memory use of jobs with a limit, in hundredths of a percent of the limit.
    pub peaks: Thinned<Point>,
    /// Highest memory use of jobs without a limit, in bytes.
    pub unlimited: Thinned<Point>,
    /// Memory that requests left behind, in bytes.
    pub leaks: Thinned<Point>,
    /// Requests that came nearest to their limit.
    pub highest: Top,
    /// Requests that left the most memory behind.
    pub leakiest: Top,
    /// The last requests that failed.
    pub failures: VecDeque<Entry>,
}

/// A request that stands for itself or for all near it.
#[derive(Debug)]
pub struct Point {
    /// Index of its model in the list of models.
    pub model: usize,
    /// Entry of the request.
    pub entry: Entry,
}

/// Figures of one model.
#[derive(Debug, Default)]
pub struct Model {
    /// Number of ended requests, by outcome.
    pub ended: [u64; Group::ALL.len()],
    /// Total audio of transcribed requests, in milliseconds.
    pub audio: u64,
    /// Total time of those requests, in milliseconds.
    pub work: u64,
    /// Waiting times of requests that had a job, in milliseconds.
    pub queue: Histogram,
    /// Times that jobs had requests, in milliseconds.
    pub service: Histogram,
    /// Highest memory use, in bytes.
    pub peaks: Histogram,
    /// Number of requests that came near their limit, without being stopped by it.
    pub near: u64,
    /// Limit of the last request that had one, in bytes.
    pub limit: Option<u64>,
    /// Memory that requests left behind, in bytes.
    pub leaks: Histogram,
    /// Sum of `leaks`, in bytes.
    pub leaked: u64,
}

/// Keeps the largest entries.
#[derive(Debug, Default)]
pub struct Top(BTreeMap<(Reverse<u64>, u64), Entry>);

impl Top {
    fn add(&mut self, value: u64, number: u64, entry: &Entry) {
        let key = (Reverse(value), number);
        let is_full = self.0.len() >= MAX_ROWS;
        if is_full && self.0.keys().next_back().is_some_and(|last| key > *last) {
            return;
        }
        self.0.insert(key, entry.clone());
        if is_full {
            self.0.pop_last();
        }
    }

    /// Entries, the largest first.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            hosts: BTreeSet::new(),
            period: None,
            total: Model::default(),
            models: Vec::new(),
            words: BTreeMap::new(),
            timeline: Timeline::default(),
            peaks: Thinned::new(MAX_POINTS),
            unlimited: Thinned::new(MAX_POINTS),
            leaks: Thinned::new(MAX_POINTS),
            highest: Top::default(),
            leakiest: Top::default(),
            failures: VecDeque::new(),
        }
    }
}

impl Tally {
    /// Counts one request in all figures.
    pub fn add(&mut self, entry: Entry) {
        let (first, last) = self.period.unwrap_or((entry.time, entry.time));
        self.period = Some((first.min(entry.time), last.max(entry.time)));
        if self.hosts.len() < MAX_HOSTS && !self.hosts.contains(&entry.host) {
            self.hosts.insert(entry.host.clone());
        }
        let word = (entry.outcome, entry.word.clone());
        if self.words.len() < MAX_WORDS || self.words.contains_key(&word) {
            *self.words.entry(word).or_default() += 1;
        } else {
            let other = (entry.outcome, Text::from(String::from("(others)")));
            *self.words.entry(other).or_default() += 1;
        }
        self.timeline.add(&entry);
        let model = self.model(&entry.model);
        self.total.add(&entry);
        self.models[model].1.add(&entry);
        let number = self.total.requests();
        let group = u16::try_from(model * Group::ALL.len() + entry.outcome as usize).unwrap_or(0);
        let point = || Point {
            model,
            entry: entry.clone(),
        };
        match (entry.peak, entry.share()) {
            (Some(_), Some(share)) => {
                self.peaks.add(group, entry.time, share, point);
                self.highest.add(share, number, &entry);
            }
            (Some(peak), None) => self.unlimited.add(group, entry.time, peak, point),
            (None, _) => {}
        }
        if let Some(leak) = entry.leak {
            self.leaks.add(group, entry.time, leak, point);
            self.leakiest.add(leak, number, &entry);
        }
        if matches!(entry.outcome, Group::Memory | Group::Failed) {
            if self.failures.len() >= MAX_ROWS {
                self.failures.pop_front();
            }
            self.failures.push_back(entry);
        }
    }

    /// Index of a model in the list; surplus models share the last one.
    fn model(&mut self, name: &Text) -> usize {
        if let Some(found) = self.models.iter().position(|(other, _)| other == name) {
            return found;
        }
        let name = match self.models.len() {
            MAX_MODELS => return MAX_MODELS - 1,
            last if last == MAX_MODELS - 1 => Text::from(String::from("(others)")),
            _ => name.clone(),
        };
        self.models.push((name, Model::default()));
        self.models.len() - 1
    }
}

impl Model {
    fn add(&mut self, entry: &Entry) {
        self.ended[entry.outcome as usize] += 1;
        if entry.is_served() {
            entry
                .queue
                .into_iter()
                .for_each(|time| self.queue.add(time));
            entry
                .wall
                .into_iter()
                .for_each(|time| self.service.add(time));
        }
        if entry.outcome == Group::Ok {
            self.audio = self.audio.saturating_add(entry.audio.unwrap_or(0));
            self.work = self.work.saturating_add(entry.wall.unwrap_or(0));
        }
        entry.peak.into_iter().for_each(|peak| self.peaks.add(peak));
        self.limit = entry.limit.or(self.limit);
        let is_near = entry.share().is_some_and(|share| share >= NEAR * 100);
        self.near += u64::from(is_near && entry.outcome != Group::Memory);
        entry.leak.into_iter().for_each(|leak| self.leaks.add(leak));
        self.leaked = self.leaked.saturating_add(entry.leak.unwrap_or(0));
    }

    /// Number of counted requests.
    pub fn requests(&self) -> u64 {
        self.ended.iter().sum()
    }

    /// Number of requests with this outcome.
    pub fn ended(&self, outcome: Group) -> u64 {
        self.ended[outcome as usize]
    }
}

impl Entry {
    /// Peak in hundredths of a percent of the limit; `None` if either is unknown.
    pub fn share(&self) -> Option<u64> {
        let (peak, limit) = (u128::from(self.peak?), u128::from(self.limit?));
        u64::try_from(peak * 10_000 / limit).ok()
    }
}
