//! The three modes (process, hybrid, thread) serve alike; what sets them apart is what a bad
//! request costs the others.

use std::{collections::HashSet, time::Duration};

use crate::common::{
    LONG,
    clips::{CLIPS, Clip, ENCODINGS, GOFORWARD, TEN_OF_CLUBS, wav},
    daemon::Daemon,
    http::{Answer, Form},
    process, wait_until,
};
use stt_isolated::engine::fault::TEXT;

/// Models of the engine `fault`, whose requests are counted: no canary may be among them.
const FAULTS: &str = r#"
default_model = "process"
[service]
log_level = "debug"
[health]
interval = "0s"
[models.process]
engine = "fault"
[models.thread]
engine = "fault"
mode = "thread"
[models.hybrid]
engine = "fault"
mode = "hybrid"
"#;

fn ask(daemon: &Daemon, model: &str, recording: &[u8]) -> Answer {
    daemon.post(&Form::of("recording", recording).field("model", model))
}

/// The answers of the models `process`, `hybrid` and `thread`, which work side by side.
fn in_every_mode(daemon: &Daemon, recording: &[u8]) -> [Answer; 3] {
    std::thread::scope(|scope| {
        ["process", "hybrid", "thread"]
            .map(|model| scope.spawn(move || ask(daemon, model, recording)))
            .map(|answer| answer.join().unwrap())
    })
}

/// Have a short recording transcribed by a model of the engine `fault`, in a mode of it.
fn fault(daemon: &Daemon, model: &str) -> Answer {
    ask(daemon, model, &wav(&[0; 3200]))
}

/// A correct request to a model of the engine `fault`, correctly answered: process id of its job.
#[track_caller]
fn good(daemon: &Daemon, model: &str) -> i32 {
    let answer = fault(daemon, model);
    assert_eq!(answer.text(), TEXT, "{}", daemon.log());
    answer.pid()
}

/// Jobs of the model `hybrid` that were replaced for their requests, their growth, their age.
fn recycled(daemon: &Daemon) -> [u64; 3] {
    let stats = daemon.get("/v1/stats").json();
    let lifecycle = &stats["models"]["hybrid"]["lifecycle"];
    ["requests", "growth", "age"].map(|reason| {
        let count = lifecycle[format!("jobs_recycled_{reason}")].as_u64();
        count.unwrap_or_else(|| panic!("{stats}"))
    })
}

/// The clips several times, shuffled, the same way each time.
fn shuffled(times: usize) -> Vec<Clip> {
    let mut clips = CLIPS.repeat(times);
    let mut state = 1u64;
    for last in (1..clips.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        clips.swap(last, usize::try_from(state >> 33).unwrap() % (last + 1));
    }
    clips
}

