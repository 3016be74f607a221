//! Who may come in, before anything of his request's body is read.

use axum::{
    Extension,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};

use super::App;
use crate::api::Peer;
use crate::api::error::ApiError;

/// The page that tells everybody whether the daemon lives.
pub(super) const OPEN: &str = "/healthz";

/// Let the request pass with its client's share of the service, or refuse it.
pub(super) async fn admit(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    match peer.share(&app.dispatcher.config().clients) {
        Some(share) => {
            request.extensions_mut().insert(share);
        }
        None if request.uri().path() == OPEN => {}
        None => return Err(ApiError::forbidden(&peer)),
    }
    Ok(next.run(request).await)
}
