//! Reports a request's cost in addition to OpenAI's answer: in headers, and in objects named `stt`.

use axum::http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::chorus::Share;
use crate::{config::Mode, dispatch::Report, units::milliseconds};

/// Figures of a finished request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost<'a> {
    pub(super) report: &'a Report,
    pub(super) mode: Mode,
    /// Parts of the request that were left out; the job's own warnings follow.
    pub(super) warnings: &'a [String],
    /// The parts of several jobs in it; none if there was one job for all.
    pub(super) shares: &'a [Share],
}

impl Cost<'_> {
    /// Add the headers `x-stt-…`.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let report = self.report;
        let mut number = |name: &'static str, value: u64| {
            headers.insert(name, HeaderValue::from(value));
        };
        number("x-stt-peak-bytes", report.usage.peak);
        number("x-stt-anon-bytes", report.usage.anonymous);
        number("x-stt-cpu-ms", milliseconds(report.usage.cpu));
        number("x-stt-queue-ms", milliseconds(report.queued));
        number("x-stt-wall-ms", milliseconds(report.wall));
        number("x-stt-audio-ms", milliseconds(report.figures.audio));
        number("x-stt-pid", u64::from(report.pid.unsigned_abs()));
        if let Some(limit) = report.usage.limit {
            number("x-stt-memory-limit-bytes", limit);
        }
        if let Ok(value) = HeaderValue::from_str(&self.isolation()) {
            headers.insert("x-stt-isolation", value);
        }
        for warning in self.warnings() {
            // A header may not have other characters.
            let printable = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
            let warning: String = warning.chars().map(printable).collect();
            if let Ok(value) = HeaderValue::from_str(&warning) {
                headers.append("x-stt-warnings", value);
            }
        }
    }

    /// The object `stt`, with the same figures.
    pub(super) fn object(&self) -> Value {
        let mut object = figures(self.report);
        object["audio_ms"] = milliseconds(self.report.figures.audio).into();
        object["isolation"] = self.isolation().into();
        object["warnings"] = self.warnings().cloned().collect();
        if !self.shares.is_empty() {
            let channels = self.shares.iter().map(|share| {
                let mut object = figures(&share.report);
                object["channel"] = share.channel.into();
                object
            });
            object["channels"] = channels.collect();
        }
        object
    }

    fn warnings(&self) -> impl Iterator<Item = &String> {
        self.warnings.iter().chain(&self.report.figures.warnings)
    }

    fn isolation(&self) -> String {
        let confined = match self.report.usage.limit {
            Some(_) => "cgroup",
            None => "unconfined",
        };
        format!("{}; {confined}", self.mode.name())
    }
}

/// The figures of one job, or of several together.
pub(super) fn figures(report: &Report) -> Value {
    json!({
        "peak_bytes": report.usage.peak,
        "anon_bytes": report.usage.anonymous,
        "memory_limit_bytes": report.usage.limit,
        "cpu_ms": milliseconds(report.usage.cpu),
        "queue_ms": milliseconds(report.queued),
        "wall_ms": milliseconds(report.wall),
        "pid": report.pid,
    })
}
