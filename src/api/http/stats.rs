//! `GET /v1/stats`: current activity and totals since the start, as JSON.

use axum::{Extension, Json, extract::State};

use super::App;
use crate::{api::Peer, dispatch::snapshot::Snapshot};

/// Return all figures as JSON.
pub(super) async fn show(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
) -> Json<Snapshot> {
    Json(app.dispatcher.snapshot(app.connected(), &peer.client()))
}
