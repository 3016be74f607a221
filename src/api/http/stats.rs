//! `GET /v1/stats`: what the service does at this moment and has done since its start, as JSON.

use axum::{Json, extract::State};

use super::App;
use crate::dispatch::snapshot::Snapshot;

/// All numbers as JSON.
pub(super) async fn show(State(app): State<App>) -> Json<Snapshot> {
    Json(app.dispatcher.snapshot(app.connections.count()))
}
