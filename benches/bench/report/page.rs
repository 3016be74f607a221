//! `report.html`: one self-contained file.

use std::fmt::Write;

use serde_json::Value;

use super::{
    plot::{self, Axis, STYLE as PLOT_STYLE, Scale, escape},
    table::{explanation, words},
};
use crate::outcome::{Finding, Outcome, Series};

const STYLE: &str = include_str!("style.css");

/// A plot: its name in the outcome, its title, its explanation, and its axes (none for a divided
/// bar).
struct Plot {
    name: &'static str,
    title: &'static str,
    caption: &'static str,
    axes: Option<(Axis, Axis)>,
}

const fn axis(name: &'static str, scale: Scale) -> Axis {
    Axis {
        name,
        scale,
        steps: false,
    }
}

const TIME: Axis = Axis {
    name: "a request's time in µs",
    scale: Scale::Log,
    steps: true,
};

const SHARE: Axis = axis("share of requests that took no longer", Scale::Linear);

const PLOTS: &[Plot] = &[
    Plot {
        name: "latency",
        title: "Latency",
        caption: "One client, 2 ms between requests, null engine, the same recording for all. Isolation costs \
        what lies between `thread` and `process`; the naive designs are the lines far to the right.",
        axes: Some((TIME, SHARE)),
    },
    Plot {
        name: "latency_busy",
        title: "Latency, one request right after the other",
        caption: "The fork of the next spare and the end of the last job now fall into the time of the next request.",
        axes: Some((TIME, SHARE)),
    },
    Plot {
        name: "stages",
        title: "Where the time goes",
        caption: "Mean time of each stage of one request with its warm spare, by the service's own clocks; the \
        rest is HTTP, the reply and the client's wake-up.",
        axes: None,
    },
    Plot {
        name: "throughput",
        title: "Requests per second",
        caption: "Clients that ask without a pause, on the same CPUs as the service.",
        axes: Some((
            axis("clients", Scale::Log),
            axis("requests per second", Scale::Log),
        )),
    },
    Plot {
        name: "leaks",
        title: "A library that leaks 260 MB with each request",
        caption: "Memory of the process that has the library, request by request. Only the end of a process gives \
        it back.",
        axes: Some((
            axis("request", Scale::Log),
            axis("memory in MiB", Scale::Linear),
        )),
    },
    Plot {
        name: "live_leaks",
        title: "A realtime session whose engine leaks 30 MB with each second",
        caption: "The memory of each turn's job and of the supervisor; in mode `thread`, which has no job, until \
        it was given up.",
        axes: Some((
            axis("minutes of audio", Scale::Log),
            axis("memory in MiB", Scale::Linear),
        )),
    },
    Plot {
        name: "azure_leaks",
        title: "Microsoft's Speech SDK, to which nothing is given back",
        caption: "The job's own memory and the supervisor's, request by request, 4 s of audio each. What a job never \
        gives back goes with it. (Mode `thread` does not exist for this engine.)",
        axes: Some((
            axis("request", Scale::Linear),
            axis("memory in MiB", Scale::Linear),
        )),
    },
    Plot {
        name: "supervisor_memory",
        title: "The supervisor's own memory",
        caption: "Heap and stacks after so many requests.",
        axes: Some((
            axis("requests", Scale::Linear),
            axis("memory in KiB", Scale::Linear),
        )),
    },
    Plot {
        name: "soak_memory",
        title: "Soak: memory of the supervisor",
        caption: "Heap and stacks.",
        axes: Some((
            axis("minutes", Scale::Linear),
            axis("memory in KiB", Scale::Linear),
        )),
    },
    Plot {
        name: "soak_counts",
        title: "Soak: descriptors, processes and cgroups",
        caption: "Of the supervisor and all that it started.",
        axes: Some((axis("minutes", Scale::Linear), axis("count", Scale::Linear))),
    },
    Plot {
        name: "soak_answers",
        title: "Soak: answers",
        caption: "All of them checked.",
        axes: Some((
            axis("minutes", Scale::Linear),
            axis("answers per second", Scale::Linear),
        )),
    },
];

