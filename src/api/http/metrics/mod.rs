//! `GET /metrics`: the figures of `/v1/stats` for Prometheus.

mod family;

use axum::{
    extract::State,
    http::{HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use prometheus::{TEXT_FORMAT, TextEncoder};

use self::family::Family;
use super::App;
use crate::api::error::ApiError;
use crate::dispatch::{
    Client, Latency,
    snapshot::{HEALTH, ModelState, Snapshot, ZygoteState},
};

/// Return all figures in Prometheus's text format.
pub(super) async fn show(State(app): State<App>) -> Result<Response, ApiError> {
    let snapshot = app.dispatcher.snapshot(app.connected(), &Client::Service);
    let mut all = service(&snapshot);
    all.extend(models(&snapshot));
    all.extend(latencies(&snapshot));
    all.push(refused(&snapshot));
    all.push(clients(&snapshot));
    let text = encode(all)?;
    let format = HeaderValue::from_static(TEXT_FORMAT);
    Ok(([(CONTENT_TYPE, format)], text).into_response())
}

fn encode(all: Vec<Family>) -> Result<String, ApiError> {
    let families: Vec<_> = all.into_iter().filter_map(Family::finish).collect();
    let text = TextEncoder::new().encode_to_string(&families);
    text.map_err(|error| ApiError::internal(format!("the metrics cannot be written: {error}")))
}

/// Metrics of the whole service. Unknown values are left out.
fn service(snapshot: &Snapshot) -> Vec<Family> {
    let Snapshot {
        isolation,
        bounds,
        supervisor,
        ..
    } = snapshot;
    let number = |number: u64| Some(number as f64);
    let count = |count: usize| Some(count as f64);
    let gauges = [
        (
            "uptime_seconds",
            "Time since the service was started.",
            Some(snapshot.uptime.as_secs_f64()),
        ),
        (
            "confined",
            "Whether each job is confined by a cgroup of its own (1) or not (0).",
            number(isolation.confined.into()),
        ),
        (
            "isolation_warnings",
            "How many things weaken the isolation; /v1/stats names them.",
            count(isolation.warnings.len()),
        ),
        (
            "running_max",
            "Requests that may have a job at once.",
            count(bounds.max_running),
        ),
        (
            "queued_max",
            "Requests that may wait for a job.",
            count(bounds.max_queued),
        ),
        (
            "memory_budget_bytes",
            "What the memory limits of all jobs may add up to.",
            bounds.memory_budget_bytes.and_then(number),
        ),
        (
            "supervisor_resident_memory_bytes",
            "Resident memory of the service's own process.",
            supervisor.rss_bytes.and_then(number),
        ),
        (
            "supervisor_anonymous_memory_bytes",
            "Resident memory of the service's own process that is no file's.",
            supervisor.anon_bytes.and_then(number),
        ),
        (
            "supervisor_threads",
            "Threads of the service's own process.",
            supervisor.threads.and_then(number),
        ),
        (
            "supervisor_open_fds",
            "Open descriptors of the service's own process.",
            supervisor.descriptors.and_then(count),
        ),
        (
            "connections",
            "Clients' connections.",
            count(supervisor.connections),
        ),
        (
            "sessions",
            "Sessions of live audio that are open.",
            count(supervisor.sessions.open),
        ),
    ];
    let mut info = Family::gauge("info", "Always 1; the labels tell version and isolation.");
    info.add(
        &[("version", snapshot.version), ("mode", isolation.mode)],
        1.0,
    );
    let mut cpu = Family::counter(
        "supervisor_cpu_seconds_total",
        "CPU time of the service's own process.",
    );
    if let Some(time) = supervisor.cpu {
        cpu.add(&[], time.as_secs_f64());
    }
    let mut sessions = Family::counter("sessions_total", "Sessions of live audio since the start.");
    sessions.add(&[], supervisor.sessions.begun as f64);
    let mut turns = Family::counter("session_turns_total", "Turns in sessions of live audio.");
    turns.add(&[], supervisor.sessions.turns as f64);
    let mut all = vec![info, cpu, sessions, turns];
    all.extend(gauges.into_iter().filter_map(|(name, help, value)| {
        let mut family = Family::gauge(name, help);
        family.add(&[], value?);
        Some(family)
    }));
    all
}

/// Receives a value of one model, with its labels except the model's name.
type Take<'a> = dyn FnMut(&[(&str, &str)], f64) + 'a;

/// Metrics of each model. They are not summed over models, because Prometheus can do that.
fn models(snapshot: &Snapshot) -> Vec<Family> {
    let tell = |(mut family, tell): (Family, Tell)| {
        for (name, model) in &snapshot.models {
            tell(model, &mut |labels, value| {
                let mut all = vec![("model", name.as_str())];
                all.extend(labels);
                family.add(&all, value);
            });
        }
        family
    };
    let all = of_processes().into_iter().chain(of_requests());
    all.map(tell).collect()
}

/// Reads the values of one metric from the state of a model.
type Tell = fn(&ModelState, &mut Take<'_>);

/// Metrics of a model and its processes.
fn of_processes() -> [(Family, Tell); 9] {
    [
        (
            Family::gauge(
                "model_info",
                "Always 1; the labels tell the model's engine and mode.",
            ),
            |model, take| take(&[("engine", model.engine), ("mode", model.mode)], 1.0),
        ),
        (
            Family::gauge(
                "model_health",
                "1 for the state that the model is in, 0 for the others.",
            ),
            |model, take| {
                for state in HEALTH {
                    take(&[("state", state)], f64::from(model.health == state));
                }
            },
        ),
        (
            Family::gauge("job_memory_limit_bytes", "Memory limit of one job."),
            |model, take| take(&[], model.memory_limit_bytes as f64),
        ),
        (
            Family::gauge("zygotes", "Zygotes: two while one is replaced."),
            |model, take| take(&[], model.zygotes.len() as f64),
        ),
        (
            Family::gauge(
                "zygote_cgroup_memory_bytes",
                "Memory that the zygotes' cgroups count, page cache included.",
            ),
            |model, take| sum(model, take, |zygote| zygote.memory_bytes),
        ),
        (
            Family::gauge(
                "zygote_resident_memory_bytes",
                "Resident memory of the zygotes, the model's pages included.",
            ),
            |model, take| sum(model, take, |zygote| zygote.rss_bytes),
        ),
        (
            Family::gauge("spares", "Jobs that wait for a request."),
            |model, take| take(&[], model.activity.spares as f64),
        ),
        (
            Family::gauge(
                "memory_committed_bytes",
                "Memory limits of running and spare jobs together.",
            ),
            |model, take| take(&[], model.activity.memory_committed_bytes as f64),
        ),
        (
            Family::counter(
                "lifecycle_events_total",
                "What happened to the model's processes.",
            ),
            |model, take| {
                for (event, count) in model.activity.lifecycle.iter() {
                    take(&[("event", event)], *count as f64);
                }
            },
        ),
    ]
}

/// Metrics of a model's requests.
fn of_requests() -> [(Family, Tell); 6] {
    [
        (
            Family::gauge("requests_queued", "Requests that wait for a job."),
            |model, take| take(&[], model.activity.queued as f64),
        ),
        (
            Family::gauge("requests_running", "Requests that have a job."),
            |model, take| take(&[], model.activity.running as f64),
        ),
        (
            Family::counter("requests_accepted_total", "Requests that were accepted."),
            |model, take| take(&[], model.activity.requests.accepted as f64),
        ),
        (
            Family::counter(
                "requests_total",
                "Requests that were accepted and have ended, by how they ended.",
            ),
            |model, take| {
                for (outcome, count) in model.activity.requests.ended.iter() {
                    take(&[("outcome", outcome)], *count as f64);
                }
            },
        ),
        (
            Family::counter(
                "audio_seconds_total",
                "Length of the recordings that were transcribed.",
            ),
            |model, take| take(&[], model.activity.audio.as_secs_f64()),
        ),
        (
            Family::counter("cpu_seconds_total", "CPU time of all requests' jobs."),
            |model, take| take(&[], model.activity.cpu.as_secs_f64()),
        ),
    ]
}

/// Sum over the model's zygotes, if every zygote has the value.
fn sum(model: &ModelState, take: &mut Take<'_>, value: fn(&ZygoteState) -> Option<u64>) {
    let values: Option<Vec<u64>> = model.zygotes.iter().map(value).collect();
    if let Some(values) = values {
        take(&[], values.iter().sum::<u64>() as f64);
    }
}

fn refused(snapshot: &Snapshot) -> Family {
    let help = "Requests that were turned away at once, by the reason; without a model: before it was known.";
    let mut family = Family::counter("requests_refused_total", help);
    let models = snapshot.models.iter();
    let known = models.map(|(name, model)| (name.as_str(), &model.activity.refused));
    for (model, refused) in known.chain([("", &snapshot.refused_before_upload)]) {
        for (reason, count) in refused.iter() {
            family.add(&[("model", model), ("reason", reason)], *count as f64);
        }
    }
    family
}

fn latencies(snapshot: &Snapshot) -> Vec<Family> {
    let all = [
        (
            Latency::Upload,
            "request_upload_seconds",
            "From a request's head until all of its recording was there.",
        ),
        (
            Latency::Queue,
            "request_queue_seconds",
            "How long requests waited for their job.",
        ),
        (
            Latency::Start,
            "job_start_seconds",
            "From the wish for a job until it was ready.",
        ),
        (
            Latency::Decode,
            "request_decode_seconds",
            "Decoding, in requests that ended well.",
        ),
        (
            Latency::Transcribe,
            "request_transcribe_seconds",
            "The engine's work, in requests that ended well.",
        ),
        (
            Latency::HandOver,
            "request_hand_over_seconds",
            "What jobs took beside decoding and the engine, in requests that ended well.",
        ),
        (
            Latency::Exit,
            "job_exit_seconds",
            "From the answer, or from the job's being killed, until its slot was free.",
        ),
    ];
    all.into_iter()
        .map(|(latency, name, help)| {
            let mut family = Family::histogram(name, help);
            for (model, state) in &snapshot.models {
                if let Some(times) = state.activity.latency.get(latency) {
                    family.add_times(&[("model", model)], times);
                }
            }
            family
        })
        .collect()
}

fn clients(snapshot: &Snapshot) -> Family {
    let help = "Requests of users who have some here at this moment; `key:NAME` for a key, `network` without.";
    let mut family = Family::gauge("client_requests", help);
    for client in &snapshot.clients {
        let user = match (client.uid, &client.key) {
            (Some(uid), _) => uid.to_string(),
            (None, Some(name)) => format!("key:{name}"),
            (None, None) => "network".into(),
        };
        for (state, count) in [("running", client.running), ("queued", client.queued)] {
            family.add(&[("user", &user), ("state", state)], count as f64);
        }
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_metrics_without_values_left_out() {
        let mut family = Family::gauge("spares", "With \\ and\na new line.");
        family.add(&[("model", "a\"b\\c\nd}")], 1.5);
        let text = encode(vec![Family::counter("nothing_total", "Nothing."), family]);
        let expected = "# HELP stt_isolated_spares With \\\\ and\\na new line.\n\
                        # TYPE stt_isolated_spares gauge\n\
                        stt_isolated_spares{model=\"a\\\"b\\\\c\\nd}\"} 1.5\n";
        assert_eq!(text.unwrap(), expected);
    }
}
