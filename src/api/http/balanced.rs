//! Refusals for load balancers that try another host only after 503, like HAProxy before 3.1.

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode},
    middleware::Next,
    response::Response,
};

/// In a request, `503` asks for that status instead of 429. In the answer, `429` names the replaced
/// status.
const FULL: &str = "x-stt-full";

/// Answer 503 instead of 429 if the request asks for it, and mark the answer.
pub(super) async fn translate(request: Request, next: Next) -> Response {
    let is_wanted = request.headers().get(FULL).is_some_and(|v| v == "503");
    let mut response = next.run(request).await;
    if is_wanted && response.status() == StatusCode::TOO_MANY_REQUESTS {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let was = HeaderValue::from_static("429");
        response.headers_mut().insert(FULL, was);
    }
    response
}
