//! Checks the claims of this project on this machine: every figure next to its peers, in one run.
//!
//! `make bench`, `make bench-quick`; `make bench-test` shows that it notices a regression.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unused_crate_dependencies
)]

#[path = "../../tests/common/mod.rs"]
mod common;

mod client;
mod contract;
mod endurance;
mod figures;
mod flag;
mod interleave;
mod machine;
mod outcome;
mod peers;
mod planted;
mod report;
mod sample;
mod scale;
mod service;
mod soak;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use serde_json::Value;

use figures::{
    added, azure_leaks, cold_start, floor, kills, leaks, live, memory, model_memory, naive,
    neighbours, real, stages, syscalls, throughput, uploads, virtual_machine,
};
use outcome::{Outcome, Verdict};
use peers::Python;
use report::{page, specification, table};
use scale::{FULL, QUICK, Scale};

#[derive(Debug, Parser)]
#[command(about, long_about = None)]
struct Arguments {
    /// Run just enough to show that everything works: two minutes.
    #[arg(long)]
    quick: bool,
    /// Fail if a goal is missed, or a figure that can be measured here was not.
    #[arg(long)]
    check: bool,
    /// Only these parts, by their names (`--only added,real`).
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// See also which figures are worse than in the `report.json` of an earlier run.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Put the figures and plots of the last runs into this page and its folder, and do nothing
    /// else.
    #[arg(long, value_name = "FILE")]
    specification: Option<PathBuf>,
    /// Show that a sleep (of 200 µs) in the hand-over turns its figure red, and do nothing else.
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "200us")]
    planted: Option<humantime::Duration>,
    /// Serve this many requests, check that the supervisor does not grow, and do nothing else.
    #[arg(long, value_name = "REQUESTS")]
    endurance: Option<usize>,
    /// Do everything in parallel for this long (`1h`), check that nothing is lost or grows, and do
    /// nothing else.
    #[arg(long, value_name = "TIME")]
    soak: Option<humantime::Duration>,
    #[arg(long, hide = true)]
    load_model: bool,
    /// Cargo passes this.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Everything that a part of the run needs.
struct Context {
    scale: Scale,
    outcome: Outcome,
    python: Result<Python, String>,
    target: PathBuf,
}

/// A part of the run, and the figures that are missing if it fails.
struct Part {
    name: &'static str,
    figures: &'static [&'static str],
    run: fn(&mut Context),
}

