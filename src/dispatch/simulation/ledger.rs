//! The record of a schedule, and the rules that hold for it whatever the scheduler does.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
    time::Duration,
};

use tokio::time::Instant;

use super::world::is_let_go;
use crate::{
    config,
    dispatch::{Report, RequestEvent, request::client::Client},
    request::{Code, Refusal},
};

/// How often others may pass a request that could run: their own turn, one of a client that is new,
/// and one for a request that comes back from a dead job.
const MAX_PASSES: u32 = 3;

/// All requests of a schedule, and what was found to be wrong.
#[derive(Default)]
pub struct Ledger {
    requests: BTreeMap<u64, Entry>,
    pub wrong: Vec<String>,
    /// Crashes by model, and other endings that may have been crashes.
    crashes: Vec<(Instant, String, Client)>,
    /// Refusals because of crashes: when, which model, whose request, and whether all are refused.
    tripped: Vec<(Instant, String, Client, bool)>,
    pub ends: BTreeMap<&'static str, u64>,
}

/// One request.
struct Entry {
    client: Client,
    model: String,
    /// How many of its client may run at once; 0: any number.
    cap: usize,
    since: Instant,
    patience: Duration,
    /// It crashes every job, whatever the dice say.
    hexed: bool,
    waits: bool,
    /// How often clients had a turn while this waited and could have run.
    passes: Vec<(Client, u32)>,
    answered_by: Option<i32>,
    events: u32,
    ended: bool,
    recording: OwnedFd,
}

/// A request as it is put in.
pub struct Asked {
    pub number: u64,
    pub client: Client,
    pub model: String,
    pub cap: usize,
    pub patience: Duration,
    pub hexed: bool,
    /// The other end of its recording.
    pub recording: OwnedFd,
}