/// The whole page.
pub fn page(
    title: &str,
    outcome: &Outcome,
    machine: &Value,
    (heading, beside): (&str, &[String]),
) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
        content=\"width=device-width\"><title>{title}</title><style>{PLOT_STYLE}{STYLE}</style></head><body><main><h1>{title}</h1>",
        title = escape(title)
    );
    page += &about(machine);
    if outcome.rows().any(|(_, finding, _)| finding.is_some()) {
        page += &table(outcome);
    }
    for plot in PLOTS {
        if let Some(series) = outcome.plots.get(plot.name) {
            page += &figure(plot, series);
        }
    }
    if !beside.is_empty() {
        let _ = write!(page, "<h2>{}</h2><ul>", escape(heading));
        for fact in beside {
            let _ = write!(page, "<li>{}</li>", escape(fact));
        }
        page += "</ul>";
    }
    page + "</main></body></html>\n"
}

fn about(machine: &Value) -> String {
    let mut list = String::from("<dl class=\"machine\">");
    let mut entry = |name: &str, value: &str| {
        let (name, value) = (escape(&name.replace('_', " ")), escape(value));
        let _ = write!(list, "<dt>{name}</dt><dd>{value}</dd>");
    };
    for (name, value) in machine.as_object().into_iter().flatten() {
        match value {
            Value::Null => {}
            Value::String(text) => entry(name, text),
            isolation if name == "isolation" => entry(name, &in_force(isolation)),
            other => entry(name, &other.to_string()),
        }
    }
    list + "</dl>"
}

/// The isolation in force, in words.
pub fn in_force(isolation: &Value) -> String {
    let confined = match isolation["confined"].as_bool() {
        Some(true) => "each job in a cgroup of its own",
        _ => "no cgroups (this machine delegates none): times without theirs",
    };
    let warnings = isolation["warnings"].as_array().into_iter().flatten();
    let warnings = warnings
        .filter_map(Value::as_str)
        .filter(|text| text.contains("Landlock"));
    let warnings: Vec<&str> = warnings.collect();
    format!(
        "seccomp, Landlock, no privileges; {confined}. {}",
        warnings.join(" ")
    )
}

fn table(outcome: &Outcome) -> String {
    let mut table = String::from(
        "<div class=\"wide\"><table><thead><tr><th>Figure</th><th>Ours</th><th>Goal</th><th></th><th>Behind \
        it</th></tr></thead><tbody>",
    );
    for (figure, finding, verdict) in outcome.rows() {
        if finding.is_none() {
            continue;
        }
        let ours = match finding {
            Some(Finding::Measured { value, .. }) => figure.unit.text(*value),
            _ => "–".into(),
        };
        let worse = outcome.worse(figure.id);
        let class = match verdict.word() {
            _ if worse.is_some() => "missed",
            "?" => "unknown",
            "" => "told",
            word => word,
        };
        let _ = write!(
            table,
            "<tr class=\"{class}\"><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td><span \
            class=\"verdict\">{}</span></td><td class=\"behind\">{}</td></tr>",
            escape(figure.what),
            escape(&ours),
            escape(&figure.goal.text(figure.unit)),
            words(verdict, worse),
            explanation(outcome, figure, finding)
                .iter()
                .map(|line| escape(line))
                .collect::<Vec<_>>()
                .join("<br>")
        );
    }
    table + "</tbody></table></div>"
}

fn figure(plot: &Plot, series: &[Series]) -> String {
    format!(
        "<figure><h2>{}</h2>{}<figcaption>{}</figcaption></figure>",
        escape(plot.title),
        drawing(plot, series),
        escape(plot.caption)
    )
}

fn drawing(plot: &Plot, series: &[Series]) -> String {
    match plot.axes {
        Some((across, up)) => plot::lines(series, across, up),
        None => plot::bar(series, "µs"),
    }
}

/// The plot with this name as a separate file, and its title.
pub fn file(name: &str, series: &[Series]) -> Option<(String, &'static str)> {
    let plot = PLOTS.iter().find(|plot| plot.name == name)?;
    Some((plot::file(&drawing(plot, series), plot.title), plot.title))
}
