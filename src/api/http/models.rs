//! `GET /v1/models`: the available models.

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use serde_json::{Value, json};

use super::App;
use crate::{api::error::ApiError, config::Model};

/// List all models, aliases included, in OpenAI's format.
pub(super) async fn list(State(app): State<App>) -> Json<Value> {
    let models = &app.dispatcher.config().models;
    let data: Vec<Value> = models
        .iter()
        .flat_map(|model| {
            let names = std::iter::once(&model.name).chain(&model.aliases);
            names.map(|name| describe(name, model))
        })
        .collect();
    Json(json!({"object": "list", "data": data}))
}

/// Show one model by name or alias.
pub(super) async fn show(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let Path(name) =
        name.map_err(|_| ApiError::parameter("model", "the name of the model is not UTF-8 text"))?;
    let config = app.dispatcher.config();
    match config.model(&name) {
        Some(model) => Ok(Json(describe(&name, model))),
        None => Err(ApiError::model_not_found(&name, &config)),
    }
}

/// `created` is 0: a model's age is unknown, but the field is required.
fn describe(name: &str, model: &Model) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": model.engine.name()})
}
