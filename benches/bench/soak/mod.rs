//! Hours of everything at once: real speech in all formats over both protocols, faults,
//! cancellations, reloads. Every answer is checked. Nothing may be lost, and nothing may grow.

mod clients;
mod samples;

use std::{
    fs,
    path::Path,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal::SIGHUP;
use serde_json::{Value, json};

use crate::{
    common::{
        LONG,
        daemon::{Daemon, Setup},
        look::Look,
        try_wait_for,
    },
    flag::Raise,
    machine,
    outcome::Outcome,
    report::page,
    service,
};
use clients::{Kind, Random};
use samples::{Sample, judge};

/// The models: three zygotes with two spares each.
const MODELS: &str = r#"
[limits]
memory = "512M"
[models.speech]
engine = "pocketsphinx"
spares = { min = 2, max = 2 }
[models.warm]
engine = "pocketsphinx"
mode = "hybrid"
recycle = { max_requests = 20 }
spares = { min = 2, max = 2 }
[models.fault]
engine = "fault"
spares = { min = 2, max = 2 }
"#;

const ZYGOTES: usize = 3;
const SPARES: usize = 2 * ZYGOTES;

/// The clients that run in parallel.
const CLIENTS: [Kind; 7] = [
    Kind::Form,
    Kind::Form,
    Kind::Stream,
    Kind::Wyoming,
    Kind::Quick,
    Kind::Quick,
    Kind::Warm,
];

/// Percentages of faults and cancellations among all requests.
const FAULTS: u64 = 5;
const CANCELS: u64 = 5;

/// Number of failures that are kept word for word.
const MOST_TOLD: usize = 50;

/// Events so far.
#[derive(Debug, Default)]
struct Tally {
    good: AtomicU64,
    faults: AtomicU64,
    cancelled: AtomicU64,
    reloads: AtomicU64,
    lost: AtomicU64,
    told: Mutex<Vec<String>>,
}

impl Tally {
    fn lost(&self, what: String) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap();
        if told.len() < MOST_TOLD {
            eprintln!("LOST: {what}");
            told.push(what);
        }
    }

    fn answers(&self) -> u64 {
        let counts = [&self.good, &self.faults, &self.cancelled];
        counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }
}

