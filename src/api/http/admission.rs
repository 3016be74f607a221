//! Decides which clients may come in, before any request body is read.

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::Response,
};

use super::{App, realtime, strangers::Strangers};
use crate::{
    api::{Peer, error::ApiError},
    config::{Access, Share},
    dispatch::Client,
};

/// Page that is open to every client.
pub(super) const ALIVE: &str = "/healthz";

/// Page that is also open to clients over TCP that could show a key: load balancers have none.
pub(super) const READY: &str = "/readyz";

/// Scheme of the only credentials that are known here.
const SCHEME: &str = "Bearer";

/// Attach the client and its share of the service to the request, or refuse the request.
pub(super) async fn admit(
    State((app, strangers)): State<(App, Strangers)>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let access = &app.dispatcher.config().clients;
    match identify(&peer, access, request.headers(), request.uri().path()) {
        Ok((client, share)) => {
            request.extensions_mut().insert(client);
            request.extensions_mut().insert(share);
        }
        Err(_) if request.uri().path() == ALIVE => {}
        Err(_) if request.uri().path() == READY && access.keys().is_some() => {}
        Err(error) => {
            if let Peer::Remote(address) = peer
                && access.keys().is_some()
            {
                strangers.note(address);
            }
            return Err(error);
        }
    }
    Ok(next.run(request).await)
}

/// The client of a request for the page `path` with these `headers`, and its share of the service.
fn identify(
    peer: &Peer,
    access: &Access,
    headers: &HeaderMap,
    path: &str,
) -> Result<(Client, Share), ApiError> {
    if let Peer::Remote(_) = peer
        && access.keys().is_some()
    {
        // Lists of users do not matter: a key lets its holder in.
        let key = match headers.contains_key(header::AUTHORIZATION) || path != realtime::PATH {
            true => bearer(headers),
            false => realtime::key_of_browser(headers),
        };
        let key = key.ok_or_else(ApiError::no_key)?;
        let (name, share) = access.of_key(key).ok_or_else(ApiError::wrong_key)?;
        return Ok((Client::Key(name), share));
    }
    if peer.is_elsewhere() {
        return Err(ApiError::only_local());
    }
    let share = peer.share(access);
    let share = share.ok_or_else(|| ApiError::forbidden(peer))?;
    Ok((peer.client(), share))
}

/// The key that the request shows. It must be there once, so that nobody else on the way can take
/// another one for it.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (only, None) = (all.next()?, all.next()) else {
        return None;
    };
    let (scheme, key) = only.as_bytes().split_at_checked(SCHEME.len())?;
    let is_ours = scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) && key.starts_with(b" ");
    let key = key.trim_ascii();
    (is_ours && !key.is_empty()).then_some(key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn key(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(header::AUTHORIZATION, value);
        }
        bearer(&headers).map(|key| String::from_utf8_lossy(key).into_owned())
    }

    #[test]
    fn a_key_is_shown_once_and_in_one_way() {
        assert_eq!(key(&["Bearer stt_1"]).as_deref(), Some("stt_1"));
        assert_eq!(key(&["bEARER   stt_1 "]).as_deref(), Some("stt_1"));
        for wrong in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &["Bearerstt_1"],
            &["Bearer\tstt_1"],
            &["Basic stt_1"],
            &["stt_1"],
            &["ｂearer stt_1"],
            &["Bearer stt_1", "Bearer stt_1"],
            &["Bearer stt_1", ""],
        ] {
            assert_eq!(key(wrong), None, "{wrong:?}");
        }
        // Neither is decoded, so neither is a key that has these words decoded.
        assert_eq!(key(&["Bearer stt%5F1"]).as_deref(), Some("stt%5F1"));
        assert_eq!(key(&["Bearer a, Bearer b"]).as_deref(), Some("a, Bearer b"));
    }
}
