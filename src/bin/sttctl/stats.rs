//! Parses the shown parts of `GET /v1/stats`. Missing values and null mean unknown.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::{cli::Server, client, error::Error, text::Text};

/// Supported version of the answer.
const SCHEMA: u64 = 2;

/// Longest wait for the answer, which the service normally gives at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Root object of the answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Version of the service.
    pub version: Text,
    /// Time since the service started.
    pub uptime_seconds: Option<f64>,
    /// Isolation of the jobs.
    pub isolation: Isolation,
    /// Bounds of the whole service.
    pub bounds: Bounds,
    /// Figures of the supervisor process itself.
    pub supervisor: Supervisor,
    /// Sums over all models.
    pub total: Activity,
    /// State of each model, by name.
    pub models: BTreeMap<Text, Model>,
    /// Requests that have a job.
    pub jobs: Vec<Job>,
    /// Requests that wait for a job.
    pub waiting: Vec<Waiting>,
    /// Users that have requests now.
    pub clients: Vec<Client>,
}

/// Isolation of the jobs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Isolation {
    /// Mode of the models that do not set one.
    pub mode: Text,
    /// True if each job has its own cgroup.
    pub confined: Option<bool>,
    /// Reasons why the isolation is weaker than it could be.
    pub warnings: Vec<Text>,
}

/// Bounds of the whole service.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// Largest number of running jobs.
    pub max_running: Option<u64>,
    /// Largest number of waiting requests.
    pub max_queued: Option<u64>,
    /// Bound for the sum of all jobs' memory limits.
    pub memory_budget_bytes: Option<u64>,
}

/// The supervisor process, which answered.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Supervisor {
    /// Process id of the supervisor.
    pub pid: Option<i64>,
    /// Resident memory of the supervisor.
    pub rss_bytes: Option<u64>,
    /// Anonymous part of the resident memory.
    pub anon_bytes: Option<u64>,
    /// CPU time since the start.
    pub cpu_seconds: Option<f64>,
    /// Number of the supervisor's threads.
    pub threads: Option<u64>,
    /// Number of open descriptors.
    pub descriptors: Option<u64>,
    /// Number of connected clients.
    pub connections: Option<u64>,
    /// Counts of sessions of live audio.
    pub sessions: Sessions,
}

/// Sessions of live audio.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Sessions {
    /// Number of open sessions.
    pub open: u64,
    /// Number of sessions since the start.
    pub begun: u64,
    /// Number of their turns.
    pub turns: u64,
}

/// Current and past activity.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Activity {
    /// Number of requests that wait for a job.
    pub queued: u64,
    /// Number of requests that have a job.
    pub running: u64,
    /// Number of jobs that wait for a request.
    pub spares: u64,
    /// Sum of the memory limits of all jobs.
    pub memory_committed_bytes: Option<u64>,
    /// Number of accepted requests, and of ended ones by outcome.
    pub requests: BTreeMap<Text, u64>,
    /// Number of refused requests by reason.
    pub refused: BTreeMap<Text, u64>,
}

/// State of one model.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Model {
    /// Additional names of the model.
    pub aliases: Vec<Text>,
    /// Name of the model's engine.
    pub engine: Text,
    /// Mode of the model: `process`, `hybrid` or `thread`.
    pub mode: Text,
    /// State of the model: whether requests for it can be served.
    pub health: Text,
    /// The reason if it cannot serve.
    pub reason: Option<Text>,
    /// Memory limit of one job.
    pub memory_limit_bytes: Option<u64>,
    /// Highest memory use of a job for a request; 0 if unknown.
    pub job_memory_peak_bytes: u64,
    /// The model's zygotes, from which its jobs are forked.
    pub zygotes: Vec<Zygote>,
    /// Activity of this model.
    #[serde(flatten)]
    pub activity: Activity,
}

/// A zygote, from which a model's jobs are forked.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Zygote {
    /// Process id of the zygote.
    pub pid: Option<i64>,
    /// Memory counted by its cgroup.
    pub memory_bytes: Option<u64>,
    /// Resident memory including the model's pages; often hidden from the service.
    pub rss_bytes: Option<u64>,
    /// Memory where each shared page counts by its share.
    pub pss_bytes: Option<u64>,
    /// Number of jobs that it forked.
    pub forks: u64,
    /// Time since the zygote started.
    pub age_seconds: Option<f64>,
}

/// A request that has a job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Job {
    /// Number of the request since the service started.
    pub id: u64,
    /// Request id, as in the answer's header.
    pub request_id: Text,
    /// Name that its client gave it, if that is this user.
    pub client_request_id: Text,
    /// Name of the requested model.
    pub model: Text,
    /// User id of the client; `None` over TCP.
    pub uid: Option<u64>,
    /// Name of the client's key; `None` without one.
    pub key: Option<Text>,
    /// Process id of the job.
    pub pid: Option<i64>,
    /// Time since the request has the job.
    pub age_seconds: Option<f64>,
    /// Current step of the request.
    pub stage: Text,
    /// Length of the audio read so far.
    pub audio_seconds: Option<f64>,
    /// Length of the audio transcribed so far.
    pub transcribed_seconds: Option<f64>,
    /// Length of the whole recording.
    pub total_seconds: Option<f64>,
    /// Current memory use of the job.
    pub memory_bytes: Option<u64>,
    /// Highest memory use so far.
    pub memory_peak_bytes: Option<u64>,
    /// Memory limit of the job.
    pub memory_limit_bytes: Option<u64>,
    /// CPU time used so far.
    pub cpu_seconds: Option<f64>,
}

