//! What isolation adds to a request: mode `process` beside mode `thread`, in the same daemon, on the same audio.

use std::time::Duration;

use crate::{
    common::daemon::Setup,
    interleave::{Competitor, Turns, take_turns},
    outcome::Outcome,
    sample::{Samples, interval},
    scale::Scale,
    service::{self, NULL_MODELS},
};

/// Long enough for a fork, an exit and a wait: a spare is ready when the request comes.
const PAUSE: Duration = Duration::from_millis(2);

const IDLE: Duration = Duration::from_millis(100);

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    with_environment(scale, outcome, None);
}

/// The same with something in the daemon's environment.
pub fn with_environment(scale: &Scale, outcome: &mut Outcome, variable: Option<(&str, String)>) {
    let mut setup = Setup::new(&service::config(NULL_MODELS));
    if let Some((name, value)) = variable {
        setup = setup.env(name, &value);
    }
    let daemon = setup.start();
    let alone = |pairs| Turns {
        rounds: pairs,
        block: 1,
        warm: 0,
        pause: PAUSE,
    };
    let run = |models: &[&str], turns| {
        service::settle(&daemon);
        let recording = service::moment();
        let new = |model: &&str| Competitor::new(model, daemon.socket(), model, &recording);
        let mut competitors: Vec<Competitor> = models.iter().map(new).collect();
        take_turns(
            &mut competitors,
            Turns {
                rounds: 20,
                ..alone(20)
            },
        );
        for competitor in &mut competitors {
            competitor.samples = Samples::default();
        }
        take_turns(&mut competitors, turns);
        competitors
    };

    let all = run(&["thread", "process", "hybrid"], alone(scale.pairs));
    tell(outcome, "added", &all);
    for competitor in &all {
        let points = competitor.samples.distribution(400);
        outcome.plot("latency", &competitor.name, points);
    }
    let block = 50;
    let busy = Turns {
        rounds: scale.pairs.div_ceil(block),
        block: block + 5,
        warm: 5,
        pause: Duration::ZERO,
    };
    let all = run(&["thread", "process", "hybrid"], busy);
    tell(outcome, "added_busy", &all);
    for competitor in &all {
        let points = competitor.samples.distribution(400);
        outcome.plot("latency_busy", &competitor.name, points);
    }
    let idle = Turns {
        pause: IDLE,
        ..alone(scale.idle_pairs)
    };
    tell(outcome, "added_idle", &run(&["thread", "process"], idle));
    let all = run(&["thread", "demand"], alone(scale.pairs / 2));
    tell(outcome, "added_demand", &all);
    let points = all[1].samples.distribution(400);
    outcome.plot("latency", "process, no spare", points);
}

/// The second competitor less the first one.
fn tell(outcome: &mut Outcome, name: &str, competitors: &[Competitor]) {
    let [thread, process, others @ ..] = competitors else {
        panic!("two at least")
    };
    let (one, other) = (&process.samples, &thread.samples);
    let (least, most) = interval(one, other, |one, other| one - other);
    for (rank, share) in [("p50", 0.5), ("p99", 0.99)] {
        let value = one.quantile(share) - other.quantile(share);
        let mut remark = format!(
            "{:.0} µs less {:.0} µs",
            one.quantile(share),
            other.quantile(share)
        );
        if rank == "p50" {
            remark += &format!("; 95 %: {least:.0}–{most:.0}");
        }
        let peers = others.iter().map(|peer| {
            let added = peer.samples.quantile(share) - other.quantile(share);
            (format!("{} mode", peer.name), added)
        });
        let id = format!("{name}_{rank}");
        outcome.tell_beside(&id, value, one.len(), remark, peers.collect());
    }
}