/// An Ogg Vorbis file whose codebook has absurd dimensions: symphonia 0.6.1 panics over it.
fn panicking() -> Vec<u8> {
    let [_, _, ogg, ..] = ENCODINGS;
    let mut file = GOFORWARD.encoded(ogg);
    let find = |what: &[u8], file: &[u8]| file.windows(what.len()).rposition(|w| w == what);
    let setup = find(b"\x05vorbis", &file).unwrap();
    let page = find(b"OggS", &file[..setup]).unwrap();
    let segments = usize::from(file[page + 26]);
    let sizes = &file[page + 27..][..segments];
    let length = 27 + segments + sizes.iter().map(|size| usize::from(*size)).sum::<usize>();
    // Behind the name, the number of codebooks and the mark of the first: 65535 dimensions, 1
    // entry, which is ordered, with a lookup table of type 1.
    let codebook = [0xff, 0xff, 1, 0, 0, 0xc1, 0];
    file[setup + 11..][..codebook.len()].copy_from_slice(&codebook);
    let checksum = page + 22..page + 26;
    file[checksum.clone()].fill(0);
    let sum = file[page..][..length].iter().fold(0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            (sum << 1) ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    file[checksum].copy_from_slice(&sum.to_le_bytes());
    file
}

#[test]
fn every_mode_answers_alike() {
    let daemon = Daemon::start(
        r#"
        default_model = "process"
        [limits]
        max_audio = "10s"
        [models.process]
        engine = "pocketsphinx"
        [models.thread]
        engine = "pocketsphinx"
        mode = "thread"
        [models.hybrid]
        engine = "pocketsphinx"
        mode = "hybrid"
        "#,
    );
    let too_short = wav(&[]);
    let too_long = wav(&GOFORWARD.samples().repeat(4));
    let mut jobs = HashSet::new();
    for (number, clip) in shuffled(2).into_iter().enumerate() {
        let [process, hybrid, thread] = in_every_mode(&daemon, &clip.wav());
        assert_eq!(process.text(), clip.text);
        for (mode, answer) in [("hybrid", &hybrid), ("thread", &thread)] {
            assert_eq!(answer.body, process.body, "{mode}");
            let isolation = answer.header("x-stt-isolation");
            assert!(isolation.starts_with(&format!("{mode}; ")), "{isolation}");
        }
        assert!(process.header("x-stt-isolation").starts_with("process; "));
        assert_eq!(thread.pid(), daemon.pid());
        jobs.insert(hybrid.pid());
        if number % 5 == 0 {
            for (recording, code) in [
                (b"no recording at all".as_slice(), "invalid_audio"),
                (&too_short, "invalid_audio"),
                (&too_long, "audio_too_long"),
            ] {
                let [process, hybrid, thread] = in_every_mode(&daemon, recording);
                assert_eq!(process.error()["code"], code);
                assert_eq!(hybrid.error(), process.error());
                assert_eq!(thread.error(), process.error());
            }
        }
    }
    assert_eq!(
        jobs.len(),
        1,
        "one job heard them all, and what is wrong with a file is no fault of its"
    );
}

#[test]
fn every_mode_reports_engine_errors() {
    let daemon = Daemon::start(FAULTS);
    let errors = ["process:fail", "hybrid:fail", "thread:fail"].map(|model| {
        let answer = fault(&daemon, model);
        assert_eq!(answer.status, 502);
        answer.error()
    });
    assert_eq!(errors[0]["code"], "engine_failed");
    assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
}

#[test]
fn hybrid_jobs_serve_their_full_number() {
    let daemon = Daemon::start(&format!("{FAULTS}recycle = {{ max_requests = 5 }}"));
    let pids: Vec<i32> = (0..20).map(|_| good(&daemon, "hybrid")).collect();
    let jobs: HashSet<i32> = pids.iter().copied().collect();
    assert_eq!(jobs.len(), 4, "{pids:?}");
    for five in pids.chunks(5) {
        assert!(five.iter().all(|pid| *pid == five[0]), "{pids:?}");
    }
    assert_eq!(recycled(&daemon), [4, 0, 0]);
}

#[test]
fn a_growing_hybrid_job_is_replaced() {
    let daemon = Daemon::start(&format!("{FAULTS}recycle = {{ max_growth = \"50M\" }}"));
    let mut pids = Vec::new();
    for _ in 0..9 {
        let answer = fault(&daemon, "hybrid:leak=20M");
        assert_eq!(answer.text(), TEXT);
        let memory = answer.number("x-stt-anon-bytes") >> 20;
        println!("job {}: {memory} MiB", answer.pid());
        pids.push(answer.pid());
    }
    let jobs: HashSet<i32> = pids.iter().copied().collect();
    assert_eq!(jobs.len(), 3, "{pids:?}");
    for three in pids.chunks(3) {
        assert!(three.iter().all(|pid| *pid == three[0]), "{pids:?}");
    }
    assert_eq!(recycled(&daemon), [0, 3, 0]);
}

#[test]
fn an_old_hybrid_job_is_replaced() {
    let daemon = Daemon::start(&format!("{FAULTS}recycle = {{ max_age = \"2s\" }}"));
    let first = good(&daemon, "hybrid");
    wait_until("it is gone", LONG, || !process::lives(first));
    wait_until("that is told", LONG, || {
        daemon.log().contains("is replaced (age) after 1 requests")
    });
    let [requests, growth, age] = recycled(&daemon);
    assert!(requests == 0 && growth == 0 && age >= 1);
    assert_ne!(good(&daemon, "hybrid"), first);
    // At work, it is not interrupted.
    let answer = fault(&daemon, "hybrid:sleep=3s");
    assert_eq!(answer.text(), TEXT);
    wait_until("it is gone", LONG, || !process::lives(answer.pid()));
}

#[test]
fn a_failed_hybrid_job_is_not_reused() {
    let daemon = Daemon::start(&format!("{FAULTS}limits = {{ deadline = \"2s\" }}"));
    for (mode, code) in [
        ("segfault", "worker_crashed"),
        ("abort", "worker_crashed"),
        ("exit=0", "worker_crashed"),
        ("fork-bomb=1", "worker_misbehaved"),
        ("wrong-request", "worker_misbehaved"),
        ("hang", "timeout"),
        ("fail", "engine_failed"),
    ] {
        let before = good(&daemon, "hybrid");
        assert_eq!(good(&daemon, "hybrid"), before);
        let answer = fault(&daemon, &format!("hybrid:{mode}"));
        assert_eq!(answer.error()["code"], code, "{mode}");
        assert_eq!(answer.pid(), before, "{mode}");
        assert_ne!(good(&daemon, "hybrid"), before, "{mode}");
        wait_until("it is gone", LONG, || !process::lives(before));
    }
}

#[test]
fn a_broken_decoder_costs_one_hybrid_job() {
    let daemon = Daemon::start(FAULTS);
    let before = good(&daemon, "hybrid");
    let answer = ask(&daemon, "hybrid", &panicking());
    let message = answer.assert_refusal(400, "invalid_audio", None);
    assert!(message.contains("decoder"), "{message}");
    assert_eq!(answer.pid(), before);
    assert_ne!(good(&daemon, "hybrid"), before);
}

#[test]
fn late_deeds_do_not_hurt_the_next_request() {
    let daemon = Daemon::start(FAULTS);
    for (mode, times) in [
        ("word-after-last", 30),
        ("answer-then-crash", 30),
        ("word-at-next", 10),
        ("die-at-next", 10),
        ("linger", 2),
    ] {
        for _ in 0..times {
            let bad = fault(&daemon, &format!("hybrid:{mode}"));
            assert_eq!(bad.text(), TEXT, "{mode}");
            // At once: the job is in its pool again, and what it says may be under way.
            assert_ne!(good(&daemon, "hybrid"), bad.pid(), "{mode}");
            wait_until("it is gone", LONG, || !process::lives(bad.pid()));
        }
    }
    let idle = fault(&daemon, "hybrid:die-on-dismiss");
    assert_eq!(idle.text(), TEXT);
    good(&daemon, "hybrid");
    // Nor where many ask at once.
    std::thread::scope(|scope| {
        for mode in [
            "word-after-last",
            "answer-then-crash",
            "word-at-next",
            "die-at-next",
        ] {
            let daemon = &daemon;
            scope.spawn(move || {
                for _ in 0..20 {
                    assert_eq!(fault(daemon, &format!("hybrid:{mode}")).text(), TEXT);
                    good(daemon, "hybrid");
                }
            });
        }
    });
}

#[test]
fn only_so_many_hybrid_jobs_stay() {
    let daemon = Daemon::start(&format!(
        "{FAULTS}spares = {{ min = 1, max = 3 }}
        [jobs]
        max_running = 8"
    ));
    let together = |count: usize, mode: &str| {
        std::thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| assert_eq!(fault(&daemon, mode).text(), TEXT));
            }
        });
    };
    // Those of the model `process` among them.
    let jobs = || {
        daemon
            .children()
            .iter()
            .filter(|child| child.is_job())
            .count()
    };
    wait_until("all spares are there", LONG, || jobs() == 2 + 3);
    together(8, "hybrid:sleep=300ms");
    wait_until("the others are gone", LONG, || jobs() == 2 + 3);
    // Two at a time leave one idle, which is enough: nothing is forked for jobs that come back.
    let before = process::pids(&daemon.children());
    for _ in 0..5 {
        together(2, "hybrid:sleep=100ms");
    }
    assert_eq!(process::pids(&daemon.children()), before);
}

