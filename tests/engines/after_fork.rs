//! Engines that cannot be forked once loaded: the zygote is empty, and each job loads the model
//! before its request.

use crate::common::{
    LONG,
    clips::{TEN_OF_CLUBS, wav},
    daemon::{Daemon, Setup},
    http::{Answer, Form},
    wait_until,
};
use serde_json::Value;
use stt_isolated::engine::fault::{TEXT, escape};

const CONFIG: &str = r#"
default_model = "fault"
[service]
log_level = "debug"
[health]
interval = "0s"
[breaker]
crashes = 0
[models.fault]
engine = "fault"
fault.preload = "after_fork"
"#;

fn fault(daemon: &Daemon, mode: &str) -> Answer {
    let model = format!("fault:{mode}");
    daemon.post(&Form::of("a.wav", &wav(&[0; 3200])).field("model", &model))
}

#[test]
fn each_job_loads_the_model_itself() {
    let daemon = Daemon::start(CONFIG);
    let pids = [(); 5].map(|()| {
        let answer = daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav());
        assert_eq!(answer.text(), TEXT);
        answer.pid()
    });
    let different: std::collections::HashSet<_> = pids.iter().collect();
    assert_eq!(different.len(), pids.len());
}

#[test]
fn a_failure_costs_one_request() {
    let daemon = Daemon::start(CONFIG);
    for (mode, status, code) in [
        ("segfault", 502, "worker_crashed"),
        ("fail", 502, "engine_failed"),
        ("exit=3", 502, "worker_crashed"),
        ("output-flood", 502, "worker_misbehaved"),
        ("ready-twice", 502, "worker_misbehaved"),
    ] {
        let answer = fault(&daemon, mode);
        assert_eq!(answer.status, status, "{mode}");
        assert_eq!(answer.error()["code"], code, "{mode}");
        let next = daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav());
        assert_eq!(next.text(), TEXT, "after {mode}");
    }
}

#[test]
fn a_job_gives_up_loading_rights() {
    let daemon = Daemon::start(CONFIG);
    let mut escaped = Vec::new();
    for escape::Attempt { name, call, .. } in escape::all() {
        let answer = fault(&daemon, name);
        let is_over = match answer.status {
            200 => answer.text().starts_with(&format!("denied {name} ")),
            _ => {
                let error = answer.error();
                error["code"] == "worker_misbehaved"
                    && error["message"].as_str().unwrap().contains(call)
            }
        };
        if !is_over {
            escaped.push(format!("{name}: {answer:?}"));
        }
    }
    assert!(escaped.is_empty(), "{}", escaped.join("\n"));
}

/// The words of `/readyz` about a model next to a good one, once it is more than `starting`.
fn trouble(table: &str) -> Value {
    let config = format!(
        "{CONFIG}[models.bad]\nengine = \"fault\"\n{table}\n[zygote]\nload_timeout = \"3s\"\n"
    );
    let daemon = Setup::new(&config).launch();
    let bad = || daemon.get("/readyz").json()["models"]["bad"].clone();
    wait_until("it has been tried", LONG, || bad()["status"] != "starting");
    wait_until("the other is ready", LONG, || {
        daemon.get("/readyz").json()["models"]["fault"]["status"] == "ready"
    });
    assert_eq!(daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav()).text(), TEXT);
    bad()
}

#[test]
fn a_failed_load_says_why() {
    for preload in ["before_fork", "after_fork"] {
        for (load, reason) in [
            ("fail", "it was asked not to load"),
            ("crash", "SIGABRT"),
            ("escape", "socket"),
            ("hang", "within 3s"),
        ] {
            let table = format!("fault.preload = \"{preload}\"\nfault.load = \"{load}\"");
            let model = trouble(&table);
            assert_eq!(model["status"], "failed", "{preload} {load}: {model}");
            let said = model["reason"].as_str().unwrap();
            assert!(said.contains(reason), "{preload} {load}: {said}");
        }
    }
}
