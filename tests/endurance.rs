//! Nothing grows in the supervisor, however many requests it serves: 5 000 here, `STT_ENDURANCE` says how many else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use common::{clips::wav, daemon::Daemon, http::Form, look::Look};

/// Requests before the first look: every cache is filled by then.
const WARM: usize = 1000;

const CLIENTS: usize = 8;

/// Requests, each on a connection of its own, that must all succeed.
fn requests(daemon: &Daemon, count: usize) {
    let form = Form::of("a.wav", &wav(&[0; 3200]));
    let left = AtomicUsize::new(count);
    let next = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while next().is_ok() {
                    let answer = daemon.post(&form);
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            });
        }
    });
}

#[test]
fn nothing_grows_with_the_number_of_requests() {
    let count = std::env::var("STT_ENDURANCE").map_or(5_000, |n| n.parse().unwrap());
    let config = "[service]\nlog_level = \"error\"\n[models.default]\nengine = \"null\"";
    let daemon = Daemon::start(config);
    requests(&daemon, WARM);
    let first = Look::at(&daemon, 1, 2);
    println!("after {WARM} requests: {first:?}");
    let begin = Instant::now();
    let step = (count - WARM).div_ceil(5);
    let mut done = WARM;
    let mut last = Look::at(&daemon, 1, 2);
    while done < count {
        let next = step.min(count - done);
        requests(&daemon, next);
        done += next;
        last = Look::at(&daemon, 1, 2);
        let rate = (done - WARM) as f64 / begin.elapsed().as_secs_f64();
        println!("after {done} requests, {rate:.0}/s: {last:?}");
    }
    let growth = last.growth_since(&first);
    assert!(growth <= 256 << 10, "the supervisor grew by {growth} bytes");
}
