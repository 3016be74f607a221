//! The table on the terminal.

use std::{fmt::Write, io::IsTerminal};

use crate::{
    contract::{Figure, Goal, Unit},
    outcome::{Finding, Outcome, Verdict},
};

const FIGURE: usize = 78;

/// The whole table as text.
pub fn text(outcome: &Outcome, all: bool) -> String {
    let colour = std::io::stdout().is_terminal();
    let mut text = format!(
        "{:FIGURE$} {:>10} {:>8} {:>10}\n",
        "figure", "ours", "of goal", "goal"
    );
    for (figure, finding, verdict) in outcome.rows() {
        if finding.is_none() && !all {
            continue;
        }
        let (ours, of_goal) = match finding {
            Some(Finding::Measured { value, .. }) => {
                (figure.unit.text(*value), of_goal(figure, *value))
            }
            _ => ("–".into(), String::new()),
        };
        let goal = figure.goal.text(figure.unit);
        let worse = outcome.worse(figure.id);
        let line = format!(
            "{:FIGURE$} {ours:>10} {of_goal:>8} {goal:>10}  {}",
            figure.what,
            words(verdict, worse)
        );
        let paint = match verdict {
            _ if worse.is_some() && colour => ("\x1b[31m", "\x1b[0m"),
            Verdict::Met if colour => ("\x1b[32m", "\x1b[0m"),
            Verdict::Missed if colour => ("\x1b[31m", "\x1b[0m"),
            _ => ("", ""),
        };
        let _ = writeln!(text, "{}{}{}", paint.0, line.trim_end(), paint.1);
        for more in explanation(outcome, figure, finding) {
            let _ = writeln!(text, "    {more}");
        }
    }
    text
}

/// Compares a figure with its goal, and with an earlier run.
pub fn words(verdict: Verdict, worse: Option<&str>) -> String {
    let worse = worse.map(|_| "worse");
    let words = [Some(verdict.word()), worse].into_iter().flatten();
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(", ")
}

/// The lines below a figure: number of runs, the value scaled to another machine, and the peers.
pub fn explanation(outcome: &Outcome, figure: &Figure, finding: Option<&Finding>) -> Vec<String> {
    match finding {
        Some(Finding::Measured {
            value,
            runs,
            remark,
            peers,
        }) => {
            let runs = format!("{runs} run{}", if *runs == 1 { "" } else { "s" });
            let first = match remark.is_empty() {
                true => runs,
                false => format!("{remark} ({runs})"),
            };
            let mut lines = vec![first];
            lines.extend(outcome.yardstick(figure));
            lines.extend(outcome.worse(figure.id).map(str::to_owned));
            if !peers.is_empty() {
                let peers = peers
                    .iter()
                    .map(|(name, theirs)| peer(figure.unit, *value, name, *theirs));
                lines.push(format!("peers: {}", peers.collect::<Vec<_>>().join("; ")));
            }
            lines
        }
        Some(Finding::Elsewhere(what)) => vec![format!("virtual machine: {what}")],
        Some(Finding::Not(why)) => vec![format!("not measurable here: {why}")],
        None => vec!["not measured in this run".into()],
    }
}

/// A peer's value, and its ratio to ours.
fn peer(unit: Unit, ours: f64, name: &str, theirs: f64) -> String {
    if theirs.is_nan() {
        return name.into();
    }
    let value = unit.text(theirs);
    match unit {
        Unit::Times => format!("{name} {value}"),
        _ if ours > 0.0 && theirs > 0.0 => {
            let ratio = theirs / ours;
            let places = if ratio < 0.1 { 3 } else { 1 };
            format!("{name} {value} ({ratio:.places$}×)")
        }
        _ => format!("{name} {value}"),
    }
}

fn of_goal(figure: &Figure, value: f64) -> String {
    match figure.goal {
        Goal::AtMost(bound) | Goal::AtLeast(bound) if bound > 0.0 => {
            format!("{:.2}×", value / bound)
        }
        _ => String::new(),
    }
}
