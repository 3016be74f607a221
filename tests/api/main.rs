//! The promises to clients: HTTP as OpenAI's clients speak it, and Wyoming, through the real daemon
//! on real speech.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod asr;
mod browser;
mod differential;
mod documentation;
mod formats;
mod half_closed;
mod malformed;
mod openai;
mod openapi;
mod realtime;
mod speakers;
mod streaming;
mod tracks;
mod transcription;
mod uploads;
mod vosk;
mod wyoming;
