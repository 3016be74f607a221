//! The requests to the daemon agree with its figures in `/v1/stats` and in `/metrics`.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
};

use crate::common::{
    LONG,
    clips::wav,
    daemon::{Daemon, Setup},
    http::{Answer, Form, Raw, post_head},
    wait_for, wait_until,
};
use serde_json::{Value, json};

const CONFIG: &str = r#"
default_model = "fault"

[jobs]
max_running = 1
max_queued = 1
queue_timeout = "3s"

[clients]
max_queued = 1

[limits]
max_audio = "10s"

[models.fault]
engine = "fault"

[models.hasty]
engine = "fault"
aliases = ["whisper-1"]
limits = { deadline = "500ms", deadline_per_audio_second = 0.0, memory = "300M" }
spares = { min = 0, max = 0 }
"#;

/// This many seconds of silence for this model.
fn form(model: &str, seconds: usize) -> Form {
    Form::of("a.wav", &wav(&vec![0; 32_000 * seconds])).field("model", model)
}

struct Service {
    daemon: Daemon,
    address: String,
}

impl Service {
    fn start(config: &str) -> Service {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let daemon = Setup::new(config).listen(&address).start();
        Service { daemon, address }
    }

    fn stats(&self) -> Value {
        self.daemon.get("/v1/stats").json()
    }

    fn ask(&self, model: &str) -> Answer {
        self.daemon.post(&form(model, 2))
    }

    /// Asks for something that does not end by itself.
    fn occupy(&self, model: &str) -> Raw {
        let mut connection = self.daemon.connect();
        connection.send(&form(model, 2).request());
        connection
    }

    /// Waits until this many requests have a job, and this many wait for one.
    #[track_caller]
    fn wait(&self, running: u64, queued: u64) -> Value {
        let what = format!("{running} running, {queued} queued");
        wait_for(&what, LONG, || {
            let stats = self.stats();
            let total = &stats["total"];
            (total["running"] == running && total["queued"] == queued).then_some(stats)
        })
    }

    /// The statistics as a client over TCP sees them.
    fn stats_over_network(&self) -> Value {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = "GET /v1/stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// The answer to a client over TCP.
    fn ask_over_network(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(&form("fault", 1).request()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    }
}

/// All endings of accepted requests, 0 but for these.
fn requests(ended: &[(&str, u64)]) -> Value {
    let mut all = json!({
        "ok": 0, "invalid_audio": 0, "audio_too_long": 0, "speakers_unknown": 0,
        "engine_failed": 0, "upstream_refused": 0, "upstream_busy": 0, "upstream_failed": 0, "memory_limit_exceeded": 0,
        "worker_crashed": 0, "worker_misbehaved": 0, "timeout": 0, "cancelled": 0, "shutting_down": 0,
        "queue_timeout": 0, "engine_unavailable": 0,
    });
    for (ending, count) in ended {
        all[ending] = json!(count);
    }
    all["accepted"] = json!(ended.iter().map(|(_, count)| count).sum::<u64>());
    all
}

/// Adds up whatever is a number in both.
fn add(sum: &mut Value, more: &Value) {
    match (sum, more) {
        (Value::Object(sum), Value::Object(more)) => {
            for (key, value) in sum {
                add(value, &more[key]);
            }
        }
        (Value::Array(sum), Value::Array(more)) => {
            // A bucket: its bound, and how many are in it.
            if let ([Value::Number(_), below], [Value::Number(_), more]) =
                (sum.as_mut_slice(), more.as_slice())
            {
                return add(below, more);
            }
            for (sum, more) in sum.iter_mut().zip(more) {
                add(sum, more);
            }
        }
        (sum, more) => {
            let total = sum.as_f64().unwrap() + more.as_f64().unwrap();
            *sum = match sum.as_u64().zip(more.as_u64()) {
                Some((sum, more)) => json!(sum + more),
                None => json!(total),
            };
        }
    }
}

/// Compares all numbers, times with some room for the order in which they were added up.
#[track_caller]
fn assert_same(what: &str, one: &Value, other: &Value) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            assert!(one.keys().eq(other.keys()), "{what}");
            for (key, value) in one {
                assert_same(&format!("{what}.{key}"), value, &other[key]);
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            assert_eq!(one.len(), other.len(), "{what}");
            for (one, other) in one.iter().zip(other) {
                assert_same(what, one, other);
            }
        }
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            assert!((one - other).abs() < 1e-6, "{what}: {one} is not {other}");
        }
        _ => assert_eq!(one, other, "{what}"),
    }
}