const PARTS: &[Part] = &[
    Part {
        name: "added",
        figures: &[
            "added_p50",
            "added_p99",
            "added_busy_p50",
            "added_busy_p99",
            "added_idle_p50",
            "added_idle_p99",
            "added_demand_p50",
            "added_demand_p99",
        ],
        run: |context| added::measure(&context.scale, &mut context.outcome),
    },
    Part {
        name: "naive",
        figures: &["naive_spawn", "naive_forkserver", "naive_fork"],
        run: |context| match &context.python {
            Ok(python) => naive::measure(&context.scale, &mut context.outcome, python),
            Err(why) => panic!("{why}"),
        },
    },
    Part {
        name: "stages",
        figures: &["stage_reply"],
        run: |context| stages::measure(&context.scale, &mut context.outcome),
    },
    Part {
        name: "syscalls",
        figures: &[
            "supervisor_calls",
            "job_calls",
            "supervisor_instructions",
            "job_faults",
        ],
        run: |context| syscalls::measure(&context.scale, &mut context.outcome),
    },
    Part {
        name: "real",
        figures: &["end_to_end"],
        run: |context| real::measure(&context.scale, &mut context.outcome),
    },
    Part {
        name: "throughput",
        figures: &["throughput"],
        run: |context| {
            let python = context.python.as_ref().ok();
            throughput::measure(&context.scale, &mut context.outcome, python);
        },
    },
    Part {
        name: "memory",
        figures: &["supervisor_memory", "supervisor_growth"],
        run: |context| memory::measure(&context.scale, &mut context.outcome),
    },
    Part {
        name: "leaks",
        figures: &["leak_answers", "leak_growth"],
        run: |context| leaks::measure(&context.scale, &mut context.outcome),
    },
    Part {
        name: "live-latency",
        figures: &["live_latency"],
        run: |context| live::latency::measure(&context.scale, &mut context.outcome),
    },
    Part {
        name: "live-silence",
        figures: &["live_session", "live_delay", "live_growth"],
        run: |context| live::silence::measure(&context.scale, &mut context.outcome),
    },
    Part {
        name: "live-leaks",
        figures: &["live_leak_answers", "live_leak_growth"],
        run: |context| live::leaks::measure(&context.scale, &mut context.outcome),
    },
    Part {
        name: "azure-leaks",
        figures: &["azure_answers", "azure_growth"],
        run: |context| azure_leaks::measure(&context.scale, &mut context.outcome),
    },
    Part {
        name: "model",
        figures: &["model_memory"],
        run: |context| model_memory::measure(&mut context.outcome),
    },
    Part {
        name: "uploads",
        figures: &["upload_heap", "upload_jobs"],
        run: |context| uploads::measure(&context.scale, &mut context.outcome),
    },
    Part {
        name: "kills",
        figures: &["free_hang_up", "free_deadline"],
        run: |context| kills::measure(&context.scale, &mut context.outcome),
    },
    Part {
        name: "cold-start",
        figures: &["cold_start"],
        run: |context| cold_start::measure(&context.scale, &mut context.outcome),
    },
    Part {
        name: "neighbours",
        figures: &["neighbours"],
        run: |context| neighbours::measure(&context.scale, &mut context.outcome),
    },
    Part {
        name: "virtual-machine",
        figures: &["dying_cgroups"],
        run: |context| virtual_machine::measure(&context.target, &mut context.outcome),
    },
];

/// Name of the part that must run first.
const FLOOR: &str = "floor";

/// Largest share of all CPUs that other programs may use.
const MOST_BUSY: f64 = 0.1;

/// Times of an emulated machine cannot be compared with those of a real one.
const BESIDE: &str = "In the virtual machine (emulated), when its cases last ran";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.load_model {
        cold_start::load_model();
        return ExitCode::SUCCESS;
    }
    // Cargo's own folder may be in another place.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("bench");
    fs::create_dir_all(&folder).unwrap();
    if let Some(file) = &arguments.specification {
        return fill(file, &folder);
    }
    if let Some(time) = arguments.soak {
        return soak::run(time.into(), &folder);
    }
    if let Some(count) = arguments.endurance {
        return endurance::run(count, &folder);
    }
    if let Some(time) = arguments.planted {
        return planted::show(time.into());
    }
    run(&arguments, target, &folder)
}

