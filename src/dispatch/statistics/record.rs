//! The journal's entries: one for each request that was accepted and has ended, and one for each
//! that was turned away.

use std::time::Duration;

use tracing::Level;

use super::open::{OpenRequest, Worker};
use crate::{
    dispatch::request::{client::Client, events::Report},
    events,
    request::{Code, Group, Outcome, Refusal},
    units::milliseconds,
};

/// A request had a job and has ended.
pub(super) fn served(open: &OpenRequest, report: &Report, worker: &Worker) {
    let code = report.outcome.code();
    let call = match &report.outcome {
        Outcome::Violation { call } => call.as_deref(),
        _ => None,
    };
    macro_rules! tell {
        ($kind:expr, $level:expr) => {
            tracing::event!(
                target: $kind,
                $level,
                request_id = open.request_id(),
                uid = open.client().uid(),
                key = open.client().key(),
                model = open.model(),
                mode = worker.mode.name(),
                outcome = code.word(),
                pid = report.pid,
                slot = worker.slot,
                audio_ms = milliseconds(report.figures.audio),
                wall_ms = milliseconds(report.wall),
                queue_ms = milliseconds(report.queued),
                cpu_ms = milliseconds(report.usage.cpu),
                peak_bytes = report.usage.peak,
                anon_bytes = report.usage.anonymous,
                start_anon_bytes = report.usage.began_with,
                limit_bytes = report.usage.limit,
                page_cache_bytes = report.usage.page_cache,
                page_faults = report.usage.page_faults,
                call,
                converted = report.figures.converted.then_some(true),
                "{}",
                summary(report)
            )
        };
    }
    // An ending that is the fault of the recording, or of nobody, is not worth a warning.
    match (code, code.group()) {
        (_, Group::Ok) => tell!(events::REQUEST_OK, Level::INFO),
        (_, Group::Memory) => tell!(events::REQUEST_MEMORY_LIMIT, Level::WARN),
        (Code::WorkerCrashed, _) => tell!(events::REQUEST_CRASHED, Level::WARN),
        (Code::WorkerMisbehaved, _) => tell!(events::REQUEST_MISBEHAVED, Level::WARN),
        (Code::Timeout, _) => tell!(events::REQUEST_TIMEOUT, Level::WARN),
        (_, Group::Recording) => tell!(events::REQUEST_FAILED, Level::INFO),
        (_, Group::Failed) => tell!(events::REQUEST_FAILED, Level::WARN),
        (_, Group::GivenUp) => tell!(events::REQUEST_CANCELLED, Level::INFO),
        (_, Group::Refused) => tell!(events::REQUEST_REFUSED, Level::INFO),
    }
}

/// A request that was accepted has ended without the answer of a job.
pub(super) fn unserved(open: &OpenRequest, code: Code, waited: Duration, reason: &str) {
    macro_rules! tell {
        ($kind:expr) => {
            tracing::info!(
                target: $kind,
                request_id = open.request_id(),
                uid = open.client().uid(),
                key = open.client().key(),
                model = open.model(),
                outcome = code.word(),
                queue_ms = milliseconds(waited),
                "request failed ({}): {reason}",
                code.word()
            )
        };
    }
    match code.group() {
        Group::GivenUp => tell!(events::REQUEST_CANCELLED),
        _ => tell!(events::REQUEST_REFUSED),
    }
}

/// A request was turned away at once; `model` is `None` if it was not known yet.
pub(super) fn refused(request_id: &str, client: &Client, model: Option<&str>, refusal: &Refusal) {
    let outcome = refusal.code().word();
    tracing::info!(
        target: events::REQUEST_REFUSED,
        request_id,
        uid = client.uid(),
        key = client.key(),
        model,
        outcome,
        "request refused ({outcome}): {refusal}"
    );
}

/// The line that a person reads. The fields are for queries.
fn summary(report: &Report) -> String {
    if report.outcome != Outcome::Ok {
        return format!(
            "request failed ({}): {}",
            report.outcome.code().word(),
            report.outcome
        );
    }
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let limit = match report.usage.limit {
        Some(limit) => format!(" of {:.0}", mebibytes(limit)),
        None => String::new(),
    };
    format!(
        "request ok: {:.1} s of audio in {:.2} s, peak {:.1}{limit} MiB",
        report.figures.audio.as_secs_f64(),
        report.wall.as_secs_f64(),
        mebibytes(report.usage.peak),
    )
}
