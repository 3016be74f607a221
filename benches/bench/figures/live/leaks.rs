//! One long session with an engine that leaks while it hears.

use super::caller::{Caller, PIECE};
use crate::{
    common::{
        clips::GOFORWARD,
        process::private_memory,
        realtime::{samples, silence},
    },
    machine,
    outcome::Outcome,
    scale::Scale,
    service,
};

const MODELS: &str = r#"
[limits]
memory = "1G"
[models.process]
engine = "fault"
[models.thread]
engine = "fault"
mode = "thread"
"#;

/// The rate of a peer that was measured.
const LEAK: &str = "leak-each-second=30M";

/// Memory at which the service of mode `thread` is given up, in bytes.
const ENOUGH: u64 = 4 << 30;

const MIB: f64 = 1_048_576.0;

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    if machine::available_memory() < ENOUGH + (2 << 30) {
        let why = "less than 6 GiB of memory is free";
        outcome.not("live_leak_answers", why);
        outcome.not("live_leak_growth", why);
        return;
    }
    let mut audio = samples(GOFORWARD);
    audio.extend(silence(1_000));
    let minutes = audio.len() as f64 / 48_000.0 / 60.0;
    let most = (scale.live_minutes / minutes).ceil() as usize;
    // Each turn: minutes of audio so far, memory of its job, and of the service.
    let session = |model: &str| {
        let daemon = service::start(MODELS);
        let mut caller = Caller::connect(daemon.socket(), &format!("{model}:{LEAK}"));
        let mut turns = Vec::new();
        let mut lost = 0;
        let mut first = None;
        for number in 1..=most {
            audio.chunks(PIECE).for_each(|piece| caller.append(piece));
            let turn = caller.turn();
            lost += usize::from(turn["transcript"] != stt_isolated::engine::fault::TEXT);
            let own = private_memory(daemon.pid());
            let job = turn["stt"]["anon_bytes"].as_u64().unwrap_or_default();
            turns.push((number as f64 * minutes, job, own));
            if number <= WARM {
                first = Some(own);
            }
            if own > ENOUGH {
                break;
            }
        }
        let last = private_memory(daemon.pid());
        (turns, lost, last as f64 - first.unwrap_or(last) as f64)
    };
    let (turns, lost, growth) = session("process");
    let plot = |of: &dyn Fn(&(f64, u64, u64)) -> u64, turns: &[(f64, u64, u64)]| {
        let point = |turn| (<(f64, u64, u64)>::clone(turn).0, of(turn) as f64 / MIB);
        turns.iter().map(point).collect::<Vec<_>>()
    };
    outcome.plot(
        "live_leaks",
        "process: each turn's job",
        plot(&|turn| turn.1, &turns),
    );
    outcome.plot(
        "live_leaks",
        "process: the service",
        plot(&|turn| turn.2, &turns),
    );
    let least = turns.iter().map(|turn| turn.1).min().unwrap_or_default();
    let most = turns.iter().map(|turn| turn.1).max().unwrap_or_default();
    let length = turns.last().map_or(0.0, |turn| turn.0);
    let (count, answered) = (turns.len(), turns.len() - lost);
    let (thread, ..) = session("thread");
    outcome.plot(
        "live_leaks",
        "thread: the service",
        plot(&|turn| turn.2, &thread),
    );
    let end = thread.last().expect("a turn");
    let remark = format!(
        "{answered} of {count} turns in {length:.0} minutes of audio answered, each job with {} to {} MiB",
        least >> 20,
        most >> 20
    );
    outcome.tell("live_leak_answers", lost as f64, count, remark);
    outcome.tell_beside(
        "live_leak_growth",
        growth,
        count,
        "from the tenth turn to the last",
        vec![(format!("thread mode, {:.1} minutes", end.0), end.2 as f64)],
    );
}

/// Turns after which every cache is filled.
const WARM: usize = 10;
