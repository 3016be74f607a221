//! Decides which clients may come in, before any request body is read.

use axum::{
    Extension,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};

use super::App;
use crate::api::Peer;
use crate::api::error::ApiError;

/// Health page, which is open to every client.
pub(super) const OPEN: &str = "/healthz";

/// Attach the client's share of the service to the request, or refuse the request.
pub(super) async fn admit(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    match peer.share(&app.dispatcher.config().clients) {
        Some(share) => {
            request.extensions_mut().insert(share);
            request.extensions_mut().insert(peer.client());
        }
        None if request.uri().path() == OPEN => {}
        None => return Err(ApiError::forbidden(&peer)),
    }
    Ok(next.run(request).await)
}