impl Ledger {
    pub fn complain(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// A request was accepted.
    pub fn asked(&mut self, asked: Asked) {
        let Asked {
            number,
            client,
            model,
            cap,
            patience,
            hexed,
            recording,
        } = asked;
        let entry = Entry {
            client,
            model,
            cap,
            since: Instant::now(),
            patience,
            hexed,
            waits: true,
            passes: Vec::new(),
            answered_by: None,
            events: 0,
            ended: false,
            recording,
        };
        self.requests.insert(number, entry);
    }

    pub fn is_hexed(&self, number: u64) -> bool {
        self.requests.get(&number).is_some_and(|entry| entry.hexed)
    }

    /// A job has read this request. `running` are those that have a job.
    pub fn given(&mut self, number: u64, running: &[u64]) {
        let Some(entry) = self.requests.get_mut(&number) else {
            return self.complain(format!("request {number} is not known"));
        };
        if !std::mem::take(&mut entry.waits) {
            // It comes back from a job that died before.
            return;
        }
        let (client, model) = (entry.client.clone(), entry.model.clone());
        let of = |whose: &Client| {
            let clients = running
                .iter()
                .filter_map(|number| self.requests.get(number));
            clients.filter(|entry| entry.client == *whose).count()
        };
        let (own, cap) = (of(&client), self.requests[&number].cap);
        if cap > 0 && own > cap {
            self.wrong
                .push(format!("{own} requests of {client:?} run, {cap} may"));
        }
        let free: Vec<u64> = self
            .requests
            .iter()
            .filter(|(_, entry)| entry.waits && entry.model == model && entry.client != client)
            .filter(|(_, entry)| entry.cap == 0 || of(&entry.client) < entry.cap)
            .map(|(number, _)| *number)
            .collect();
        for (_, entry) in self
            .requests
            .iter_mut()
            .filter(|(_, entry)| entry.client == client)
        {
            entry.passes.clear();
        }
        for passed in free {
            let Some(entry) = self.requests.get_mut(&passed) else {
                continue;
            };
            let known = entry.passes.iter().position(|(whose, _)| *whose == client);
            let at = known.unwrap_or_else(|| {
                entry.passes.push((client.clone(), 0));
                entry.passes.len() - 1
            });
            entry.passes[at].1 += 1;
            if entry.passes[at].1 > MAX_PASSES {
                let whose = &entry.client;
                let what = format!("{client:?} passes request {passed} of {whose:?} again");
                self.wrong.push(what);
            }
        }
    }

    /// The job `pid` has answered it well.
    pub fn answered(&mut self, number: u64, pid: i32) {
        if let Some(entry) = self.requests.get_mut(&number) {
            entry.answered_by = Some(pid);
        }
    }

    /// A request of the service itself has gone wrong.
    pub fn service_failed(&mut self, model: &str) {
        self.crashes
            .push((Instant::now(), model.into(), Client::Service));
    }

    /// The client of a request got this.
    pub fn told(&mut self, number: u64, event: Option<&RequestEvent>) {
        let Some(entry) = self.requests.get_mut(&number) else {
            return;
        };
        entry.events += 1;
        let late = entry.since.elapsed() > entry.patience + Duration::from_millis(2);
        if entry.events == 1 && late {
            let waited = entry.since.elapsed();
            self.wrong
                .push(format!("request {number} waited {waited:?}"));
        }
        if entry.ended {
            self.wrong
                .push(format!("request {number} is answered twice: {event:?}"));
        }
        match event {
            None => self
                .wrong
                .push(format!("request {number} gets no last word")),
            Some(RequestEvent::Started) if entry.events > 1 => {
                self.wrong.push(format!("request {number} begins twice"));
            }
            Some(RequestEvent::Channels(_)) => {
                self.wrong.push(format!("request {number} has channels"));
            }
            Some(RequestEvent::Hypothesis(_)) => {
                self.wrong.push(format!("request {number} gets guesses"));
            }
            Some(RequestEvent::Started | RequestEvent::Segment(_)) => {}
            Some(RequestEvent::Finished(report)) => self.finished(number, report),
            Some(RequestEvent::Refused(refusal)) => self.refused(number, refusal),
        }
    }

    fn finished(&mut self, number: u64, report: &Report) {
        let code = report.outcome.code();
        self.end(number, code);
        let Some(entry) = self.requests.get(&number) else {
            return;
        };
        if code == Code::Ok && entry.answered_by != Some(report.pid) {
            let (by, pid) = (entry.answered_by, report.pid);
            self.wrong.push(format!(
                "request {number} is answered by {pid}, served by {by:?}"
            ));
        }
        if matches!(code, Code::WorkerCrashed | Code::WorkerMisbehaved) {
            // Its client is perhaps slow to read of it.
            let at = entry.since + report.queued + report.wall;
            let crash = (at, entry.model.clone(), entry.client.clone());
            self.crashes.push(crash);
        }
    }

    fn refused(&mut self, number: u64, refusal: &Refusal) {
        self.end(number, refusal.code());
        if let Some(entry) = self.requests.get(&number) {
            let (client, model) = (entry.client.clone(), entry.model.clone());
            self.turned_away(&client, &model, refusal);
        }
    }

    /// A client was refused.
    pub fn turned_away(&mut self, client: &Client, model: &str, refusal: &Refusal) {
        if let Refusal::EngineUnavailable { reason, .. } = refusal
            && reason.contains("crashed again and again")
        {
            let all = !reason.contains("on your requests");
            let refusal = (Instant::now(), model.to_owned(), client.clone(), all);
            self.tripped.push(refusal);
        }
    }

    /// The client let go of the request.
    pub fn hung_up(&mut self, number: u64) {
        self.end(number, Code::Cancelled);
        // Perhaps its job crashed in this very moment.
        if let Some(entry) = self.requests.get(&number) {
            let crash = (Instant::now(), entry.model.clone(), entry.client.clone());
            self.crashes.push(crash);
        }
    }

    fn end(&mut self, number: u64, code: Code) {
        *self.ends.entry(code.word()).or_default() += 1;
        if let Some(entry) = self.requests.get_mut(&number) {
            entry.waits = false;
            entry.ended = true;
        }
    }

    /// Check what can be judged only when everything is over.
    pub fn close(&mut self, breaker: config::Breaker) {
        let mut wrong = Vec::new();
        for (number, entry) in &self.requests {
            if !entry.ended {
                wrong.push(format!("request {number} has no end"));
            }
            if !is_let_go(&entry.recording) {
                wrong.push(format!("the recording of request {number} is still open"));
            }
        }
        for (at, model, client, all) in &self.tripped {
            if !self.may_open(breaker, *at, model, client, *all) {
                wrong.push(format!(
                    "{model} is closed for {client:?} without a reason ({all})"
                ));
            }
        }
        self.wrong.append(&mut wrong);
    }

    /// Whether there were enough crashes before `at` to close `model` for this client, or for all.
    fn may_open(
        &self,
        breaker: config::Breaker,
        at: Instant,
        model: &str,
        client: &Client,
        all: bool,
    ) -> bool {
        let most = breaker.crashes as usize;
        let before: Vec<_> = self
            .crashes
            .iter()
            .filter(|(when, whose, by)| *when <= at && whose == model && (all || by == client))
            .collect();
        before.iter().any(|(start, ..)| {
            let within = |when: &Instant| *when >= *start && *when <= *start + breaker.within;
            let crashes: Vec<_> = before.iter().filter(|(when, ..)| within(when)).collect();
            if !all {
                return crashes.len() >= most;
            }
            let half = most.div_ceil(2);
            let mut clients: Vec<&Client> = Vec::new();
            for (_, _, by) in &crashes {
                if !clients.contains(&by) {
                    clients.push(by);
                }
            }
            let count = |client: &&Client| {
                let own = crashes.iter().filter(|(_, _, by)| by == *client).count();
                if **client == Client::Service {
                    half
                } else {
                    own.min(half)
                }
            };
            clients.len() >= 2 && clients.iter().map(count).sum::<usize>() >= most
        })
    }

    /// The numbers of the requests that were accepted.
    pub fn numbers(&self) -> BTreeSet<u64> {
        self.requests.keys().copied().collect()
    }
}
