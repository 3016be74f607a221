//! The pages that take a recording: one upload, one job, one answer.

use std::time::Instant;

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};

use super::{
    App, RequestId, chorus::Chorus, cost::Cost, fit, options::Page, render::Shape, streaming,
    upload,
};
use crate::{
    api::{error::ApiError, word::Word},
    config::Share,
    dispatch::{self, Client},
    request::Refusal,
    transcript::Transcript,
};

/// Where a request comes from: its id, its client, and the client's share of the service.
type Origin = (Extension<RequestId>, Extension<Client>, Extension<Share>);

/// The handler of a page that takes a recording.
pub(super) fn page(page: Page) -> MethodRouter<App> {
    post(
        move |State(app): State<App>, origin: Origin, request: Request| async move {
            serve(page, app, origin, request).await
        },
    )
}

/// Longest name that a client can give its request, in bytes.
const LONGEST_LABEL: usize = 64;

/// The name that the client gave its request, to find it in `/v1/stats` before it has an answer.
/// Any other value of the header is as good as none: OpenAI's service takes longer ones.
fn label(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("x-client-request-id")?.to_str().ok()?;
    let fits = |label: &str| (1..=LONGEST_LABEL).contains(&label.len());
    Some(value.to_owned()).filter(|label| fits(label))
}

/// Receive the upload, run the job, and answer. If the client hangs up, the server drops this,
/// which cancels the job.
async fn serve(
    page: Page,
    app: App,
    (Extension(RequestId(request_id)), Extension(client), Extension(share)): Origin,
    request: Request,
) -> Result<Response, ApiError> {
    let start = Instant::now();
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
    // The dispatcher decides again once all has arrived, but a client should not send a gigabyte in
    // vain.
    app.dispatcher
        .announce(&request_id, &client, share)
        .map_err(|refusal| ApiError::refused(&refusal, "").unread())?;
    let directory = &config.http.spool_folder();
    let upload = tokio::select! {
        upload = upload::receive(page, &head.uri, &head.headers, body, &config.http, directory) => upload?,
        () = app.dispatcher.aborted() => {
            return Err(ApiError::refused(&Refusal::ShuttingDown, ""));
        }
    };
    let took = start.elapsed();
    let name = (upload.options.model.clone()).unwrap_or_else(|| config.default_model.clone());
    let (name, fault) = config.split_fault(name);
    let model = config
        .model(&name)
        .ok_or_else(|| ApiError::model_not_found(&name, &config))?;
    let mut options = upload.options;
    let warnings = fit::fit(&mut options, &name, model)?;
    let shape = Shape::of(&options, &model.engine);
    let stream = options.stream;
    let mut ask = options.ask;
    ask.fault = fault;
    let request = dispatch::Submission {
        model: name.clone(),
        ask,
        own_limits: options.own_limits,
        recording: upload.recording,
        upload: Some(took),
        request_id,
        label: label(&head.headers),
        client,
        share,
        follows: false,
    };
    let mut chorus = Chorus::begin(&app.dispatcher, request, options.speakers.names)?;
    if stream {
        let way = streaming::Way {
            mode: model.mode,
            with_logprobs: shape.logprobs,
            with_speakers: shape.has_speakers(),
            language: shape.language,
            warnings,
            closed: head.extensions.get().cloned().unwrap_or_default(),
        };
        return Ok(streaming::answer(chorus, way).await);
    }
    let mut transcript = Transcript::default();
    let report = loop {
        match chorus.next().await {
            Word::Segment(segment) => transcript.segments.push(shape.keep(segment)),
            // Nobody sees the words before the whole answer.
            Word::Hypothesis(_) => {}
            Word::Finished(report) => break report,
            Word::Refused(error) => return Err(error),
        }
    };
    transcript.duration = report.figures.audio;
    transcript.languages = report.figures.languages.clone();
    let cost = Cost {
        report: &report,
        mode: model.mode,
        warnings: &warnings,
        shares: &chorus.shares(),
    };
    let mut response = match chorus.error(&report) {
        Some(error) => error.into_response(),
        None => shape.render(&transcript, cost.object()),
    };
    cost.tell(response.headers_mut());
    Ok(response)
}
