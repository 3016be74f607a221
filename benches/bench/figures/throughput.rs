//! Requests per second, by the number of clients that send without a pause.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{Client, request},
    common::{LONG, wait_until},
    flag::Raise,
    outcome::Outcome,
    peers::{MODES, Python},
    scale::Scale,
    service::{self, NULL_MODELS},
};

const PLOT: &str = "throughput";

pub fn measure(scale: &Scale, outcome: &mut Outcome, python: Option<&Python>) {
    let daemon = service::start(&format!(
        "{NULL_MODELS}[models.pool]\nengine = \"null\"\nspares = {{ min = 8, max = 16, refill_delay = \"0s\" }}"
    ));
    let mut best = [0.0_f64; 2];
    let mut peers = Vec::new();
    let curve = |name: &str, socket: &Path, model: &str, outcome: &mut Outcome| {
        let request = request(model, &service::moment());
        let points: Vec<(f64, f64)> = scale
            .clients
            .iter()
            .map(|clients| {
                (
                    *clients as f64,
                    rate(socket, &request, *clients, scale.load),
                )
            })
            .collect();
        let most = points.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        outcome.plot(PLOT, name, points);
        most
    };
    for (place, (model, name)) in [("process", "process"), ("pool", "process, 8 to 16 spares")]
        .into_iter()
        .enumerate()
    {
        best[place] = curve(name, daemon.socket(), model, outcome);
        service::settle(&daemon);
    }
    for model in ["hybrid", "thread"] {
        let most = curve(model, daemon.socket(), model, outcome);
        peers.push((format!("{model} mode"), most));
        service::settle(&daemon);
    }
    for mode in MODES.iter().filter(|_| python.is_some()) {
        let server = python.unwrap().serve(mode);
        let name = format!("Python, {mode}");
        let most = curve(&name, server.socket(), "any", outcome);
        peers.push((name, most));
    }
    let remark = format!(
        "{:.0}/s with 2 to 4 spares, {:.0}/s with 8 to 16; up to {} clients",
        best[0],
        best[1],
        scale.clients.last().unwrap()
    );
    let most = best[0].max(best[1]);
    outcome.tell_beside("throughput", most, scale.clients.len(), remark, peers);
}

/// Number of answered requests per second.
fn rate(socket: &Path, request: &[u8], clients: usize, time: Duration) -> f64 {
    let stop = AtomicBool::new(false);
    let (ready, start) = (AtomicUsize::new(0), AtomicBool::new(false));
    let count = clients;
    thread::scope(|scope| {
        let work = || {
            let mut client = Client::connect(socket).unwrap();
            client.time(request);
            ready.fetch_add(1, Ordering::Relaxed);
            while !start.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                client.time(request);
                count += 1;
            }
            count
        };
        let over = Raise(&stop);
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(work)).collect();
        wait_until("every client had an answer", LONG, || {
            ready.load(Ordering::Relaxed) == count
        });
        start.store(true, Ordering::Relaxed);
        let begin = Instant::now();
        thread::sleep(time);
        drop(over);
        let counts = clients.into_iter().map(|client| client.join().unwrap());
        let count: u64 = counts.sum();
        count as f64 / begin.elapsed().as_secs_f64()
    })
}
