//! `GET /v1/stats` as far as it is shown. Whatever is missing or null is taken for not known.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::Server;
use crate::client;
use crate::error::Error;
use crate::text::Text;

/// The version of the answer that is understood.
const SCHEMA: u64 = 2;

/// The service answers this at once, or something is wrong with it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The whole answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// The service's version.
    pub version: Text,
    /// Since it started.
    pub uptime_seconds: Option<f64>,
    /// What its jobs are confined by.
    pub isolation: Isolation,
    /// What cannot be exceeded.
    pub bounds: Bounds,
    /// The process that answered.
    pub supervisor: Supervisor,
    /// The sums of all models.
    pub total: Activity,
    /// By their names.
    pub models: BTreeMap<Text, Model>,
    /// Requests that have a job.
    pub jobs: Vec<Job>,
    /// Those who have requests here now.
    pub clients: Vec<Client>,
}

/// What jobs are confined by.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Isolation {
    /// Of models that have none of their own.
    pub mode: Text,
    /// Whether each job has a cgroup of its own.
    pub confined: Option<bool>,
    /// What weakens it.
    pub warnings: Vec<Text>,
}

/// What cannot be exceeded.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// Jobs at once.
    pub max_running: Option<u64>,
    /// Requests that wait.
    pub max_queued: Option<u64>,
    /// Limits of all jobs together.
    pub memory_budget_bytes: Option<u64>,
}

/// The process that answered.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Supervisor {
    /// Its process id.
    pub pid: Option<i64>,
    /// All its memory.
    pub rss_bytes: Option<u64>,
    /// What of it is its own.
    pub anon_bytes: Option<u64>,
    /// CPU time since it started.
    pub cpu_seconds: Option<f64>,
    /// Number of its threads.
    pub threads: Option<u64>,
    /// Number of its open descriptors.
    pub descriptors: Option<u64>,
    /// Clients that are connected.
    pub connections: Option<u64>,
}

/// What is done and was done.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Activity {
    /// Requests that wait for a job.
    pub queued: u64,
    /// Requests that have one.
    pub running: u64,
    /// Jobs that wait for a request.
    pub spares: u64,
    /// Limits of all jobs together.
    pub memory_committed_bytes: Option<u64>,
    /// How many were accepted, and how they ended.
    pub requests: BTreeMap<Text, u64>,
    /// How many were not, and why.
    pub refused: BTreeMap<Text, u64>,
}

/// One model.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Model {
    /// Other names for it.
    pub aliases: Vec<Text>,
    /// Its engine.
    pub engine: Text,
    /// What serves its requests.
    pub mode: Text,
    /// Whether it can be asked for.
    pub health: Text,
    /// Why not.
    pub reason: Option<Text>,
    /// Of one job.
    pub memory_limit_bytes: Option<u64>,
    /// The most that one had for a request; 0 is not known.
    pub job_memory_peak_bytes: u64,
    /// What its jobs are forked from.
    pub zygotes: Vec<Zygote>,
    /// What it does and did.
    #[serde(flatten)]
    pub activity: Activity,
}

/// What a model's jobs are forked from.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Zygote {
    /// Its process id.
    pub pid: Option<i64>,
    /// What its cgroup counts.
    pub memory_bytes: Option<u64>,
    /// All its memory, the model's pages included; often hidden from the service.
    pub rss_bytes: Option<u64>,
    /// The same, where what is shared counts by its share.
    pub pss_bytes: Option<u64>,
    /// Jobs that it forked.
    pub forks: u64,
    /// Since it started.
    pub age_seconds: Option<f64>,
}

/// A request that has a job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Job {
    /// Its number since the service started.
    pub id: u64,
    /// As in the answer's header.
    pub request_id: Text,
    /// Which model it asked for.
    pub model: Text,
    /// Whose it is.
    pub uid: Option<u64>,
    /// The process that serves it.
    pub pid: Option<i64>,
    /// Since it has the job.
    pub age_seconds: Option<f64>,
    /// How far it is.
    pub stage: Text,
    /// Audio read so far.
    pub audio_seconds: Option<f64>,
    /// Memory now.
    pub memory_bytes: Option<u64>,
    /// The most that it had.
    pub memory_peak_bytes: Option<u64>,
    /// The most that it may have.
    pub memory_limit_bytes: Option<u64>,
    /// CPU time so far.
    pub cpu_seconds: Option<f64>,
}

/// Somebody who has requests here now.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Client {
    /// Who; nobody in particular over TCP.
    pub uid: Option<u64>,
    /// Requests that have a job.
    pub running: u64,
    /// Requests that wait for one.
    pub queued: u64,
    /// Caps of its own, 0 for none.
    pub max_running: u64,
    /// Likewise.
    pub max_queued: u64,
}

impl Activity {
    /// Requests that were taken on.
    pub fn accepted(&self) -> u64 {
        sum(&self.requests, |name| name == "accepted")
    }

    /// Requests that ended in an error; those aside whose client was gone.
    pub fn failed(&self) -> u64 {
        sum(&self.requests, |name| {
            !["accepted", "ok", "cancelled"].contains(&name)
        })
    }

    /// Requests that were turned away at once.
    pub fn refused(&self) -> u64 {
        sum(&self.refused, |_| true)
    }
}

fn sum(counts: &BTreeMap<Text, u64>, which: impl Fn(&str) -> bool) -> u64 {
    let chosen = counts.iter().filter(|(name, _)| which(name.as_ref()));
    chosen.fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

impl Model {
    /// Whether it can be asked for.
    pub fn is_ready(&self) -> bool {
        self.health.as_ref() == "ready"
    }
}

impl Stats {
    /// Reads an answer.
    ///
    /// # Errors
    ///
    /// It is of another schema, or makes no sense.
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

    /// Whether every model can be asked for.
    pub fn is_ready(&self) -> bool {
        !self.models.is_empty() && self.models.values().all(Model::is_ready)
    }
}

/// Null and missing are the same here, and defaults are for what is missing only.
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

/// Asks the service.
///
/// # Errors
///
/// There is no answer, or one that says no.
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