#[test]
fn an_idle_hybrid_job_must_be_silent() {
    let daemon = Daemon::start(FAULTS);
    let bad = fault(&daemon, "hybrid:word-after-last");
    assert_eq!(bad.text(), TEXT);
    wait_until("it is gone", LONG, || !process::lives(bad.pid()));
    let log = daemon.log();
    assert!(log.contains("spoke before it was asked"), "{log}");
}

#[test]
fn limits_and_figures_are_per_request() {
    let daemon = Daemon::start(&format!(
        "{FAULTS}limits = {{ cpu_time = \"1s\", cpu_time_per_audio_second = 0.0, deadline = \"20s\" }}"
    ));
    let mut jobs = HashSet::new();
    for mode in ["burn=600ms", "burn=600ms", "burn=600ms", "sleep=0s"] {
        let answer = fault(&daemon, &format!("hybrid:{mode}"));
        assert_eq!(answer.text(), TEXT, "{mode}");
        let cpu = answer.number("x-stt-cpu-ms");
        println!("{mode}: {cpu} ms");
        let burns = mode.starts_with("burn");
        assert_eq!((500..1000).contains(&cpu), burns, "{mode}: {cpu} ms");
        jobs.insert(answer.pid());
    }
    assert_eq!(jobs.len(), 1);
    let answer = fault(&daemon, "hybrid:burn=3s");
    assert_eq!(answer.error()["code"], "timeout");
}

