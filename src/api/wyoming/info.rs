//! `info`: the description of the service for which Home Assistant asks before it offers it to
//! users.

use serde_json::{Value, json};

use crate::config::Config;

/// Describe the service as one program with all its models. Aliases are left out: they are for
/// clients that know only certain names.
pub(super) fn info(config: &Config) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let models: Vec<Value> = config
        .models
        .iter()
        .map(|model| {
            let (name, url) = model.engine.origin();
            json!({
                "name": model.name,
                "description": model.engine.name(),
                "attribution": {"name": name, "url": url},
                "installed": true,
                "version": null,
                "languages": model.engine.languages(),
            })
        })
        .collect();
    json!({"asr": [{
        "name": "stt-isolated",
        "description": env!("CARGO_PKG_DESCRIPTION"),
        "attribution": {"name": "stt-isolated", "url": ""},
        "installed": true,
        "version": version,
        "models": models,
        "supports_transcript_streaming": true,
        // Home Assistant takes both for true if they are missing. Engines hear the recording as it
        // is, and the detector of speech follows the level by itself.
        "prefers_auto_gain_enabled": false,
        "prefers_noise_reduction_enabled": false,
        // The client marks the end of the recording.
        "requires_external_vad": true,
    }]})
}