fn run(arguments: &Arguments, target: &Path, folder: &Path) -> ExitCode {
    let begin = Instant::now();
    let wanted =
        |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let known = |only: &&String| *only == FLOOR || PARTS.iter().any(|part| part.name == **only);
    if let Some(unknown) = arguments.only.iter().find(|only| !known(only)) {
        let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        eprintln!(
            "there is no part `{unknown}`, only {FLOOR}, {}",
            names.join(", ")
        );
        return ExitCode::FAILURE;
    }
    let scale = if arguments.quick { QUICK } else { FULL };
    let mut outcome = Outcome::default();
    let earlier = match arguments.against.as_deref().map(read) {
        None => None,
        Some(Ok(report)) => Some(report),
        Some(Err(why)) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let busy = machine::busy();
    let mut failed = 0;
    // Measure this first: it forks this program, which has one thread now.
    if wanted(FLOOR)
        && let Err(why) = tell(FLOOR, || floor::measure(&scale, &mut outcome))
    {
        failed += 1;
        outcome.not("floor_fork", why.clone());
        outcome.not("floor_byte", why);
    }
    let needs_python = wanted("naive") || wanted("throughput");
    let python = match needs_python {
        true => Python::prepare(folder),
        false => Err("it was not wanted".into()),
    };
    let mut context = Context {
        scale,
        outcome,
        python,
        target: target.into(),
    };
    let machine = {
        let daemon = service::start(service::NULL_MODELS);
        machine::describe(&daemon.get("/v1/stats").json())
    };
    for part in PARTS.iter().filter(|part| wanted(part.name)) {
        if let Err(why) = tell(part.name, || (part.run)(&mut context)) {
            failed += 1;
            for figure in part.figures {
                context.outcome.not(figure, why.clone());
            }
        }
    }
    let mut outcome = context.outcome;
    if let Some(earlier) = &earlier {
        outcome.compare(earlier);
    }
    let beside = facts(target);
    let mut json = outcome.json();
    json["machine"] = machine;
    json["scale"] = scale.name.into();
    json["only"] = arguments.only.clone().into();
    json["busy_at_start"] = busy.into();
    json["seconds"] = begin.elapsed().as_secs().into();
    let pretty = serde_json::to_string_pretty(&json).unwrap();
    fs::write(folder.join("report.json"), pretty + "\n").unwrap();
    let title = format!("stt-isolated: figures ({} run)", scale.name);
    let html = page::page(&title, &outcome, &json["machine"], (BESIDE, &beside));
    fs::write(folder.join("report.html"), html).unwrap();
    print(&json, &outcome, arguments.only.is_empty(), busy);
    let count = |is: &dyn Fn(&str, Verdict) -> bool| {
        outcome
            .rows()
            .filter(|(figure, _, verdict)| is(figure.id, *verdict))
            .count()
    };
    let missed = count(&|_, verdict| verdict == Verdict::Missed);
    let worse = count(&|id, _| outcome.worse(id).is_some());
    println!(
        "{missed} goals missed, {worse} figures worse than before, {failed} parts failed; {:.0} s; {}",
        begin.elapsed().as_secs_f64(),
        folder.join("report.html").display()
    );
    match arguments.check && missed + worse + failed > 0 {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// Run one part. If it fails, its message is kept and the other parts still run.
fn tell(name: &str, part: impl FnOnce()) -> Result<(), String> {
    let begin = Instant::now();
    eprint!("{name} …");
    let result = catch_unwind(AssertUnwindSafe(part)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()))
            .unwrap_or_default()
    });
    let word = if result.is_ok() { "" } else { " FAILED" };
    eprintln!(" {:.1} s{word}", begin.elapsed().as_secs_f64());
    result.map_err(|why| format!("it failed: {}", why.lines().next().unwrap_or_default()))
}

fn facts(target: &Path) -> Vec<String> {
    let all = virtual_machine::facts(target).into_iter();
    let shown = all.filter(|(_, name, _)| {
        virtual_machine::BESIDE
            .iter()
            .any(|fact| name.starts_with(fact))
    });
    shown
        .map(|(suite, name, value)| format!("{name}: {value} ({suite})"))
        .collect()
}

fn print(json: &Value, outcome: &Outcome, all: bool, busy: f64) {
    let machine = &json["machine"];
    println!("\n{}", machine::line(machine));
    println!(
        "isolation in force: {}",
        page::in_force(&machine["isolation"])
    );
    if busy > MOST_BUSY {
        println!(
            "This machine is busy (others had {:.0} % of its CPUs before the start): no time below means much.",
            busy * 100.0
        );
    }
    println!("\n{}", table::text(outcome, all));
}

/// Read a report in JSON.
fn read(file: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
}

fn fill(file: &Path, folder: &Path) -> ExitCode {
    let [figures, endurance, soak] =
        ["report.json", "endurance.json", "soak.json"].map(|name| read(&folder.join(name)).ok());
    let reports = specification::Reports {
        figures,
        endurance,
        soak,
    };
    match specification::fill(file, &reports) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