/// Run for `time`, write `soak.html` and `soak.json` into `folder`, and return whether all was
/// well.
pub fn run(time: Duration, folder: &Path) -> ExitCode {
    let sockets = tempfile::TempDir::new().unwrap();
    let wyoming = sockets.path().join("wyoming.sock");
    let config = service::config(MODELS).replace("\"process\"", "\"speech\"");
    let daemon = Setup::new(&config)
        .listen_as("wyoming", wyoming.to_str().unwrap())
        .start();
    let tally = Tally::default();
    let stop = AtomicBool::new(false);
    let mut samples: Vec<Sample> = Vec::new();
    let period = (time / 300).clamp(Duration::from_secs(1), Duration::from_secs(30));
    let machine = machine::describe(&daemon.get("/v1/stats").json());

    // Fill every cache and use every path once: memory that a first burst leaves in the allocator
    // is not growth.
    clients::all_faults(&daemon, &tally);
    work(&daemon, &wyoming, &tally, &stop, time / 10, |_| ());
    let first = Look::at(&daemon, ZYGOTES, SPARES);
    println!("idle after the first tenth: {}", service::told(&first));
    let begin = Instant::now();
    work(
        &daemon,
        &wyoming,
        &tally,
        &stop,
        time - time / 10,
        |tally| {
            if samples
                .last()
                .is_none_or(|last| begin.elapsed() >= last.at + period)
            {
                let sample = Sample::of(&daemon, begin.elapsed(), tally.answers());
                if samples.len().is_multiple_of(10) {
                    println!("{sample}; lost {}", tally.lost.load(Ordering::Relaxed));
                }
                samples.push(sample);
            }
        },
    );
    let last = Look::at(&daemon, ZYGOTES, SPARES);
    println!("idle at the end: {}", service::told(&last));

    let mut complaints = judge(&samples);
    complaints.extend(service::grown(&first, &last));
    let growth = last.memory.saturating_sub(first.memory);
    if growth > samples::MOST_MEMORY as u64 {
        complaints.push(format!("the idle supervisor grew by {} KiB", growth >> 10));
    }
    let lost = tally.lost.load(Ordering::Relaxed);
    if lost > 0 {
        complaints.push(format!("{lost} requests were lost or wrongly answered"));
    }
    let stats = daemon.get("/v1/stats").json();
    complaints.extend(uncounted(&stats));
    let restarts = stats["total"]["lifecycle"]["zygotes_lost"]
        .as_u64()
        .unwrap_or(0);
    if restarts > 0 {
        complaints.push(format!("{restarts} zygotes were lost"));
    }
    write(
        folder,
        time,
        &machine,
        &samples,
        &tally,
        [first, last],
        &stats,
        &complaints,
    );
    for complaint in &complaints {
        println!("FAILED: {complaint}");
    }
    println!(
        "{} good answers, {} faults, {} cancelled, {} reloads, {lost} lost; {}",
        tally.good.load(Ordering::Relaxed),
        tally.faults.load(Ordering::Relaxed),
        tally.cancelled.load(Ordering::Relaxed),
        tally.reloads.load(Ordering::Relaxed),
        folder.join("soak.html").display()
    );
    match complaints.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Run all clients and the administrator in parallel for `time`; `look` is called repeatedly
/// meanwhile.
fn work(
    daemon: &Daemon,
    wyoming: &Path,
    tally: &Tally,
    stop: &AtomicBool,
    time: Duration,
    mut look: impl FnMut(&Tally),
) {
    stop.store(false, Ordering::Relaxed);
    let end = Instant::now() + time;
    thread::scope(|scope| {
        let _over = Raise(stop);
        for (number, kind) in CLIENTS.into_iter().enumerate() {
            scope.spawn(move || {
                let mut random = Random::new(number as u64 + 1);
                while !stop.load(Ordering::Relaxed) {
                    clients::once(daemon, wyoming, kind, &mut random, tally);
                }
            });
        }
        scope.spawn(|| {
            reload(
                daemon,
                tally,
                stop,
                (time / 20).min(Duration::from_secs(60)),
            )
        });
        while Instant::now() < end {
            look(tally);
            thread::sleep(Duration::from_millis(200));
        }
    });
}

/// The administrator: changes settings, adds and removes a model, and restores everything at the
/// end.
fn reload(daemon: &Daemon, tally: &Tally, stop: &AtomicBool, pause: Duration) {
    let base = service::config(MODELS).replace("\"process\"", "\"speech\"");
    let is_read = |queued: u64, models: usize| {
        let stats = daemon.get("/v1/stats").json();
        stats["bounds"]["max_queued"] == queued
            && stats["models"].as_object().unwrap().len() == models
            && daemon.is_ready()
    };
    let bring = |config: &str, queued: u64, models: usize| {
        daemon.configure(config);
        daemon.signal(SIGHUP);
        match try_wait_for(LONG, || is_read(queued, models).then_some(())) {
            Some(()) => {
                tally.reloads.fetch_add(1, Ordering::Relaxed);
            }
            None => tally.lost(format!("a reload to {queued} and {models} is not in force")),
        }
    };
    loop {
        for _ in 0..pause.as_millis() / 100 + 1 {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let other = format!("{base}[models.extra]\nengine = \"null\"\n[jobs]\nmax_queued = 200\n")
            .replace("memory = \"512M\"", "memory = \"500M\"");
        bring(&other, 200, ZYGOTES + 1);
        bring(&base, 256, ZYGOTES);
    }
}

/// Describes a sum in the statistics that is wrong; `None` if all are right.
fn uncounted(stats: &Value) -> Option<String> {
    let total = &stats["total"];
    let requests = total["requests"].as_object()?;
    let accepted = requests["accepted"].as_u64()?;
    let ended: u64 = requests
        .iter()
        .filter(|(word, _)| *word != "accepted")
        .filter_map(|(_, count)| count.as_u64())
        .sum();
    let open = total["queued"].as_u64()? + total["running"].as_u64()?;
    (accepted != ended + open)
        .then(|| format!("{accepted} requests accepted, {ended} ended, {open} open"))
}

#[expect(clippy::too_many_arguments)]
fn write(
    folder: &Path,
    time: Duration,
    machine: &Value,
    samples: &[Sample],
    tally: &Tally,
    idle: [Look; 2],
    stats: &Value,
    complaints: &[String],
) {
    let mut outcome = Outcome::default();
    Sample::plot(samples, &mut outcome);
    let mut beside = vec![format!(
        "{}: {} good answers, {} faults, {} cancelled, {} reloads, {} lost",
        humantime::format_duration(time),
        tally.good.load(Ordering::Relaxed),
        tally.faults.load(Ordering::Relaxed),
        tally.cancelled.load(Ordering::Relaxed),
        tally.reloads.load(Ordering::Relaxed),
        tally.lost.load(Ordering::Relaxed)
    )];
    let moments = ["idle after the first tenth", "idle at the end"];
    let looks = moments.into_iter().zip(&idle);
    beside.extend(looks.map(|(when, look)| format!("{when}: {}", service::told(look))));
    beside.extend(
        complaints
            .iter()
            .map(|complaint| format!("failed: {complaint}")),
    );
    let title = format!("stt-isolated: soak of {}", humantime::format_duration(time));
    let html = page::page(&title, &outcome, machine, ("What came of it", &beside));
    fs::write(folder.join("soak.html"), html).unwrap();
    let json = json!({
        "seconds": time.as_secs(),
        "machine": machine,
        "told": beside,
        "lost": *tally.told.lock().unwrap(),
        "complaints": complaints,
        "plots": outcome.json()["plots"],
        "stats": stats,
    });
    let text = serde_json::to_string_pretty(&json).unwrap();
    fs::write(folder.join("soak.json"), text + "\n").unwrap();
}
