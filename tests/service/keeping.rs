//! How models are kept ready: spares, the memory budget, fresh zygotes, canaries, and what happens
//! when jobs crash.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use crate::common::{
    LONG,
    clips::wav,
    daemon::Daemon,
    http::{Answer, Form},
    process::{Seen, pids},
    user::{self, User},
    wait_until,
};
use nix::sys::signal::Signal::{SIGKILL, SIGSTOP};

const FAULT: &str = "[models.default]\nengine = \"fault\"\n";

/// A second of silence for the model `name`.
fn to(name: &str) -> Form {
    Form::of("a.wav", &wav(&[0; 32000])).field("model", name)
}

fn jobs(daemon: &Daemon) -> Vec<Seen> {
    let mut jobs = daemon.children();
    jobs.retain(Seen::is_job);
    jobs
}

#[track_caller]
fn assert_ok(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn refill_waits_above_the_minimum() {
    let config =
        |delay: &str| format!("[spares]\nmin = 1\nmax = 3\nrefill_delay = \"{delay}\"\n{FAULT}");
    let use_two = |daemon: &Daemon| {
        let before = pids(&daemon.wait_spares(3));
        for _ in 0..2 {
            let answer = daemon.post(&to("default"));
            assert_ok(&answer);
            assert!(before.contains(&answer.pid()));
        }
        before
    };
    // Two of three are gone, the minimum is still there: nothing is forked at once.
    let daemon = Daemon::start(&config("1h"));
    let before = use_two(&daemon);
    assert!(pids(&daemon.wait_idle(1)).is_subset(&before));
    let daemon = Daemon::start(&config("1s"));
    daemon.wait_spares(3);
    let begin = Instant::now();
    use_two(&daemon);
    // The two that have answered may not have ended yet, and are no spares.
    daemon.wait_spares(3);
    let elapsed = begin.elapsed();
    assert!(elapsed >= Duration::from_secs(1), "{elapsed:?}");
}

#[test]
fn refill_is_immediate_below_it() {
    let config = "[spares]\nmin = 3\nmax = 3\nrefill_delay = \"1h\"\n";
    let daemon = Daemon::start(&format!("{config}{FAULT}"));
    for _ in 0..5 {
        let before = pids(&daemon.wait_spares(3));
        let answer = daemon.post(&to("default"));
        assert_ok(&answer);
        assert!(before.contains(&answer.pid()));
    }
    daemon.wait_idle(3);
}

#[test]
fn expired_spares_are_replaced() {
    let spares = "[spares]\nmin = 1\nmax = 3\nttl = \"300ms\"\n";
    let daemon = Daemon::start(&format!("{spares}{FAULT}"));
    let first = pids(&daemon.wait_idle(1));
    wait_until("another one waits in its place", LONG, || {
        let now = pids(&daemon.wait_idle(1));
        now.is_disjoint(&first)
    });
    assert_ok(&daemon.post(&to("default")));
}

#[test]
fn without_spares_jobs_fork_on_demand() {
    let daemon = Daemon::start(&format!("[spares]\nttl = \"0\"\n{FAULT}"));
    daemon.wait_idle(0);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let answer = daemon.post(&to("default"));
        assert_ok(&answer);
        assert!(!seen.contains(&answer.pid()));
        seen.push(answer.pid());
        daemon.wait_idle(0);
    }
}

#[test]
fn dying_spares_are_replaced_ever_slower() {
    let spares = "[spares]\nmin = 1\nmax = 1\n";
    let daemon = Daemon::start(&format!("{spares}{FAULT}"));
    for pause in [200, 400, 800] {
        let spare = daemon.wait_idle(1).remove(0);
        // The job of the self-test may still be ending.
        let before: Vec<_> = jobs(&daemon).iter().map(|job| job.pid).collect();
        let killed = Instant::now();
        spare.signal(SIGKILL);
        wait_until("another one is there", LONG, || {
            jobs(&daemon).iter().any(|job| !before.contains(&job.pid))
        });
        assert!(
            killed.elapsed() >= Duration::from_millis(pause),
            "{:?} instead of {pause} ms",
            killed.elapsed()
        );
    }
    // A request does not wait for that: it would each time, and a busy machine makes it late only
    // once or twice.
    let is_early = |pause| {
        let spare = daemon.wait_idle(1).remove(0);
        let killed = Instant::now();
        spare.signal(SIGKILL);
        // A request that comes while it dies may be given to it.
        wait_until("it is gone", LONG, || {
            jobs(&daemon).iter().all(|job| job.pid != spare.pid)
        });
        assert_ok(&daemon.post(&to("default")));
        killed.elapsed() < Duration::from_millis(pause)
    };
    assert!([1600, 3200, 6400, 12800].into_iter().any(is_early));
}