const ACTIVITY: [&str; 10] = [
    "queued",
    "running",
    "spares",
    "memory_committed_bytes",
    "requests",
    "refused",
    "audio_seconds",
    "cpu_seconds",
    "lifecycle",
    "latency_seconds",
];

/// Rules that all statistics obey at any moment.
#[track_caller]
fn assert_adds_up(stats: &Value) {
    let models = stats["models"].as_object().unwrap();
    let mut sum: Option<Value> = None;
    for (name, model) in models {
        let own: Value = ACTIVITY
            .map(|key| (key, model[key].clone()))
            .into_iter()
            .collect();
        match &mut sum {
            Some(sum) => add(sum, &own),
            None => sum = Some(own.clone()),
        }
        let requests = own["requests"].as_object().unwrap();
        let ended = requests.iter().filter(|(key, _)| *key != "accepted");
        let ended: u64 = ended.map(|(_, count)| count.as_u64().unwrap()).sum();
        let open = own["running"].as_u64().unwrap() + own["queued"].as_u64().unwrap();
        assert_eq!(requests["accepted"], ended + open, "{name}: {own}");
    }
    let mut sum = sum.unwrap();
    add(&mut sum["refused"], &stats["refused_before_upload"]);
    assert_same("total", &stats["total"], &sum);
    let running = stats["jobs"].as_array().unwrap().len();
    assert_eq!(stats["total"]["running"], running);
}

#[test]
fn every_request_is_counted_once() {
    let service = Service::start(CONFIG);
    let one = |model: &str, status| {
        let answer = service.ask(model);
        assert_eq!(answer.status, status, "{model}: {answer:?}");
        assert_adds_up(&service.stats());
    };
    one("fault", 200);
    one("fault", 200);
    one("whisper-1", 200);
    one("fault:fail", 502);
    one("fault:segfault", 502);
    one("fault:exit=3", 502);
    one("fault:ready-twice", 502);
    one("hasty:hang", 504);
    one("no-such-model", 404);
    let garbage = Form::of("a.wav", b"no recording").field("model", "fault");
    assert_eq!(service.daemon.post(&garbage).status, 400);
    assert_eq!(service.daemon.post(&form("fault", 11)).status, 413);

    // A client that hangs up, with its request running or waiting.
    let running = service.occupy("fault:hang");
    service.wait(1, 0);
    let waiting = service.occupy("fault");
    let stats = service.wait(1, 1);
    assert_adds_up(&stats);
    assert_eq!(stats["clients"][0]["running"], 1);
    assert_eq!(stats["clients"][0]["queued"], 1);
    assert_eq!(stats["clients"][0]["max_queued"], 1);
    // This user may not have a second one waiting, and nobody may when one waits already. Both are
    // told so before they have said which model they want.
    let answer = service.ask("fault");
    assert_eq!(answer.error()["code"], "user_limit");
    assert_eq!(service.ask_over_network(), "HTTP/1.1 429");
    drop(waiting);
    service.wait(1, 0);
    // Waits as long as it may.
    assert_eq!(service.ask("hasty").error()["code"], "queue_full");
    drop(running);
    let stats = wait_for("all is quiet", LONG, || {
        let stats = service.wait(0, 0);
        (stats["models"]["fault"]["spares"] == 2).then_some(stats)
    });

    assert_adds_up(&stats);
    let fault = &stats["models"]["fault"];
    let expected = requests(&[
        ("ok", 2),
        ("engine_failed", 1),
        ("worker_crashed", 2),
        ("worker_misbehaved", 1),
        ("invalid_audio", 1),
        ("audio_too_long", 1),
        ("cancelled", 2),
    ]);
    assert_eq!(fault["requests"], expected);
    let refused =
        json!({"queue_full": 1, "user_limit": 1, "engine_unavailable": 0, "shutting_down": 0});
    assert_eq!(stats["refused_before_upload"], refused);
    assert_eq!(stats["total"]["refused"], refused);
    let hasty = &stats["models"]["hasty"];
    let expected = requests(&[("ok", 1), ("timeout", 1), ("queue_timeout", 1)]);
    assert_eq!(hasty["requests"], expected);
    assert_eq!(fault["audio_seconds"], 4.0);
    assert_eq!(hasty["audio_seconds"], 2.0);

    // One entry in the log for each of them.
    let log = service.daemon.log();
    assert_eq!(log.matches(" outcome=\"").count(), 10 + 3 + 2, "{log}");

    // All but one of them had a job, and each job is accounted for: the self-test's, too.
    let latency = &fault["latency_seconds"];
    assert_eq!(latency["upload"]["count"], 9 + 1);
    assert_eq!(latency["queue"]["count"], 9);
    assert_eq!(latency["decode"]["count"], 2);
    assert_eq!(latency["hand_over"]["count"], 2);
    assert_eq!(latency["transcribe"]["count"], 2);
    assert_eq!(fault["lifecycle"]["jobs_forked"], 1 + 9 + 2);
    assert_eq!(fault["zygotes"][0]["forks"], 1 + 9 + 2);
    assert_eq!(fault["lifecycle"]["spares_died"], 0);
    wait_until("all slots are free", LONG, || {
        let stats = service.stats();
        stats["models"]["fault"]["latency_seconds"]["exit"]["count"] == 9
    });
    // Without spares each of its jobs was forked for a request that waited.
    assert_eq!(hasty["lifecycle"]["forks_on_demand"], 2);
    assert_eq!(hasty["lifecycle"]["zygotes_started"], 1);
    assert_eq!(hasty["memory_limit_bytes"], 300 << 20);
    assert_metrics_say_the_same(&service);
}

