//! OpenAI's realtime transcription sessions over WebSocket: `GET /v1/realtime`. Each turn of a
//! session is a request of its own.

mod client_event;
#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used)]
pub(crate) mod fuzzing;
mod handshake;
mod server_event;
mod session;
mod settings;
mod values;

pub(super) use handshake::{PATH, Upgrade, key_of_browser, open};
pub(super) use session::serve;
