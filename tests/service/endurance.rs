//! Nothing grows in the supervisor with the number of requests: 5 000 here, as many as one likes by
//! `make endurance`.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{clips::wav, daemon::Daemon, http::Form, look::Look, process};

/// Requests before the first look: every cache is filled by then.
const WARM: usize = 1000;

const CLIENTS: usize = 8;

const REQUESTS: usize = 5_000;

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
fn nothing_grows_with_requests() {
    let config = "[service]\nlog_level = \"error\"\n[models.default]\nengine = \"null\"";
    let daemon = Daemon::start(config);
    requests(&daemon, WARM);
    let first = Look::at(&daemon, 1, 2);
    println!("after {WARM} requests: {first:?}");
    requests(&daemon, REQUESTS - WARM);
    let last = Look::at(&daemon, 1, 2);
    println!("after {REQUESTS} requests: {last:?}");
    let growth = last.growth_since(&first);
    assert!(growth <= 256 << 10, "the supervisor grew by {growth} bytes");
}

/// Private memory that the supervisor may have, whatever its jobs do, in bytes.
const SMALL: u64 = 12 << 20;

/// More words at once than anybody speaks, whole or one by one, and as many as may be; of a second
/// of audio each.
const FLOODS: [&str; 4] = ["output-flood", "text-flood", "word-flood", "burst=800"];

#[test]
fn four_floods_leave_no_memory_behind() {
    let config = "[service]\nlog_level = \"error\"\n[breaker]\ncrashes = 0\n\
                  [models.default]\nengine = \"fault\"\nspares = { min = 4, max = 4 }";
    let daemon = Daemon::start(config);
    let before = Look::at(&daemon, 1, 4);
    process::forget_peak(daemon.pid());
    for _ in 0..5 {
        std::thread::scope(|scope| {
            for mode in FLOODS {
                let form = Form::of("a.wav", &wav(&[0; 32_000]));
                let form = form.field("model", format!("default:{mode}"));
                let form = form.field("response_format", "verbose_json");
                let daemon = &daemon;
                scope.spawn(move || {
                    let answer = daemon.post(&form);
                    let is_flood = mode.ends_with("flood");
                    assert_eq!(answer.status, if is_flood { 502 } else { 200 }, "{mode}");
                });
            }
        });
    }
    let peak = process::peak_private_memory(daemon.pid());
    let growth = Look::at(&daemon, 1, 4).growth_since(&before);
    println!(
        "{} bytes before, {peak} at most, then {growth} more",
        before.memory
    );
    assert!(peak <= SMALL, "the supervisor had {peak} bytes");
    assert!(growth <= 2 << 20, "the supervisor kept {growth} bytes");
}
