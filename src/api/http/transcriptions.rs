//! `POST /v1/audio/transcriptions`: one upload, one job, one answer.

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{
    App, RequestId,
    error::ApiError,
    upload::{self, Format, Upload},
};
use crate::{
    api::Peer,
    config::{MIN_JOB_MEMORY, Mode, Model, Share},
    dispatch::{self, Event, Refusal, Report},
    isolation::JobRequest,
    transcript::Transcript,
};

/// Take the upload, run it, and answer. Dropped by the server when the client hangs up, which cancels the job.
pub(super) async fn transcribe(
    State(app): State<App>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    Extension(peer): Extension<Peer>,
    Extension(share): Extension<Share>,
    request: Request,
) -> Result<Response, ApiError> {
    let config = app.dispatcher.config();
    let (head, body) = request.into_parts();
    let announced = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|size| {
        size > config
            .http
            .max_upload
            .bytes()
            .saturating_add(upload::ENVELOPE.bytes())
    }) {
        return Err(ApiError::too_large(config.http.max_upload));
    }
    // Asked again when all has arrived, but no gigabyte need arrive for nothing.
    app.dispatcher
        .announce(&request_id, peer.uid(), share)
        .map_err(|refusal| ApiError::refused(&refusal, "").unread())?;
    let directory = match config.http.spool_directory.as_os_str().is_empty() {
        true => app.spool_directory.as_path(),
        false => &config.http.spool_directory,
    };
    let upload = tokio::select! {
        upload = upload::receive(&head.headers, body, &config.http, directory) => upload?,
        () = app.dispatcher.aborted() => return Err(shutting_down()),
    };
    let name = upload
        .model
        .clone()
        .unwrap_or_else(|| config.default_model.clone());
    #[cfg(feature = "fault-engine")]
    let (name, fault) = config.split_fault(name);
    #[cfg(not(feature = "fault-engine"))]
    let fault = None;
    let model = config
        .model(&name)
        .ok_or_else(|| ApiError::model_not_found(&name))?;
    if let Some(language) = &upload.language
        && !model.engine.speaks(language)
    {
        let message = format!("the model `{name}` does not know the language `{language}`");
        return Err(ApiError::parameter("language", message));
    }
    only_lower(&upload, model)?;
    let format = upload.format;
    let mut request = job_request(upload, name.clone(), request_id, &peer, share);
    request.job.fault = fault;
    let mut ticket = app
        .dispatcher
        .submit(request)
        .map_err(|refusal| ApiError::refused(&refusal, &name))?;
    let mut transcript = Transcript::default();
    let report = loop {
        match ticket.next().await {
            Some(Event::Started) => {}
            Some(Event::Segment(segment)) => transcript.segments.push(segment),
            Some(Event::Finished(report)) => break report,
            Some(Event::Refused(refusal)) => return Err(ApiError::refused(&refusal, &name)),
            // The scheduler let go of the request without a word: it is going down.
            None => return Err(shutting_down()),
        }
    };
    transcript.duration = report.figures.audio;
    let mut response = match ApiError::of_outcome(&report.outcome) {
        Some(error) => error.into_response(),
        None => render(&transcript, format),
    };
    figures(response.headers_mut(), &report, model.mode);
    Ok(response)
}

fn shutting_down() -> ApiError {
    ApiError::refused(&Refusal::ShuttingDown, "")
}

/// A client may be held to less than the model allows, never to more, and never to what cannot work.
fn only_lower(upload: &Upload, model: &Model) -> Result<(), ApiError> {
    let limits = &model.limits;
    if let Some(memory) = upload.lower.memory
        && !(MIN_JOB_MEMORY..=limits.memory).contains(&memory)
    {
        let message = format!(
            "memory_limit must be between {MIN_JOB_MEMORY} and the model's own limit of {}",
            limits.memory
        );
        return Err(ApiError::parameter("memory_limit", message));
    }
    Ok(())
}

fn job_request(
    upload: Upload,
    model: String,
    request_id: String,
    peer: &Peer,
    share: Share,
) -> dispatch::Request {
    dispatch::Request {
        model,
        job: JobRequest {
            id: 0,
            language: upload.language,
            extension: upload.extension,
            media_type: upload.media_type,
            channel: None,
            vad: true,
            max_audio: std::time::Duration::ZERO,
            fault: None,
        },
        lower: upload.lower,
        recording: upload.recording,
        request_id,
        uid: peer.uid(),
        share,
    }
}

fn render(transcript: &Transcript, format: Format) -> Response {
    let text = transcript.text();
    match format {
        Format::Json => Json(json!({"text": text})).into_response(),
        Format::Text => {
            let plain = HeaderValue::from_static("text/plain; charset=utf-8");
            ([(header::CONTENT_TYPE, plain)], format!("{text}\n")).into_response()
        }
    }
}

/// What the request cost, in headers apart from OpenAI's.
fn figures(headers: &mut HeaderMap, report: &Report, mode: Mode) {
    let mut number = |name: &'static str, value: u64| {
        headers.insert(name, HeaderValue::from(value));
    };
    let milliseconds =
        |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
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
    let confined = match report.usage.limit {
        Some(_) => "cgroup",
        None => "unconfined",
    };
    if let Ok(value) = HeaderValue::from_str(&format!("{}; {confined}", mode.name())) {
        headers.insert("x-stt-isolation", value);
    }
}
