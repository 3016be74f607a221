//! Sessions in which nobody speaks: their memory, their effect on others, and that nothing is left
//! of them.

use std::time::Duration;

use super::caller::{Caller, PIECE};
use crate::{
    common::{clips::GOFORWARD, process::private_memory, realtime::samples},
    figures::added,
    outcome::Outcome,
    sample::{Samples, interval},
    scale::Scale,
    service,
};

/// More connections than sessions.
const MODELS: &str = r#"
[http]
max_connections = 1000
[models.process]
engine = "null"
spares = { min = 2, max = 4 }
[models.real]
engine = "pocketsphinx"
"#;

/// Sessions, and those of them in which somebody speaks.
const SESSIONS: usize = 200;
const SPEAKING: usize = 4;

/// Audio that each silent session has sent, in pieces of 50 ms.
const SENT: usize = 2_000;

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    let daemon = service::start(MODELS);
    let others = service::start(MODELS);
    let pid = daemon.pid();
    // The detector runs, and all paths were taken once.
    let open = |model| {
        let mut caller = Caller::connect(daemon.socket(), model);
        for _ in 0..SENT / 50 {
            caller.append(&[0; PIECE]);
        }
        caller
    };
    drop(open("real"));
    service::settle(&daemon);
    let before = private_memory(pid);
    let mut callers: Vec<Caller> = (0..SESSIONS).map(|_| open("real")).collect();
    service::settle(&daemon);
    let stats = daemon.get("/v1/stats").json();
    assert_eq!(stats["supervisor"]["sessions"]["open"], SESSIONS);
    let jobs = stats["total"]["running"].as_u64().unwrap();
    let each = (private_memory(pid) - before) as f64 / SESSIONS as f64;
    let remark = format!(
        "{SESSIONS} sessions, {} s of audio sent in each; {jobs} jobs are running",
        SENT / 1000
    );
    outcome.tell("live_session", each, SESSIONS, remark);

    // A few of them speak, and are heard.
    let clip = samples(GOFORWARD);
    for caller in &mut callers[..SPEAKING] {
        clip.chunks(PIECE).for_each(|piece| caller.append(piece));
        caller.silence(1_000);
    }
    for caller in &mut callers[..SPEAKING] {
        assert_eq!(caller.turn()["transcript"], GOFORWARD.text);
    }
    let turns = added::alone(scale.pairs / 2);
    let [with, without] = added::side_by_side([&daemon, &others], &["process"], turns);
    let (with, without): (&Samples, &Samples) = (&with[0].samples, &without[0].samples);
    let remark = format!("{:.0} µs over {:.0} µs", with.p50(), without.p50());
    outcome.tell("live_delay", with.p50() / without.p50(), with.len(), remark);
    outcome.between(
        "live_delay",
        interval(with, without, |one, other| one / other),
    );
    drop(callers);

    let churn = |count: usize| {
        for _ in 0..count {
            let mut caller = Caller::connect(daemon.socket(), "process");
            caller.append(&[0; PIECE]);
            caller.close();
        }
    };
    churn(scale.live_sessions / 10);
    let rest = || {
        service::settle(&daemon);
        // Twice the time after which an idle service returns memory.
        std::thread::sleep(Duration::from_secs(9));
        private_memory(pid)
    };
    let before = rest();
    churn(scale.live_sessions);
    let growth = rest() as f64 - before as f64;
    let remark = "heap and stacks, at rest";
    outcome.tell("live_growth", growth, scale.live_sessions, remark);
}
