//! Time that isolation adds to a request: mode `process` against mode `thread`, in the same daemon,
//! on the same audio.

use std::time::Duration;

use crate::{
    common::daemon::Daemon,
    interleave::{Competitor, Turns, take_turns},
    outcome::Outcome,
    sample::{Samples, interval},
    scale::Scale,
    service::{self, NULL_MODELS},
};

/// Long enough for a fork, an exit and a wait, so that a spare is ready when the request comes.
const PAUSE: Duration = Duration::from_millis(2);

const IDLE: Duration = Duration::from_millis(100);

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    let daemon = service::start(NULL_MODELS);
    let run = |models: &[&str], turns| {
        let [competitors] = side_by_side([&daemon], models, turns);
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

/// Take `pairs` turns, with a spare ready for every request.
pub fn alone(pairs: usize) -> Turns {
    Turns {
        rounds: pairs,
        block: 1,
        warm: 0,
        pause: PAUSE,
    }
}

/// Let the models of one daemon or of several take turns; returns the models of each daemon.
pub fn side_by_side<const DAEMONS: usize>(
    daemons: [&Daemon; DAEMONS],
    models: &[&str],
    turns: Turns,
) -> [Vec<Competitor>; DAEMONS] {
    let recording = service::moment();
    let mut all = Vec::new();
    for daemon in daemons {
        service::settle(daemon);
        let new = |model: &&str| Competitor::new(model, daemon.socket(), model, &recording);
        all.extend(models.iter().map(new));
    }
    take_turns(&mut all, alone(20));
    for competitor in &mut all {
        competitor.samples = Samples::default();
    }
    take_turns(&mut all, turns);
    let mut all = all.into_iter();
    daemons.map(|_| all.by_ref().take(models.len()).collect())
}

/// Report the second competitor's times minus the first one's.
pub fn tell(outcome: &mut Outcome, name: &str, competitors: &[Competitor]) {
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
        if rank == "p50" {
            outcome.between(&id, (least, most));
        }
    }
}
