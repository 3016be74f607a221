//! Writes the last results into `docs/SPECIFICATION.md`, between marks that nobody edits by hand.
//! The plots lie in a folder next to the page.

use std::{fmt::Write, fs, path::Path};

use serde_json::Value;

use super::page;
use crate::{
    contract::{CONTRACT, Goal},
    machine,
    outcome::Series,
    scale::FULL,
};

/// The last `report.json`, `endurance.json` and `soak.json`, if they exist.
pub struct Reports {
    pub figures: Option<Value>,
    pub endurance: Option<Value>,
    pub soak: Option<Value>,
}

/// Text before the machine's name.
const MEASURED: &str = "Measured on";

/// The folder of the plots.
const PLOTS: &str = "figures";

/// Put the reports' results into `file`. Results without a report stay as they were measured last.
///
/// # Errors
/// The problem with the file or a report.
pub fn fill(file: &Path, reports: &Reports) -> Result<(), String> {
    let name = file.display();
    let mut text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    let figures = reports.figures.as_ref().filter(|report| is_whole(report));
    if reports.figures.is_some() && figures.is_none() {
        eprintln!("{name}: its table stays: the last run of the benchmark was not all of it");
    }
    if figures.is_some() || !part(&text, "figures")?.contains(MEASURED) {
        replace(&mut text, "figures", &table(figures))?;
    }
    if let Some(report) = &reports.endurance {
        let plots = [("supervisor_memory", "endurance")];
        replace(&mut text, "endurance", &told(file, report, &plots)?)?;
    }
    if let Some(report) = &reports.soak {
        let plots = [
            ("soak_memory", "soak-memory"),
            ("soak_counts", "soak-counts"),
        ];
        replace(&mut text, "soak", &told(file, report, &plots)?)?;
    }
    fs::write(file, text).map_err(|error| format!("{name}: {error}"))
}

/// True if this was a run of everything, at its full scale.
fn is_whole(report: &Value) -> bool {
    report["scale"] == FULL.name && report["only"].as_array().is_none_or(Vec::is_empty)
}

fn marks(name: &str) -> [String; 2] {
    ["begin", "end"].map(|end| format!("<!-- {name}: {end} -->\n"))
}

/// The text between the marks with this name.
fn part<'a>(text: &'a str, name: &str) -> Result<&'a str, String> {
    let [begin, end] = marks(name);
    let part = text
        .split_once(&begin)
        .and_then(|(_, rest)| Some(rest.split_once(&end)?.0));
    part.ok_or_else(|| format!("the page lacks its two marks `{name}`"))
}

fn replace(text: &mut String, name: &str, with: &str) -> Result<(), String> {
    let [begin, end] = marks(name);
    let old = format!("{begin}{}{end}", part(text, name)?);
    *text = text.replacen(&old, &format!("{begin}{with}{end}"), 1);
    Ok(())
}

fn measured(machine: &Value) -> String {
    let confined = match machine["isolation"]["confined"].as_bool() {
        Some(true) => "jobs confined by cgroups",
        _ => "without cgroups (this machine delegates none)",
    };
    format!("{MEASURED} {}; {confined}.\n\n", machine::line(machine))
}

/// The result of a long run and its plots, which are written next to `file`.
fn told(file: &Path, report: &Value, plots: &[(&str, &str)]) -> Result<String, String> {
    let mut text = measured(&report["machine"]);
    for line in report["told"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "- {}", line.as_str().unwrap_or_default());
    }
    let folder = file.with_file_name(PLOTS);
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    for (plot, name) in plots {
        let series = series(&report["plots"][plot]);
        let Some((svg, title)) = page::file(plot, &series) else {
            return Err(format!("there is no plot {plot}"));
        };
        let path = folder.join(format!("{name}.svg"));
        fs::write(&path, svg).map_err(|error| format!("{}: {error}", path.display()))?;
        let _ = writeln!(text, "\n![{title}]({PLOTS}/{name}.svg)");
    }
    Ok(text)
}

fn series(plot: &Value) -> Vec<Series> {
    let lines = plot.as_object().into_iter().flatten();
    let point = |point: &Value| Some((point[0].as_f64()?, point[1].as_f64()?));
    lines
        .map(|(name, points)| Series {
            name: name.clone(),
            points: points
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(point)
                .collect(),
        })
        .collect()
}

/// The name of the machine and the lines of the table.
fn table(report: Option<&Value>) -> String {
    let mut text = report.map_or_else(String::new, |report| measured(&report["machine"]));
    text += "| figure | goal | measured | how, and to reproduce |\n|---|---|---|---|\n";
    for figure in CONTRACT {
        let row = report.and_then(|report| {
            let rows = report["figures"].as_array()?.iter();
            rows.clone().find(|row| row["id"] == figure.id)
        });
        let measured = match row {
            None => "not yet measured".into(),
            Some(row) => {
                let measured = row["measured"].as_str().unwrap_or("?");
                let missed = if row["verdict"] == "missed" {
                    " (**missed**)"
                } else {
                    ""
                };
                let more =
                    ["remark", "yardstick"].map(|name| row[name].as_str().unwrap_or_default());
                let more = more.into_iter().filter(|text| !text.is_empty());
                let more: Vec<&str> = more.collect();
                let colon = if more.is_empty() { "" } else { ": " };
                format!("{measured}{missed}{colon}{}", more.join("; "))
            }
        };
        let goal = match figure.goal {
            Goal::Told => String::new(),
            goal => goal.text(figure.unit),
        };
        let cells =
            [figure.what, &goal, &measured, figure.how].map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}