/// How much each of ten leaks left: process id, and memory of the process that has the engine, in
/// bytes.
fn ten_leaks(daemon: &Daemon, model: &str) -> Vec<(i32, u64)> {
    let mut seen = Vec::new();
    println!("{model}: request, process, its memory, the supervisor's (MiB)");
    for number in 1..=10 {
        let answer = fault(daemon, &format!("{model}:leak=260M"));
        assert_eq!(answer.text(), TEXT);
        let supervisor = process::private_memory(daemon.pid());
        let memory = match answer.pid() == daemon.pid() {
            true => supervisor,
            false => answer.number("x-stt-anon-bytes"),
        };
        let pid = answer.pid();
        println!(
            "{number:>4} {pid:>8} {:>6} {:>6}",
            memory >> 20,
            supervisor >> 20
        );
        seen.push((pid, memory));
    }
    seen
}

/// This takes gigabytes: nothing runs at the same time.
mod alone {
    use super::*;

    #[test]
    fn ten_leaks_of_260_mib_in_every_mode() {
        const LEAK: u64 = 260 << 20;
        // Memory that a process has in addition to what it leaks.
        const REST: u64 = 64 << 20;
        let daemon = Daemon::start(&format!(
            "{FAULTS}recycle = {{ max_requests = 5, max_growth = \"8G\" }}
            [models.growth]
            engine = \"fault\"
            mode = \"hybrid\"
            recycle = {{ max_requests = 5, max_growth = \"600M\" }}
            [limits]
            memory = \"4G\"
            [memory]
            budget = \"unlimited\""
        ));
        let before = process::private_memory(daemon.pid());
        // Which leak of its process each one was.
        let rounds = |model: &str| {
            let seen = ten_leaks(&daemon, model);
            let mut rounds = Vec::new();
            for (number, (pid, memory)) in seen.iter().enumerate() {
                let first = seen.iter().position(|(other, _)| other == pid).unwrap();
                let round = number - first + 1;
                let leaked = LEAK * round as u64;
                assert!(
                    (leaked..leaked + REST).contains(memory),
                    "{model}: {memory}"
                );
                rounds.push(round);
            }
            rounds
        };
        assert_eq!(rounds("process"), [1; 10]);
        assert_eq!(rounds("hybrid"), [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]);
        assert_eq!(rounds("growth"), [1, 2, 3, 1, 2, 3, 1, 2, 3, 1]);
        let after = process::private_memory(daemon.pid());
        assert!(after < before + (16 << 20), "{before} bytes became {after}");
        assert_eq!(rounds("thread"), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert!(process::private_memory(daemon.pid()) > 10 * LEAK);
        let after = Duration::from_secs(1);
        std::thread::sleep(after);
        // And they stay.
        assert!(process::private_memory(daemon.pid()) > 10 * LEAK);
        assert_eq!(ask(&daemon, "thread", &TEN_OF_CLUBS.wav()).text(), TEXT);
    }
}
