//! The contract's table in `docs/SPECIFICATION.md`: written by this program between two marks, never by hand.

use std::{fmt::Write, fs, path::Path};

use serde_json::Value;

use crate::contract::{CONTRACT, Goal};

const BEGIN: &str = "<!-- figures: begin -->\n";
const END: &str = "<!-- figures: end -->\n";

/// Put what `report` says into `file`; without a report nothing is measured yet.
///
/// # Errors
/// What is wrong with the file.
pub fn fill(file: &Path, report: Option<&Value>) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let places = text.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) =
        places.ok_or_else(|| format!("{} lacks its two marks", file.display()))?;
    let text = format!("{before}{BEGIN}{}{END}{after}", table(report));
    fs::write(file, text).map_err(|error| error.to_string())
}

/// The lines of the table, and the machine.
fn table(report: Option<&Value>) -> String {
    let mut text = String::new();
    if let Some(machine) = report.map(|report| &report["machine"]) {
        let word = |name: &str| machine[name].as_str().unwrap_or("?").to_owned();
        let _ = writeln!(
            text,
            "Measured on {} × {} ({}), Linux {}, {}; {}.\n",
            machine["cpus"],
            word("cpu"),
            word("memory"),
            word("kernel"),
            word("system"),
            match machine["isolation"]["confined"].as_bool() {
                Some(true) => "jobs confined by cgroups",
                _ => "without cgroups (this machine delegates none)",
            }
        );
    }
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
                let remark = row["remark"].as_str().filter(|remark| !remark.is_empty());
                let remark = remark
                    .map(|remark| format!(": {remark}"))
                    .unwrap_or_default();
                format!("{measured}{missed}{remark}")
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