#[test]
fn running_requests_show_progress() {
    let service = Service::start(CONFIG);
    let running = service.occupy("fault:stall");
    let job = wait_for("the job has read its recording", LONG, || {
        let job = service.wait(1, 0)["jobs"][0].clone();
        (job["audio_seconds"] == 2.0).then_some(job)
    });
    let keys: Vec<&String> = job.as_object().unwrap().keys().collect();
    let expected = [
        "age_seconds",
        "audio_seconds",
        "client_request_id",
        "cpu_seconds",
        "id",
        "key",
        "memory_bytes",
        "memory_limit_bytes",
        "memory_peak_bytes",
        "model",
        "pid",
        "request_id",
        "slot",
        "stage",
        "total_seconds",
        "transcribed_seconds",
        "uid",
    ];
    assert_eq!(keys, expected);
    assert_eq!(job["model"], "fault");
    assert_eq!(job["uid"], nix::unistd::geteuid().as_raw());
    assert_eq!(job["stage"], "transcribing");
    assert!(job["slot"].is_u64());
    uuid::Uuid::parse_str(job["request_id"].as_str().unwrap()).unwrap();
    let children = service.daemon.children();
    let seen = children.iter().find(|seen| job["pid"] == seen.pid).unwrap();
    assert!(seen.is_job());
    assert!(job["memory_bytes"].as_u64().unwrap() > 1 << 20);
    assert!(job["memory_peak_bytes"].as_u64() >= job["memory_bytes"].as_u64());
    let stats = service.stats();
    let pid = stats["models"]["fault"]["zygotes"][0]["pid"].clone();
    let zygotes = children.iter().filter(|seen| seen.is_zygote());
    assert!(zygotes.into_iter().any(|zygote| pid == zygote.pid));
    drop(running);
    service.wait(0, 0);
}

#[test]
fn a_client_finds_its_own_requests() {
    let config = "[jobs]\nmax_running = 1\n[models.default]\nengine = \"fault\"";
    let service = Service::start(config);
    let ask = |label: &str, seconds: usize| {
        let body = form("default:sleep=1h", seconds).body();
        let length = body.len();
        let label = format!("X-Client-Request-Id: {label}\r\n");
        let mut connection = service.daemon.connect();
        let head = post_head(&format!("{label}Content-Length: {length}\r\n"));
        connection.send(&[head, body].concat());
        connection
    };
    let first = ask("one", 12);
    let stats = wait_for("the first one is heard", LONG, || {
        let stats = service.wait(1, 0);
        (stats["jobs"][0]["transcribed_seconds"] == 12.0).then_some(stats)
    });
    assert_eq!(stats["jobs"][0]["total_seconds"], 12.0);
    assert_eq!(stats["jobs"][0]["client_request_id"], "one");
    assert_eq!(stats["waiting"], json!([]));
    let _second = ask("two", 1);
    service.wait(1, 1);
    // Too long to be kept: as good as none.
    let _third = ask(&"x".repeat(65), 1);
    let waiting = service.wait(1, 2)["waiting"].clone();
    let keys: Vec<&String> = waiting[0].as_object().unwrap().keys().collect();
    let expected = [
        "age_seconds",
        "client_request_id",
        "id",
        "key",
        "model",
        "place",
        "request_id",
        "uid",
    ];
    assert_eq!(keys, expected);
    let seen = |at: usize| (&waiting[at]["client_request_id"], &waiting[at]["place"]);
    assert_eq!(seen(0), (&json!("two"), &json!(1)));
    assert_eq!(seen(1), (&Value::Null, &json!(2)));
    // Other clients see that there is a request, and not its name.
    let others = service.stats_over_network();
    assert_eq!(others["jobs"][0]["transcribed_seconds"], 12.0);
    assert_eq!(others["waiting"][0]["place"], 1);
    assert!(!others.to_string().contains("\"two\""), "{others}");
    assert!(!others.to_string().contains("\"one\""), "{others}");
    drop(first);
    let stats = service.wait(1, 1);
    assert_eq!(stats["jobs"][0]["client_request_id"], "two");
    assert_eq!(stats["waiting"][0]["place"], 1);
}

