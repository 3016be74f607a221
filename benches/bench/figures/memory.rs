//! The supervisor's own memory, as a function of the number of requests.

use std::time::{Duration, Instant};

use crate::{
    client::{Client, request},
    common::{LONG, daemon::Daemon, process::private_memory, wait_until},
    outcome::Outcome,
    scale::Scale,
    service::{self, NULL_MODELS},
};

/// Number of requests after which every cache is filled.
pub const WARM: usize = 1000;

const CLIENTS: usize = 8;

const LOOKS: usize = 25;

/// Twice the time after which an idle service returns memory.
const QUIET: Duration = Duration::from_secs(9);

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    let daemon = service::start(NULL_MODELS);
    let (points, growth) = grow(&daemon, scale.endurance, LOOKS, |_, _| ());
    let (done, last) = points[points.len() - 1];
    let remark = format!("from request {WARM} to {done}; heap and stacks (RssAnon)");
    outcome.tell("supervisor_growth", growth, done, remark);
    let remark = format!(
        "after {done} requests, of that heap and stacks {:.1} MiB",
        last as f64 / 1_048_576.0
    );
    let private = service::private(daemon.pid());
    outcome.tell("supervisor_memory", private as f64, 1, remark);
    plot(outcome, &points);
}

/// Serve `requests` requests with the model `process`, half of them on new connections, and read
/// the supervisor's memory `looks` times. Returns pairs of (requests done, bytes), and the growth
/// after the first [`WARM`] requests, from rest to rest. Each reading is passed to `told`.
pub fn grow(
    daemon: &Daemon,
    requests: usize,
    looks: usize,
    mut told: impl FnMut(usize, u64),
) -> (Vec<(usize, u64)>, f64) {
    let bytes = request("process", &service::moment());
    let ask = |count: usize| {
        std::thread::scope(|scope| {
            for number in 0..CLIENTS {
                let bytes = &bytes;
                scope.spawn(move || {
                    let connect = || Client::connect(daemon.socket()).unwrap();
                    let mut client = connect();
                    for _ in 0..count / CLIENTS {
                        if number % 2 == 0 {
                            client = connect();
                        }
                        client.time(bytes);
                    }
                });
            }
        });
        service::settle(daemon);
        private_memory(daemon.pid())
    };
    let mut points = vec![(0, private_memory(daemon.pid()))];
    ask(WARM);
    let first = at_rest(daemon);
    let mut done = WARM;
    points.push((done, first));
    told(done, first);
    let step = (requests.saturating_sub(WARM) / looks)
        .max(CLIENTS)
        .next_multiple_of(CLIENTS);
    let mut last = first;
    while done < requests {
        last = ask(step);
        done += step;
        if done >= requests {
            last = at_rest(daemon);
        }
        points.push((done, last));
        told(done, last);
    }
    (points, last as f64 - first as f64)
}

/// The supervisor's memory after it has returned unneeded memory, which it does after some idle
/// seconds.
fn at_rest(daemon: &Daemon) -> u64 {
    let mut memory = private_memory(daemon.pid());
    let mut since = Instant::now();
    wait_until("the supervisor's memory stays the same", LONG, || {
        let now = private_memory(daemon.pid());
        if now != memory {
            (memory, since) = (now, Instant::now());
        }
        since.elapsed() > QUIET
    });
    memory
}

/// Plot the readings of [`grow`].
pub fn plot(outcome: &mut Outcome, points: &[(usize, u64)]) {
    let points = points
        .iter()
        .map(|(requests, bytes)| (*requests as f64, *bytes as f64 / 1024.0));
    outcome.plot("supervisor_memory", "supervisor", points.collect());
}