/// A request that waits for a job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// Name that its client gave it, if that is this user.
    pub client_request_id: Text,
    /// Its place in the queue; 1 is the next.
    pub place: u64,
}

/// A user, or a key, that has requests now.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Client {
    /// User id; `None` for clients over TCP.
    pub uid: Option<u64>,
    /// Name of the key; `None` for users, and for clients over TCP without a key.
    pub key: Option<Text>,
    /// Number of the user's requests that have a job.
    pub running: u64,
    /// Number of the user's requests that wait.
    pub queued: u64,
    /// The user's own cap on running jobs; 0 for none.
    pub max_running: u64,
    /// The user's own cap on waiting requests; 0 for none.
    pub max_queued: u64,
}

impl Activity {
    /// Number of accepted requests.
    pub fn accepted(&self) -> u64 {
        sum(&self.requests, |name| name == "accepted")
    }

    /// Number of requests that ended in an error, except those whose client had gone.
    pub fn failed(&self) -> u64 {
        sum(&self.requests, |name| {
            !["accepted", "ok", "cancelled"].contains(&name)
        })
    }

    /// Number of requests that were refused at once.
    pub fn refused(&self) -> u64 {
        sum(&self.refused, |_| true)
    }
}

fn sum(counts: &BTreeMap<Text, u64>, which: impl Fn(&str) -> bool) -> u64 {
    let chosen = counts.iter().filter(|(name, _)| which(name.as_ref()));
    chosen.fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

impl Model {
    /// True if the model can serve requests.
    pub fn is_ready(&self) -> bool {
        self.health.as_ref() == "ready"
    }
}

impl Stats {
    /// Parses an answer.
    ///
    /// # Errors
    ///
    /// The answer has another schema or is invalid.
    pub fn parse(body: &[u8]) -> Result<Stats, Error> {
        let nonsense = |error: serde_json::Error| Error::Nonsense(error.to_string());
        let mut answer: Value = serde_json::from_slice(body).map_err(nonsense)?;
        if !answer.is_object() {
            return Err(Error::Nonsense("it is no JSON object".into()));
        }
        let found = answer.get("schema").and_then(Value::as_u64);
        if found != Some(SCHEMA) {
            return Err(Error::Schema {
                found,
                expected: SCHEMA,
            });
        }
        drop_nulls(&mut answer);
        serde_json::from_value(answer).map_err(nonsense)
    }

    /// True if every model can serve requests.
    pub fn is_ready(&self) -> bool {
        !self.models.is_empty() && self.models.values().all(Model::is_ready)
    }
}

/// Removes nulls, because serde uses defaults only for missing values.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(values) => {
            values.retain(|value| !value.is_null());
            values.iter_mut().for_each(drop_nulls);
        }
        _ => {}
    }
}

/// Requests the statistics from the service.
///
/// # Errors
///
/// The service does not answer, or answers with an error.
pub async fn ask(server: &Server, notice: impl Fn(&str)) -> Result<Bytes, Error> {
    let server = Server {
        timeout: Some(server.timeout.unwrap_or(PATIENCE)),
        ..server.clone()
    };
    client::get(&server, "/v1/stats", notice).await?.into_body()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_schema_that_is_understood_is_read() {
        let error = |answer: &str| Stats::parse(answer.as_bytes()).unwrap_err().to_string();
        let newer = "the service's statistics have schema 3, this sttctl reads schema 2: use the sttctl of the \
                     service's own version";
        assert_eq!(error(r#"{"schema": 3, "jobs": 7}"#), newer);
        let older = "the service's statistics have schema 1, this sttctl reads schema 2: the service is of an older \
                     version; was it restarted since the upgrade?";
        assert_eq!(error(r#"{"schema": 1}"#), older);
        assert!(error("{}").contains("have no schema"));
        for nonsense in ["", "[]", "null", r#"{"schema": 2, "jobs": 7}"#] {
            assert!(error(nonsense).contains("makes no sense"), "{nonsense}");
        }
    }

    #[test]
    fn a_service_is_ready_when_each_of_its_models_is() {
        let ready = |models: &str| {
            let answer = format!(r#"{{"schema": 2, "models": {models}}}"#);
            Stats::parse(answer.as_bytes()).unwrap().is_ready()
        };
        assert!(ready(
            r#"{"a": {"health": "ready"}, "b": {"health": "ready"}}"#
        ));
        assert!(!ready(
            r#"{"a": {"health": "ready"}, "b": {"health": "new"}}"#
        ));
        assert!(!ready(r#"{"a": {"health": null}}"#));
        assert!(!ready("null"));
    }

    #[test]
    fn endings_are_told_apart_those_included_that_are_not_known_yet() {
        let requests =
            r#"{"accepted": 20, "ok": 9, "cancelled": 3, "timeout": 2, "something_new": 1}"#;
        let answer = format!(
            r#"{{"schema": 2, "total": {{"requests": {requests}, "refused": {{"a": 1, "b": 2}}}}}}"#
        );
        let total = Stats::parse(answer.as_bytes()).unwrap().total;
        let counts = (total.accepted(), total.failed(), total.refused());
        assert_eq!(counts, (20, 3, 3));
    }
}