#[test]
fn lost_zygotes_and_failed_starts_count() {
    let broken =
        "[models.broken]\nengine = \"pocketsphinx\"\npocketsphinx.acoustic_model = \"/etc\"";
    let daemon = Setup::new(&format!("{CONFIG}{broken}")).launch();
    let stats = || daemon.get("/v1/stats").json();
    let health = |name: &str| stats()["models"][name]["health"].clone();
    wait_until("the models were tried", LONG, || {
        ["fault", "hasty"]
            .iter()
            .all(|name| health(name) == "ready")
            && health("broken") == "failed"
    });
    let reason = stats()["models"]["broken"]["reason"].clone();
    assert!(reason.as_str().unwrap().contains("/etc"), "{reason}");
    daemon
        .post(&form("broken", 1))
        .assert_come_back(503, "engine_unavailable");
    let broken = stats()["models"]["broken"].clone();
    assert_eq!(broken["refused"]["engine_unavailable"], 1);
    assert_eq!(broken["requests"], requests(&[]));
    assert!(broken["lifecycle"]["zygotes_failed"].as_u64() >= Some(1));

    let zygote = stats()["models"]["fault"]["zygotes"][0]["pid"]
        .as_i64()
        .unwrap();
    let zygote = nix::unistd::Pid::from_raw(i32::try_from(zygote).unwrap());
    nix::sys::signal::kill(zygote, nix::sys::signal::Signal::SIGKILL).unwrap();
    let lifecycle = wait_for("the zygote was replaced", LONG, || {
        let fault = stats()["models"]["fault"].clone();
        let other = &fault["zygotes"][0]["pid"];
        let replaced = fault["health"] == "ready" && other.is_i64() && *other != zygote.as_raw();
        replaced.then(|| fault["lifecycle"].clone())
    });
    assert_eq!(lifecycle["zygotes_started"], 2);
    assert_eq!(lifecycle["zygotes_lost"], 1);
    assert_eq!(lifecycle["zygotes_failed"], 0);
}

#[test]
fn removed_models_stay_in_the_total() {
    let service = Service::start(CONFIG);
    for model in ["fault", "hasty", "hasty"] {
        assert_eq!(service.ask(model).status, 200);
    }
    let (one, _) = CONFIG.split_once("[models.hasty]").unwrap();
    service.daemon.configure(one);
    service.daemon.signal(nix::sys::signal::Signal::SIGHUP);
    let stats = wait_for("the model is gone", LONG, || {
        let stats = service.stats();
        stats["models"].get("hasty").is_none().then_some(stats)
    });
    assert_eq!(stats["total"]["requests"], requests(&[("ok", 3)]));
    assert_eq!(stats["models"]["fault"]["requests"], requests(&[("ok", 1)]));
    assert_eq!(stats["total"]["audio_seconds"], 6.0);
    assert_metrics_say_the_same(&service);
    // It comes back, and begins anew.
    service.daemon.configure(CONFIG);
    service.daemon.signal(nix::sys::signal::Signal::SIGHUP);
    let stats = wait_for("the model is back", LONG, || {
        let stats = service.stats();
        (stats["models"]["hasty"]["health"] == "ready").then_some(stats)
    });
    assert_eq!(stats["models"]["hasty"]["requests"], requests(&[]));
    assert_eq!(stats["total"]["requests"], requests(&[("ok", 3)]));
}

/// Each value of `/metrics` by its name and labels.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    samples.map(sample).collect()
}

