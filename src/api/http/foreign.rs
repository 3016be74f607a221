//! Requests over TCP that a browser sends for a page of somebody else: by a name of the page's own
//! (DNS rebinding), or from an origin that is not listed. On a Unix socket there are no browsers.

use std::net::IpAddr;

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::App;
use crate::api::{Peer, error::ApiError};

/// The methods that pages have here.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");

/// How long a browser may rely on the answer to a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The headers of answers that pages of a listed origin may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "retry-after, x-request-id, x-should-retry, x-stt-anon-bytes, x-stt-audio-ms, x-stt-cpu-ms, \
     x-stt-isolation, x-stt-memory-limit-bytes, x-stt-peak-bytes, x-stt-pid, x-stt-queue-ms, \
     x-stt-wall-ms, x-stt-warnings",
);

/// Refuse requests over TCP by foreign names and from foreign origins, answer the preflights of
/// listed origins, and let their pages read the answers.
pub(super) async fn keep_out(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if let Peer::Local { .. } = peer {
        return next.run(request).await;
    }
    let http = &app.dispatcher.config().http;
    if let Some(name) = foreign_name(&request, &http.hosts) {
        return ApiError::foreign_host(&name).into_response();
    }
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    let origin = match (origins.next(), origins.next()) {
        (None, _) => return next.run(request).await,
        (Some(origin), None)
            if http
                .cors_origins
                .iter()
                .any(|known| origin == known.as_str()) =>
        {
            origin.clone()
        }
        (Some(origin), _) => return ApiError::foreign_origin(origin).into_response(),
    };
    let mut response = match preflight(request.method(), request.headers()) {
        Some(answer) => answer,
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(header::VARY, HeaderValue::from_name(header::ORIGIN));
    response
}

/// The first name by which the request calls this service and that is not its own. A request
/// without any name is not from a browser.
fn foreign_name(request: &Request, hosts: &[String]) -> Option<String> {
    let target = request
        .uri()
        .authority()
        .map(|name| name.as_str().to_owned());
    let of_headers = request.headers().get_all(header::HOST).iter();
    let named = of_headers.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
    target
        .into_iter()
        .chain(named)
        .find(|name| !is_own(name, hosts))
}

/// Whether `name`, with or without a port, is this service's. Addresses are: to make a browser
/// send a foreign page's requests here, the page must have a name that it can point elsewhere.
fn is_own(name: &str, hosts: &[String]) -> bool {
    let Ok(authority) = name.parse::<Authority>() else {
        return false;
    };
    if name.contains('@') {
        return false;
    }
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host.parse::<IpAddr>().is_ok()
        || host == "localhost"
        || host.ends_with(".localhost")
        || hosts.contains(&host)
}

/// The answer to a request that asks whether a page may ask; `None` if this is none.
fn preflight(method: &Method, headers: &HeaderMap) -> Option<Response> {
    let is_one =
        method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    is_one.then(|| {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let answer = response.headers_mut();
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        // Clients in browsers send many of their own (`x-stainless-…`); none of them matters here.
        if let Some(wanted) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        response
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_can_be_pointed_elsewhere_are_foreign() {
        let hosts = ["stt.example".to_owned()];
        for own in [
            "localhost",
            "LocalHost:8088",
            "localhost.:8088",
            "app.localhost",
            "127.0.0.1",
            "127.0.0.1:8088",
            "[::1]:8088",
            "192.0.2.1:80",
            "stt.example",
            "STT.Example.:443",
        ] {
            assert!(is_own(own, &hosts), "{own}");
        }
        for foreign in [
            "",
            "evil.example",
            "evil.example:8088",
            "localhost.evil.example",
            "evil-localhost",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "sub.stt.example",
            "localhost, evil.example",
            "localhost evil.example",
            "http://localhost",
            "evil.example#localhost",
            "evil.example/localhost",
            "%6cocalhost",
            "127.1",
            "localhost:99999:1",
            "lоcalhost",
        ] {
            assert!(!is_own(foreign, &hosts), "{foreign}");
        }
    }

    #[test]
    fn every_name_that_a_request_has_must_be_own() {
        let request = |target: &str, hosts: &[&str]| {
            let mut request = axum::http::Request::builder().uri(target);
            for host in hosts {
                request = request.header("host", *host);
            }
            request.body(axum::body::Body::empty()).unwrap()
        };
        let foreign = |target: &str, hosts: &[&str]| foreign_name(&request(target, hosts), &[]);
        assert_eq!(foreign("/healthz", &["localhost"]), None);
        assert_eq!(foreign("/healthz", &[]), None);
        assert_eq!(foreign("http://localhost/healthz", &["127.0.0.1"]), None);
        for (target, hosts) in [
            ("/", &["evil.example"][..]),
            ("http://evil.example/", &["localhost"]),
            ("http://localhost/", &["evil.example"]),
            ("/", &["localhost", "evil.example"]),
        ] {
            assert_eq!(
                foreign(target, hosts).as_deref(),
                Some("evil.example"),
                "{target}"
            );
        }
    }
}
