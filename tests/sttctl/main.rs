//! `sttctl` as a user runs it: against servers of these tests, and against the real service.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod listen;
mod pull;
mod report;
mod server;
mod top;
mod transcribe;
mod upload;
