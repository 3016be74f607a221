//! The engines through the real daemon: each on its own, all in every mode, and the one that
//! misbehaves on request.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod after_fork;
mod azure;
mod converter;
mod exec;
mod faults;
mod long_audio;
mod matrix;
mod models;
mod modes;
mod real;
mod sherpa;
mod vosk;
mod whisper;