#[test]
fn a_zygote_is_renewed_without_a_gap() {
    let config = format!("[zygote]\nmax_forks = 10\n{FAULT}");
    let daemon = Daemon::start(&config);
    let first = daemon.zygote();
    let (done, unready) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let ready = daemon.is_ready();
                unready.fetch_add(usize::from(!ready), Ordering::Relaxed);
            }
        });
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..25 {
                        assert_ok(&daemon.post(&to("default")));
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(unready.into_inner(), 0);
    wait_until("the first zygote is gone", LONG, || !first.lives());
    let fresh = daemon.log().matches("a fresh zygote takes over").count();
    println!("100 requests, {fresh} fresh zygotes");
    assert!(fresh >= 1, "{fresh}");
    daemon.wait_idle(2);
}

#[test]
fn all_jobs_keep_to_the_budget() {
    let memory = "[memory]\nbudget = \"64M\"\n[jobs]\nmax_running = 8\n";
    let models: String = ["default", "other"]
        .map(|name| format!("[models.{name}]\nengine = \"fault\"\nlimits.memory = \"32M\"\n"))
        .concat();
    let daemon = Daemon::start(&format!("{memory}{models}"));
    let (done, most) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(jobs(&daemon).len(), Ordering::Relaxed);
            }
        });
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let form = to(["default:sleep=300ms", "other:sleep=300ms"][number % 2]);
                let daemon = &daemon;
                scope.spawn(move || assert_ok(&daemon.post(&form)))
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(most.into_inner(), 2);
}

#[test]
fn a_model_beyond_the_budget_is_named() {
    let config = "[memory]\nbudget = \"64M\"\n[models.default]\nengine = \"fault\"";
    let environment = [("STT_ISOLATED_LIMITS__MEMORY".into(), "100M".into())];
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let error = stt_isolated::config::Config::load(Some(file.path()), environment.into_iter())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("100M is more than memory.budget, 64M"),
        "{error}"
    );
}

/// The breaker's rule in these tests.
const BREAKER: &str = "[breaker]\ncrashes = 3\nwithin = \"1h\"\npause = \"5s\"\n";

#[test]
fn crashes_of_one_client_pause_only_that_client() {
    if !user::are_possible() {
        return;
    }
    let other = "[models.other]\nengine = \"fault\"\n";
    let daemon = Daemon::start(&format!("{BREAKER}{FAULT}{other}"));
    user::let_in(&daemon);
    let (unlucky, lucky) = (User::new(61201), User::new(61202));
    let ask = |who: &User, model: &str| who.run(|| daemon.post(&to(model)));
    for _ in 0..3 {
        assert_eq!(ask(&unlucky, "default:segfault").status, 502);
    }
    let answer = ask(&unlucky, "default");
    answer.assert_come_back(503, "engine_unavailable");
    let message = answer.error()["message"].to_string();
    assert!(
        message.contains("crashed again and again on your requests"),
        "{message}"
    );
    assert_ok(&ask(&unlucky, "other"));
    for _ in 0..4 {
        assert_ok(&ask(&lucky, "default"));
    }
    assert!(daemon.is_ready());

    // The first one after the pause decides.
    wait_until("one is tried again", LONG, || {
        ask(&unlucky, "default:segfault").status == 502
    });
    assert_eq!(ask(&unlucky, "default").status, 503);
    assert_ok(&ask(&lucky, "default"));
    wait_until("one is tried again and succeeds", LONG, || {
        ask(&unlucky, "default").status == 200
    });
    assert_ok(&ask(&unlucky, "default"));
}

