//! The daemon as systemd would start it, its clients, and the recordings they send.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs
)]

pub mod azure;
pub mod browser;
pub mod clips;
pub mod daemon;
pub mod ggml;
pub mod http;
pub mod journal;
pub mod kaldi;
pub mod look;
pub mod manager;
pub mod onnx;
pub mod process;
pub mod realtime;
pub mod speech;
pub mod tmux;
pub mod user;
pub mod wyoming;

use std::time::{Duration, Instant};

/// Asks `condition` again and again until it gives something, for `limit` at the most.
pub fn try_wait_for<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if start.elapsed() > limit {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `condition` gives something; fails after `limit`.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, condition: impl FnMut() -> Option<T>) -> T {
    match try_wait_for(limit, condition) {
        Some(value) => value,
        None => panic!("not within {limit:?}: {what}"),
    }
}

/// Waits until `condition` holds; fails after `limit`.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, limit, || condition().then_some(()));
}

/// The end of every wait. An idle machine needs seconds. Nothing but a fault makes a test wait this
/// long, so that no load of other work makes it fail.
pub const LONG: Duration = Duration::from_secs(600);
