//! Processes that are started, forked, confined and reaped, by a program of one thread, which no
//! test harness has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod forks;
mod orphans;
#[allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block
)]
mod sandbox;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("zygote") => return sandbox::zygote(),
        Some("supervisor") => return sandbox::supervisor::main(),
        _ => forks::as_a_zygote_is_started(),
    }
    let mut trials = vec![orphans::trial()];
    trials.extend(sandbox::trials());
    trials.extend(forks::trials());
    let mut arguments = Arguments::from_args();
    // On the main thread, one after the other.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}
