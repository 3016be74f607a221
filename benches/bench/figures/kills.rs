//! How long a slot stays taken after its job was given up because its client hung up or its time
//! was over.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    client::{Client, get, request},
    common::{LONG, daemon::Daemon, wait_until},
    outcome::Outcome,
    sample::Samples,
    scale::Scale,
    service,
};

const CONFIG: &str = r#"
[jobs]
max_running = 1
[spares]
min = 1
max = 1
[models.process]
engine = "fault"
"#;

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    // The service writes the times to its log.
    let config = service::config(CONFIG).replace("log_level = \"error\"", "log_level = \"info\"");
    let daemon = Daemon::start(&config);
    let mut looks = Client::connect(daemon.socket()).unwrap();
    let stats = get("/v1/stats");
    let mut running = || {
        let reply = looks.exchange(&stats).unwrap();
        let stats: Value = serde_json::from_slice(reply.body).unwrap();
        stats["total"]["running"].as_u64().unwrap()
    };
    let hang = request("process:hang", &service::moment());
    let good = request("process", &service::moment());
    let mut polls = Samples::default();
    let mut hang_ups = Samples::default();
    for _ in 0..scale.kills {
        let mut raw = daemon.connect();
        raw.send(&hang);
        wait_until("the job runs", LONG, || running() == 1);
        let start = Instant::now();
        running();
        polls.push(start.elapsed());
        let start = Instant::now();
        drop(raw);
        while running() > 0 {}
        hang_ups.push(start.elapsed());
        // The slot serves again.
        Client::connect(daemon.socket()).unwrap().time(&good);
    }
    let own = told(&daemon.log());
    let remark = format!(
        "p50 {:.2} ms, polling included (one poll: {:.2} ms); the service's own clock: p99 {:.2} ms of {}",
        hang_ups.p50() / 1000.0,
        polls.p50() / 1000.0,
        own.p99() / 1000.0,
        own.len()
    );
    outcome.tell(
        "free_hang_up",
        hang_ups.p99() / 1000.0,
        hang_ups.len(),
        remark,
    );

    let before = own.len();
    let form = crate::common::http::Form::of("a.wav", &service::moment());
    let late = form
        .field("model", "process:hang")
        .field("deadline", "0.02")
        .request();
    let mut client = Client::connect(daemon.socket()).unwrap();
    for _ in 0..scale.kills {
        assert_eq!(client.exchange(&late).unwrap().status, 504);
        client.time(&good);
    }
    wait_until("the log tells of all", LONG, || {
        told(&daemon.log()).len() >= before + scale.kills
    });
    let deadlines = told(&daemon.log()).since(before);
    let remark = format!("p50 {:.2} ms", deadlines.p50() / 1000.0);
    outcome.tell(
        "free_deadline",
        deadlines.p99() / 1000.0,
        deadlines.len(),
        remark,
    );
}

/// The times in the service's log.
fn told(log: &str) -> Samples {
    let mut samples = Samples::default();
    for rest in log.split("slot_free_us=").skip(1) {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        if let Ok(micros) = digits.parse() {
            samples.push(Duration::from_micros(micros));
        }
    }
    samples
}
