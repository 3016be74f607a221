//! OpenAI's transcription API over HTTP/1.1.

mod admission;
mod asr;
mod balanced;
mod chorus;
mod connection;
mod cost;
mod fit;
mod foreign;
#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used)]
pub(crate) mod fuzzing;
mod half_closed;
mod health;
mod merge;
mod metrics;
mod models;
mod openapi;
mod options;
mod parts;
pub(crate) mod realtime;
mod render;
mod stats;
mod strangers;
mod streaming;
mod transcriptions;
mod unparsed;
mod upload;

use axum::{
    Router,
    extract::Request,
    http::HeaderValue,
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
    routing::{MethodRouter, get},
};
use tokio::sync::watch;

use self::{options::Page, strangers::Strangers, transcriptions::page};
use super::{App, Listener, error::ApiError, server};

/// Id of a request. Each request gets a new one, and the answer carries it as `x-request-id`.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

/// Serve `listener` until `stopping` turns true, then finish the current requests. Dropping the
/// future ends them.
pub async fn serve(listener: Listener, app: App, router: Router, stopping: watch::Receiver<bool>) {
    let stop = stopping.clone();
    server::accept(listener, &app, stopping, |connection, peer| {
        let config = app.dispatcher.config();
        let (patience, taking) = (config.http.header_timeout, config.http.body_timeout);
        connection::serve(
            connection,
            peer,
            router.clone(),
            app.clone(),
            (patience, taking),
            stop.clone(),
        )
    })
    .await;
}

/// All pages with their methods.
fn pages() -> [(&'static str, MethodRouter<App>); 12] {
    [
        ("/v1/audio/transcriptions", page(Page::Transcriptions)),
        ("/v1/audio/translations", page(Page::Translations)),
        ("/asr", page(Page::Asr)),
        ("/detect-language", page(Page::DetectLanguage)),
        (realtime::PATH, get(realtime::open)),
        ("/v1/models", get(models::list)),
        ("/v1/models/{model}", get(models::show)),
        ("/v1/stats", get(stats::show)),
        ("/metrics", get(metrics::show)),
        (admission::ALIVE, get(health::alive)),
        (admission::READY, get(health::ready)),
        ("/openapi.json", get(openapi::show)),
    ]
}

/// The router of all pages, with the layers around them.
pub fn router(app: App) -> Router {
    let pages = pages().into_iter();
    let strangers = Strangers::default();
    pages
        .fold(Router::new(), |router, (path, page)| {
            router.route(path, page.fallback(wrong_method))
        })
        .fallback(async || ApiError::no_route())
        .layer(from_fn_with_state(
            (app.clone(), strangers),
            admission::admit,
        ))
        .layer(from_fn_with_state(app.clone(), foreign::keep_out))
        .layer(from_fn(balanced::translate))
        .layer(from_fn(identify))
        .with_state(app)
}

async fn wrong_method() -> ApiError {
    ApiError::wrong_method()
}

/// Give every request an id.
async fn identify(mut request: Request, next: Next) -> Response {
    let id = uuid::Uuid::new_v4().to_string();
    let value = HeaderValue::from_str(&id);
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).await;
    if let Ok(value) = value {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}
