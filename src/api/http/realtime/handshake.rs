//! The HTTP request that becomes a session.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Extension,
    body::Body,
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{super::App, settings::Settings};
use crate::{api::error::ApiError, config::Share, dispatch::Client};

/// The page of sessions.
pub(in crate::api::http) const PATH: &str = "/v1/realtime";

/// The subprotocol that browsers offer beside their key; the answer must choose one of the offered.
const PROTOCOL: &str = "realtime";

/// Before the key in a subprotocol: a page of a browser cannot send the header `Authorization`.
const KEY_PREFIX: &str = "openai-insecure-api-key.";

/// Offered by clients that speak OpenAI's first version.
const BETA_PROTOCOL: &str = "openai-beta.realtime-v1";

/// A session that begins once the answer to its request is sent.
#[derive(Debug)]
pub(in crate::api::http) struct Opening {
    pub(super) client: Client,
    pub(super) share: Share,
    pub(super) settings: Settings,
}

/// Where a page leaves the session that is to go on with its connection.
#[derive(Clone, Debug, Default)]
pub(in crate::api::http) struct Upgrade(Arc<Mutex<Option<Opening>>>);

impl Upgrade {
    fn begin(&self, opening: Opening) {
        // A panic ends the process.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(opening);
    }

    /// The session, if the connection has become one.
    pub(in crate::api::http) fn take(&self) -> Option<Opening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Check that the request can become a session, and answer that it does.
pub(in crate::api::http) async fn open(
    State(app): State<App>,
    Extension(client): Extension<Client>,
    Extension(share): Extension<Share>,
    Extension(upgrade): Extension<Upgrade>,
    request: Request,
) -> Result<Response, ApiError> {
    let headers = request.headers();
    let accept = accept(headers)?;
    let Query(query) = Query::<HashMap<String, String>>::try_from_uri(request.uri())
        .map_err(|error| ApiError::bad_body(error.to_string()))?;
    if let Some(intent) = query
        .get("intent")
        .filter(|intent| *intent != "transcription")
    {
        let shown: String = intent.chars().take(100).collect();
        let message =
            format!("only sessions with intent=transcription are held here, not `{shown}`");
        return Err(ApiError::parameter("intent", message));
    }
    let offered: Vec<&str> = protocols(headers).collect();
    let is_beta = offered.contains(&BETA_PROTOCOL)
        || headers
            .get("openai-beta")
            .is_some_and(|value| value.as_bytes().starts_with(b"realtime"));
    let model = query.get("model").filter(|model| !model.is_empty());
    let settings = Settings::new(&app.dispatcher.config(), model.map(String::as_str), is_beta)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if offered.contains(&PROTOCOL) {
        let protocol = HeaderValue::from_static(PROTOCOL);
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    upgrade.begin(Opening {
        client,
        share,
        settings,
    });
    Ok(response)
}

/// The key that a page in a browser shows among its subprotocols.
pub(in crate::api::http) fn key_of_browser(headers: &HeaderMap) -> Option<&[u8]> {
    let mut keys = protocols(headers).filter_map(|offer| offer.strip_prefix(KEY_PREFIX));
    let (only, None) = (keys.next()?, keys.next()) else {
        return None;
    };
    (!only.is_empty()).then_some(only.as_bytes())
}

/// The subprotocols that the client offers.
fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    all.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// The proof that the answer gives for the client's key (RFC 6455, 4.2.2).
fn accept(headers: &HeaderMap) -> Result<HeaderValue, ApiError> {
    let has = |name, word: &str| {
        let values = headers.get_all(name).iter();
        let mut words = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        words.any(|one| one.trim().eq_ignore_ascii_case(word))
    };
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let is_version_13 = headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_some_and(|version| version == "13");
    match key {
        Some(key)
            if is_version_13
                && has(header::UPGRADE, "websocket")
                && has(header::CONNECTION, "upgrade") =>
        {
            // Base64 is always text.
            HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
                .map_err(|error| ApiError::internal(error.to_string()))
        }
        _ => Err(ApiError::no_websocket()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    const WHOLE: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn the_proof_is_that_of_the_standard() {
        // RFC 6455, 1.3.
        assert_eq!(
            accept(&headers(&WHOLE)).unwrap(),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn a_request_that_lacks_a_part_is_no_handshake() {
        for missing in 0..WHOLE.len() {
            let mut parts = WHOLE.to_vec();
            parts.remove(missing);
            assert!(accept(&headers(&parts)).is_err(), "{missing}");
        }
        let mut old = WHOLE.to_vec();
        old[2] = ("sec-websocket-version", "8");
        assert!(accept(&headers(&old)).is_err());
    }

    #[test]
    fn a_page_shows_its_key_once() {
        let key = |value| {
            let headers = headers(&[("sec-websocket-protocol", value)]);
            key_of_browser(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(
            key("realtime, openai-insecure-api-key.stt_1").unwrap(),
            b"stt_1"
        );
        assert_eq!(key("realtime"), None);
        assert_eq!(key("openai-insecure-api-key."), None);
        assert_eq!(
            key("openai-insecure-api-key.a,openai-insecure-api-key.b"),
            None
        );
    }
}
