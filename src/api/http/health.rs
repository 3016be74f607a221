//! `GET /healthz`: the daemon lives. `GET /readyz`: it can transcribe, reported model by model.

use axum::{
    Extension, Json,
    extract::{RawQuery, State},
    http::StatusCode,
    response::IntoResponse,
};
use serde_json::{Map, Value, json};

use super::App;
use crate::{
    config::Share,
    dispatch::{Client, Health},
};

/// Answer 200: a daemon that can answer is alive.
pub(super) async fn alive() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Answer 200 if the last self-test of every model succeeded, else 503 with the reason for each
/// failed model. If new settings of a model could not be applied, it is ready with the old ones and
/// the answer says so.
///
/// Clients that may not ask, over TCP where others have keys, are told only the status.
///
/// With `?room`, also answer 503 while a request of this client would be refused at once. This is
/// for clients that can use another host.
pub(super) async fn ready(
    State(app): State<App>,
    client: Option<Extension<Client>>,
    share: Option<Extension<Share>>,
    RawQuery(query): RawQuery,
) -> impl IntoResponse {
    let query = query.unwrap_or_default();
    let mut keys = query.split('&').map(|pair| pair.split('=').next());
    let wants_room = keys.any(|key| key == Some("room"));
    let is_known = client.is_some();
    let client = client.map_or(Client::Network, |Extension(client)| client);
    let share = share.map_or_else(Share::default, |Extension(share)| share);
    let is_full = wants_room && !app.dispatcher.has_room(&client, share);
    let health = app.dispatcher.health();
    let ready = health.iter().all(|(_, health)| *health == Health::Ready);
    let mut models: Map<String, Value> = health
        .into_iter()
        .map(|(name, health)| {
            let value = match health {
                Health::Ready => json!({"status": "ready"}),
                Health::Starting => json!({"status": "starting"}),
                Health::Failed(reason) => json!({"status": "failed", "reason": reason}),
                Health::Tripped(reason) => json!({"status": "tripped", "reason": reason}),
            };
            (name, value)
        })
        .collect();
    for (name, reason) in app.dispatcher.rejected() {
        if let Some(Value::Object(model)) = models.get_mut(&name) {
            model.insert("rejected".into(), reason.into());
        }
    }
    let (code, status) = match (ready, is_full) {
        (true, false) => (StatusCode::OK, "ready"),
        (true, true) => (StatusCode::SERVICE_UNAVAILABLE, "full"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let answer = match is_known {
        true => json!({"status": status, "models": models}),
        false => json!({"status": status}),
    };
    (code, Json(answer))
}
