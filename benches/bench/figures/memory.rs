//! The supervisor's own memory, and what becomes of it with the number of requests.

use crate::{
    client::{Client, request},
    common::process::private_memory,
    outcome::Outcome,
    scale::Scale,
    service::{self, NULL_MODELS},
};

const WARM: usize = 1000;

const CLIENTS: usize = 8;

const LOOKS: usize = 25;

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    let daemon = service::start(NULL_MODELS);
    let request = request("process", &service::moment());
    let ask = |count: usize| {
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut client = Client::connect(daemon.socket()).unwrap();
                    for _ in 0..count / CLIENTS {
                        client.time(&request);
                    }
                });
            }
        });
        service::settle(&daemon);
        private_memory(daemon.pid())
    };
    let mut points = vec![(0.0, private_memory(daemon.pid()) as f64)];
    let first = ask(WARM);
    let mut done = WARM;
    points.push((done as f64, first as f64));
    let step = ((scale.endurance - WARM) / LOOKS).max(CLIENTS) / CLIENTS * CLIENTS;
    while done < scale.endurance {
        let now = ask(step);
        done += step;
        points.push((done as f64, now as f64));
    }
    let last = points.last().map_or(0.0, |(_, bytes)| *bytes);
    let growth = last - first as f64;
    let remark = format!("from request {WARM} to {done}; heap and stacks (RssAnon)");
    outcome.tell("supervisor_growth", growth, done, remark);
    let remark = format!(
        "after {done} requests, of that heap and stacks {:.1} MiB",
        last / 1_048_576.0
    );
    let private = service::private(daemon.pid());
    outcome.tell("supervisor_memory", private as f64, 1, remark);
    let points = points.into_iter().map(|(x, bytes)| (x, bytes / 1024.0));
    outcome.plot("supervisor_memory", "supervisor", points.collect());
}
