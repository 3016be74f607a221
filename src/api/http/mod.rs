//! OpenAI's transcription API over HTTP/1.1.

mod admission;
mod connection;
mod cost;
mod error;
mod fit;
#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used)]
pub(crate) mod fuzzing;
mod health;
mod linger;
mod metrics;
mod models;
mod openapi;
mod options;
mod patience;
mod render;
mod server;
mod stats;
mod streaming;
mod transcriptions;
mod unparsed;
mod upload;

use std::{path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::Request,
    http::HeaderValue,
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
    routing::{MethodRouter, get, post},
};

pub use server::serve;

use self::error::ApiError;
use crate::{api::Connections, dispatch::Dispatcher};

/// What every handler can reach.
#[derive(Clone, Debug)]
pub struct App {
    /// Runs the transcriptions.
    pub dispatcher: Dispatcher,
    /// Folder of the unlinked files that large uploads become, where the configuration names none.
    pub spool_directory: Arc<PathBuf>,
    /// The clients' connections.
    pub connections: Connections,
}

/// Name of a request, made anew for each and told in the answer's `x-request-id`.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

/// All pages.
fn pages() -> [(&'static str, MethodRouter<App>); 9] {
    [
        ("/v1/audio/transcriptions", post(transcriptions::transcribe)),
        ("/v1/audio/translations", post(transcriptions::translate)),
        ("/v1/models", get(models::list)),
        ("/v1/models/{model}", get(models::show)),
        ("/v1/stats", get(stats::show)),
        ("/metrics", get(metrics::show)),
        (admission::OPEN, get(health::alive)),
        ("/readyz", get(health::ready)),
        ("/openapi.json", get(openapi::show)),
    ]
}

/// All routes.
pub fn router(app: App) -> Router {
    let pages = pages().into_iter();
    pages
        .fold(Router::new(), |router, (path, page)| {
            router.route(path, page.fallback(wrong_method))
        })
        .fallback(async || ApiError::no_route())
        .layer(from_fn_with_state(app.clone(), admission::admit))
        .layer(from_fn(identify))
        .with_state(app)
}

async fn wrong_method() -> ApiError {
    ApiError::wrong_method()
}

/// Give every request its id.
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
