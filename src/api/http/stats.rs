//! `GET /v1/stats`: current activity and totals since the start, as JSON.

use axum::{Json, extract::State};

use super::App;
use crate::dispatch::snapshot::Snapshot;

/// Return all figures as JSON.
pub(super) async fn show(State(app): State<App>) -> Json<Snapshot> {
    Json(app.dispatcher.snapshot(app.connections.count()))
}