/// Each value of `/v1/stats` that `/metrics` must have as well, under the name that it must have
/// there.
fn expected(stats: &Value) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    let mut tell = |name: &str, labels: &[(&str, &str)], value: &Value| {
        let value = match value {
            Value::Bool(yes) => f64::from(*yes),
            Value::Null => return,
            number => number.as_f64().unwrap(),
        };
        let pairs: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
        let labels = match pairs.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", pairs.join(",")),
        };
        all.insert(format!("stt_isolated_{name}{labels}"), value);
    };
    let mode = stats["isolation"]["mode"].as_str().unwrap();
    let version = stats["version"].as_str().unwrap();
    tell("info", &[("version", version), ("mode", mode)], &json!(1));
    tell("confined", &[], &stats["isolation"]["confined"]);
    let warnings = stats["isolation"]["warnings"].as_array().unwrap().len();
    tell("isolation_warnings", &[], &json!(warnings));
    tell("running_max", &[], &stats["bounds"]["max_running"]);
    tell("queued_max", &[], &stats["bounds"]["max_queued"]);
    tell(
        "memory_budget_bytes",
        &[],
        &stats["bounds"]["memory_budget_bytes"],
    );
    for (reason, count) in stats["refused_before_upload"].as_object().unwrap() {
        let labels = [("model", ""), ("reason", reason.as_str())];
        tell("requests_refused_total", &labels, count);
    }
    for (name, model) in stats["models"].as_object().unwrap() {
        let own = [("model", name.as_str())];
        let with = |label: &'static str, value| [own[0], (label, value)];
        let (engine, mode) = (
            model["engine"].as_str().unwrap(),
            model["mode"].as_str().unwrap(),
        );
        tell(
            "model_info",
            &[own[0], ("engine", engine), ("mode", mode)],
            &json!(1),
        );
        for state in ["starting", "ready", "failed", "tripped"] {
            let is_it = json!(model["health"] == state);
            tell("model_health", &with("state", state), &is_it);
        }
        tell("job_memory_limit_bytes", &own, &model["memory_limit_bytes"]);
        tell(
            "zygotes",
            &own,
            &json!(model["zygotes"].as_array().unwrap().len()),
        );
        tell("spares", &own, &model["spares"]);
        tell(
            "memory_committed_bytes",
            &own,
            &model["memory_committed_bytes"],
        );
        tell("requests_queued", &own, &model["queued"]);
        tell("requests_running", &own, &model["running"]);
        tell("audio_seconds_total", &own, &model["audio_seconds"]);
        tell("cpu_seconds_total", &own, &model["cpu_seconds"]);
        for (ending, count) in model["requests"].as_object().unwrap() {
            match ending.as_str() {
                "accepted" => tell("requests_accepted_total", &own, count),
                ending => tell("requests_total", &with("outcome", ending), count),
            }
        }
        let refused = model["refused"].as_object().unwrap();
        for (reason, count) in refused {
            tell("requests_refused_total", &with("reason", reason), count);
        }
        for (event, count) in model["lifecycle"].as_object().unwrap() {
            tell("lifecycle_events_total", &with("event", event), count);
        }
        for (latency, times) in model["latency_seconds"].as_object().unwrap() {
            let name = match latency.as_str() {
                "start" | "exit" => format!("job_{latency}_seconds"),
                _ => format!("request_{latency}_seconds"),
            };
            tell(&format!("{name}_count"), &own, &times["count"]);
            tell(&format!("{name}_sum"), &own, &times["sum"]);
            for bucket in times["buckets"].as_array().unwrap() {
                let bound = bucket[0].as_f64().unwrap().to_string();
                tell(
                    &format!("{name}_bucket"),
                    &[own[0], ("le", bound.as_str())],
                    &bucket[1],
                );
            }
            tell(
                &format!("{name}_bucket"),
                &with("le", "+Inf"),
                &times["count"],
            );
        }
    }
    all
}

/// Values that change by themselves from one look to the next.
fn moves(name: &str) -> bool {
    [
        "uptime_seconds",
        "supervisor_",
        "connections",
        "session",
        "zygote_",
    ]
    .iter()
    .any(|beginning| name.starts_with(&format!("stt_isolated_{beginning}")))
}

#[track_caller]
fn assert_metrics_say_the_same(service: &Service) {
    // Both pages of one moment: nothing has changed from before the one to behind it.
    let (answer, expected) = wait_for("nothing moves", LONG, || {
        let before = expected(&service.stats());
        let answer = service.daemon.get("/metrics");
        (expected(&service.stats()) == before).then_some((answer, before))
    });
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let mut metrics = parse(&text);
    let moving: Vec<String> = metrics.keys().filter(|name| moves(name)).cloned().collect();
    for name in [
        "uptime_seconds",
        "supervisor_resident_memory_bytes",
        "connections",
    ] {
        assert!(metrics[&format!("stt_isolated_{name}")] > 0.0, "{name}");
    }
    metrics.retain(|name, _| !moving.contains(name));
    let names = |of: &BTreeMap<String, f64>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&metrics), names(&expected));
    for (name, value) in &metrics {
        let other = expected[name];
        assert!(
            (value - other).abs() < 1e-9,
            "{name}: {value} is not {other}"
        );
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("install prometheus");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}
