//! Good requests in parallel with every kind of fault, to the same model: how many of them are
//! affected.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use stt_isolated::engine::fault::TEXT;

use crate::{
    client::{Client, request},
    flag::Raise,
    outcome::Outcome,
    scale::Scale,
    service,
};

const CONFIG: &str = r#"
[jobs]
max_running = 8
[limits]
deadline = "300ms"
stall = "30s"
[models.process]
engine = "fault"
spares = { min = 4, max = 8 }
"#;

const GOOD: usize = 4;

/// Each is a way to crash, to hang, to grow, to flood, to lie or to break out.
const FAULTS: &[&str] = &[
    "segfault",
    "abort",
    "illegal",
    "trap",
    "fpe",
    "bus",
    "stack-overflow",
    "exit=0",
    "exit=3",
    "fail",
    "hang",
    "stall",
    "spin",
    "spin-threads=4",
    "leak=64M",
    "fork-bomb=3",
    "thread-bomb=16",
    "fd-flood",
    "output-flood",
    "text-flood",
    "word-flood",
    "burst=500",
    "stderr-flood",
    "out-of-order",
    "bad-times",
    "beyond-the-end",
    "empty-text",
    "control-characters",
    "nan-confidence",
    "nan-figures",
    "ready-twice",
    "wrong-request",
    "escape-socket-tcp",
];

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    let daemon = service::start(CONFIG);
    let left = AtomicUsize::new(scale.neighbours);
    let failed = AtomicUsize::new(0);
    let injected = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let good = request("process", &service::moment());
    let faults: Vec<Vec<u8>> = FAULTS
        .iter()
        .map(|fault| request(&format!("process:{fault}"), &service::moment()))
        .collect();
    thread::scope(|scope| {
        for place in 0..2 {
            let (faults, injected, over, daemon) = (&faults, &injected, &over, &daemon);
            scope.spawn(move || {
                let mut client = Client::connect(daemon.socket()).unwrap();
                // Run every fault at least once, even if the others finish soon.
                for (number, fault) in faults
                    .iter()
                    .cycle()
                    .skip(place * faults.len() / 2)
                    .enumerate()
                {
                    if over.load(Ordering::Relaxed) && number >= faults.len() {
                        return;
                    }
                    // Its answer does not matter here; tests/engines/faults.rs checks it.
                    if client.exchange(fault).is_err() {
                        client = Client::connect(daemon.socket()).unwrap();
                    }
                    injected.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let over = Raise(&over);
        let clients: Vec<_> = (0..GOOD)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(daemon.socket()).unwrap();
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                        .is_ok()
                    {
                        let is_good = client.exchange(&good).is_ok_and(|reply| {
                            reply.status == 200
                                && String::from_utf8_lossy(reply.body).contains(TEXT)
                        });
                        if !is_good {
                            failed.fetch_add(1, Ordering::Relaxed);
                            client = Client::connect(daemon.socket()).unwrap();
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        drop(over);
    });
    let remark = format!(
        "{} good requests beside {} faults of {} kinds, to the same model",
        scale.neighbours,
        injected.into_inner(),
        FAULTS.len()
    );
    outcome.tell(
        "neighbours",
        failed.into_inner() as f64,
        scale.neighbours,
        remark,
    );
}
