//! `GET /v1/stats`: what the service does at this moment, and what its jobs are confined by.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::App;
use crate::dispatch::{Client, ClientCounts};

/// Version of the schema: raised with every change that could break a reader.
const SCHEMA: u32 = 1;

/// All numbers as JSON.
pub(super) async fn show(State(app): State<App>) -> Json<Value> {
    let dispatcher = &app.dispatcher;
    let counts = dispatcher.counts();
    let clients = dispatcher.clients();
    let clients = clients.iter().filter(|c| c.client != Client::Service);
    let clients: Vec<Value> = clients.map(client).collect();
    Json(json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "isolation": {
            "mode": dispatcher.config().isolation.mode.name(),
            "confined": dispatcher.is_confined(),
            "kernel": dispatcher.probe(),
        },
        "jobs": {
            "running": counts.running,
            "queued": counts.queued,
            "spares": counts.spares,
            "finished": counts.finished,
        },
        "clients": clients,
    }))
}

/// Who has requests here, and the caps that hold for them.
fn client(counts: &ClientCounts) -> Value {
    json!({
        "uid": counts.client.uid(),
        "running": counts.running,
        "queued": counts.queued,
        "max_running": counts.share.max_running,
        "max_queued": counts.share.max_queued,
    })
}
