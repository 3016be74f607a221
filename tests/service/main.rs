//! The service as its administrator knows it: configuration, start, reload, stop, recovery, shares,
//! figures and hosts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod admission;
mod catalog;
mod config;
mod endurance;
mod haproxy;
mod keeping;
mod keys;
mod operations;
mod recovery;
mod reload;
mod statistics;
mod stop;
mod systemd;
mod units;