#[test]
fn crashes_of_several_clients_pause_a_model() {
    if !user::are_possible() {
        return;
    }
    let other = "[models.other]\nengine = \"fault\"\n";
    let no_canary = "[health]\ninterval = \"0s\"\n";
    let daemon = Daemon::start(&format!("{BREAKER}{no_canary}{FAULT}{other}"));
    user::let_in(&daemon);
    let users = [61201, 61202, 61203].map(User::new);
    let ask = |who: usize, model: &str| users[who].run(|| daemon.post(&to(model)));
    for who in [0, 1, 0] {
        assert_eq!(ask(who, "default:segfault").status, 502);
    }
    let answer = ask(2, "default");
    answer.assert_come_back(503, "engine_unavailable");
    let ready = daemon.get("/readyz");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["models"]["default"]["status"], "tripped");
    assert_eq!(ready.json()["models"]["other"]["status"], "ready");
    assert_ok(&ask(2, "other"));

    // After the pause each client may try once, and a crash keeps only that client out.
    wait_until("one is tried again", LONG, || {
        ask(0, "default:segfault").status == 502
    });
    assert_eq!(ask(0, "default").status, 503);
    assert_ok(&ask(2, "default"));
    assert!(daemon.is_ready());
    for _ in 0..4 {
        assert_ok(&ask(1, "default"));
    }
}

#[test]
fn a_paused_model_is_tried_though_nobody_asks() {
    if !user::are_possible() {
        return;
    }
    let daemon = Daemon::start(&format!("{BREAKER}{FAULT}"));
    user::let_in(&daemon);
    for uid in [61201, 61202, 61201] {
        let answer = User::new(uid).run(|| daemon.post(&to("default:segfault")));
        assert_eq!(answer.status, 502);
    }
    assert!(!daemon.is_ready());
    wait_until("the service has tried it", LONG, || daemon.is_ready());
}

#[test]
fn occasional_crashes_do_not_pause_it() {
    let breaker = "[breaker]\ncrashes = 3\nwithin = \"1h\"\npause = \"1h\"\n";
    let daemon = Daemon::start(&format!("{breaker}{FAULT}"));
    for _ in 0..6 {
        for _ in 0..3 {
            assert_ok(&daemon.post(&to("default")));
        }
        assert_eq!(daemon.post(&to("default:segfault")).status, 502);
    }
}

#[test]
fn a_canary_finds_a_broken_model() {
    let config = "[health]\ninterval = \"1s\"\n[limits]\ndeadline = \"3s\"\n\
                  deadline_per_audio_second = 0.0\n[spares]\nmin = 1\nmax = 1\n";
    let daemon = Daemon::start(&format!("{config}{FAULT}"));
    let zygote = daemon.zygote();
    let spare = daemon.wait_spares(1).remove(0);
    // A job that hangs, before anybody has asked for anything.
    spare.signal(SIGSTOP);
    wait_until("the canary has found it", LONG, || !daemon.is_ready());
    let reason = daemon.get("/readyz").json()["models"]["default"]["reason"].to_string();
    assert!(reason.contains("canary"), "{reason}");
    // A fresh zygote, and its first canary, make it well again.
    wait_until("it is well again", LONG, || daemon.is_ready());
    wait_until("there is a fresh zygote", LONG, || !zygote.lives());
    assert!(!spare.lives());
}

#[test]
fn a_mute_zygote_is_replaced() {
    let daemon = Daemon::start(&format!("[spares]\nmin = 1\nmax = 1\n{FAULT}"));
    let zygote = daemon.zygote();
    daemon.wait_idle(1);
    zygote.signal(SIGSTOP);
    // The first is served by the spare that there is, the next by a job of the next zygote.
    assert_ok(&daemon.post(&to("default")));
    assert_ok(&daemon.post(&to("default")));
    assert!(!zygote.lives());
    daemon.wait_idle(1);
}
