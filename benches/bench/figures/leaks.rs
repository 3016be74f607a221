//! The load that killed this project's predecessor: every request leaks 260 MB.

use std::sync::Mutex;

use crate::{
    client::{Client, request},
    common::process::private_memory,
    machine,
    outcome::Outcome,
    scale::Scale,
    service,
};

const MODELS: &str = r#"
[limits]
memory = "4G"
[models.process]
engine = "fault"
[models.hybrid]
engine = "fault"
mode = "hybrid"
recycle = { max_requests = 5, max_growth = "8G" }
[models.thread]
engine = "fault"
mode = "thread"
"#;

const LEAK: &str = "leak=260M";

const LEAKED: u64 = 260 << 20;

/// Number of parallel clients, in the mode in which nothing is left behind.
const CLIENTS: usize = 2;

/// Upper bound for the leaks of the other two modes at any time, in bytes.
fn needed(scale: &Scale) -> u64 {
    let [_, _, thread] = scale.leaks;
    LEAKED * (thread as u64 + 6) + (2 << 30)
}

const MIB: f64 = 1_048_576.0;

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    if machine::available_memory() < needed(scale) {
        let why = format!("less than {} GiB of memory is free", needed(scale) >> 30);
        outcome.not("leak_answers", why.clone());
        outcome.not("leak_growth", why);
        return;
    }
    let daemon = service::start(MODELS);
    let ask = |client: &mut Client, bytes: &[u8]| {
        let reply = client.exchange(bytes).unwrap();
        let memory = match reply.status {
            200 => Some(reply.number("x-stt-anon-bytes")),
            _ => None,
        };
        memory.map(|memory| (memory, private_memory(daemon.pid())))
    };
    let [process, hybrid, thread] = scale.leaks;
    let leak = |model: &str| request(&format!("{model}:{LEAK}"), &service::moment());

    let warm = request("process:leak=1M", &service::moment());
    let mut client = Client::connect(daemon.socket()).unwrap();
    for _ in 0..20 {
        client.time(&warm);
    }
    service::settle(&daemon);
    let before = private_memory(daemon.pid());
    let seen = Mutex::new(Vec::new());
    let request = leak("process");
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::connect(daemon.socket()).unwrap();
                for _ in 0..process / CLIENTS {
                    let answer = ask(&mut client, &request);
                    seen.lock().unwrap().push(answer);
                }
            });
        }
    });
    service::settle(&daemon);
    let growth = private_memory(daemon.pid()) as f64 - before as f64;
    let seen = seen.into_inner().unwrap();
    let lost = seen.iter().filter(|answer| answer.is_none()).count();
    let least = seen
        .iter()
        .flatten()
        .map(|(job, _)| *job)
        .min()
        .unwrap_or(0);
    let of_job = seen.iter().enumerate().filter_map(|(number, answer)| {
        let (job, _) = (*answer)?;
        Some(((number + 1) as f64, job as f64 / MIB))
    });
    outcome.plot("leaks", "process: each job", of_job.collect());
    let of_service = seen.iter().enumerate().filter_map(|(number, answer)| {
        let (_, supervisor) = (*answer)?;
        Some(((number + 1) as f64, supervisor as f64 / MIB))
    });
    outcome.plot("leaks", "process: the service", of_service.collect());

    let series = |model: &str, count: usize| {
        let request = leak(model);
        // The first connection has been idle for too long.
        let mut client = Client::connect(daemon.socket()).unwrap();
        let mut points = Vec::new();
        for number in 1..=count {
            let Some((job, supervisor)) = ask(&mut client, &request) else {
                break;
            };
            let memory = if model == "thread" { supervisor } else { job };
            points.push((number as f64, memory as f64 / MIB));
        }
        points
    };
    let points = series("hybrid", hybrid);
    outcome.plot("leaks", "hybrid: the job of five", points);
    let points = series("thread", thread);
    let most = points.last().map_or(0.0, |(_, memory)| *memory);
    outcome.plot("leaks", "thread: the service", points);

    let remark = format!(
        "{} of {} answered, each job with {} MiB and more; thread mode: {most:.0} MiB after {thread}, and they stay",
        seen.len() - lost,
        seen.len(),
        least >> 20
    );
    outcome.tell("leak_answers", lost as f64, seen.len(), remark);
    outcome.tell_beside(
        "leak_growth",
        growth,
        seen.len(),
        "heap and stacks, before the first and after the last",
        vec![(format!("thread mode, {thread} requests"), most * MIB)],
    );
}
