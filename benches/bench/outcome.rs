//! The results: one finding for each figure of the contract, and the series behind them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::contract::{CONTRACT, FORK_WHERE_SET, Figure, Goal, Unit, find};

/// The finding for one figure.
#[derive(Clone, Debug)]
pub enum Finding {
    Measured {
        value: f64,
        /// Number of runs behind it.
        runs: usize,
        /// A remark, such as the interval in which the value lies.
        remark: String,
        /// The same figure of others, in the same run: name, and value in the figure's unit.
        peers: Vec<(String, f64)>,
    },
    /// It can be measured only in the virtual machine; holds the fact of its last run.
    Elsewhere(String),
    /// It cannot be measured here; holds the reason.
    Not(String),
}

/// A line of a plot.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// All findings of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    findings: BTreeMap<&'static str, Finding>,
    /// Bounds that contain a value in 95 % of resampled samples, if they were computed.
    between: BTreeMap<&'static str, (f64, f64)>,
    /// For figures that are worse than in an earlier run: their earlier value.
    worse: BTreeMap<&'static str, String>,
    /// Series by the name of their plot.
    pub plots: BTreeMap<&'static str, Vec<Series>>,
}

/// Factor from which a difference is not an accident of this run.
const MUCH: f64 = 1.1;

/// Comparison of a figure with its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    /// The figure has no goal.
    Told,
    Unknown,
}

impl Outcome {
    pub fn tell(&mut self, id: &str, value: f64, runs: usize, remark: impl Into<String>) {
        self.tell_beside(id, value, runs, remark, Vec::new());
    }

    pub fn tell_beside(
        &mut self,
        id: &str,
        value: f64,
        runs: usize,
        remark: impl Into<String>,
        peers: Vec<(String, f64)>,
    ) {
        let finding = Finding::Measured {
            value,
            runs,
            remark: remark.into(),
            peers,
        };
        self.findings.insert(find(id).id, finding);
    }

    /// Set the bounds of a figure that was reported.
    pub fn between(&mut self, id: &str, bounds: (f64, f64)) {
        self.between.insert(find(id).id, bounds);
    }

    /// Find figures that are worse than in an earlier run's `report.json`: by more than a tenth,
    /// and by more than chance. Only figures with bounds can tell the latter.
    pub fn compare(&mut self, earlier: &Value) {
        for row in earlier["figures"].as_array().into_iter().flatten() {
            let figure = CONTRACT.iter().find(|figure| row["id"] == figure.id);
            let bounds = |number: usize| row["between"][number].as_f64();
            let (Some(figure), Some(before), Some(least), Some(most)) =
                (figure, row["value"].as_f64(), bounds(0), bounds(1))
            else {
                continue;
            };
            let (Some(now), Some(between)) = (self.value(figure.id), self.between.get(figure.id))
            else {
                continue;
            };
            let is_worse = match figure.goal {
                Goal::AtMost(_) => between.0 > most && now > before * MUCH,
                Goal::AtLeast(_) => between.1 < least && now < before / MUCH,
                Goal::Told => false,
            };
            if is_worse {
                let text = |value| figure.unit.text(value);
                let what = format!(
                    "{} (95 %: {}–{}) before",
                    text(before),
                    text(least),
                    text(most)
                );
                self.worse.insert(figure.id, what);
            }
        }
    }

    /// The value of a figure in the earlier run, if it is worse now.
    pub fn worse(&self, id: &str) -> Option<&str> {
        self.worse.get(id).map(String::as_str)
    }

    /// If a time misses its goal: the value in units of the machine's own minimum for each request,
    /// so that a reader with another machine can compare it.
    pub fn yardstick(&self, figure: &Figure) -> Option<String> {
        if self.verdict(figure.id) != Verdict::Missed {
            return None;
        }
        let micros = |value: f64| match figure.unit {
            Unit::Microseconds => Some(value),
            Unit::Milliseconds => Some(value * 1000.0),
            Unit::PerSecond => Some(1e6 / value),
            Unit::Times | Unit::Bytes | Unit::Count => None,
        };
        let (Goal::AtMost(goal) | Goal::AtLeast(goal)) = figure.goal else {
            return None;
        };
        let (ours, goal, fork) = (
            micros(self.value(figure.id)?)?,
            micros(goal)?,
            self.value("floor_fork")?,
        );
        Some(format!(
            "{:.1} × a bare fork, exit and wait of this machine ({fork:.0} µs); the goal is {:.1} × that of the machine \
             on which it was set ({FORK_WHERE_SET:.0} µs)",
            ours / fork,
            goal / FORK_WHERE_SET
        ))
    }

    pub fn elsewhere(&mut self, id: &str, what: String) {
        self.findings.insert(find(id).id, Finding::Elsewhere(what));
    }

    pub fn not(&mut self, id: &str, why: impl Into<String>) {
        let not = Finding::Not(why.into());
        self.findings.insert(find(id).id, not);
    }

    pub fn plot(&mut self, plot: &'static str, name: &str, points: Vec<(f64, f64)>) {
        let series = Series {
            name: name.into(),
            points,
        };
        self.plots.entry(plot).or_default().push(series);
    }

    /// Every figure of the contract, in order.
    pub fn rows(&self) -> impl Iterator<Item = (&'static Figure, Option<&Finding>, Verdict)> {
        CONTRACT.iter().map(|figure| {
            let finding = self.findings.get(figure.id);
            (figure, finding, verdict(figure, finding))
        })
    }

    pub fn value(&self, id: &str) -> Option<f64> {
        match self.findings.get(id)? {
            Finding::Measured { value, .. } => Some(*value),
            _ => None,
        }
    }

    pub fn verdict(&self, id: &str) -> Verdict {
        let figure = find(id);
        verdict(figure, self.findings.get(figure.id))
    }

    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows()
            .map(|(figure, finding, verdict)| {
                let mut row = json!({
                    "id": figure.id,
                    "figure": figure.what,
                    "goal": figure.goal.text(figure.unit),
                    "verdict": verdict.word(),
                });
                match finding {
                    Some(Finding::Measured {
                        value,
                        runs,
                        remark,
                        peers,
                    }) => {
                        row["value"] = json!(value);
                        row["measured"] = figure.unit.text(*value).into();
                        row["runs"] = json!(runs);
                        row["remark"] = remark.as_str().into();
                        row["peers"] = peers.iter().cloned().collect();
                        row["between"] = json!(self.between.get(figure.id));
                        row["yardstick"] = json!(self.yardstick(figure));
                        row["worse"] = json!(self.worse(figure.id));
                    }
                    Some(Finding::Elsewhere(what)) => {
                        row["measured"] = format!("virtual machine: {what}").into();
                    }
                    Some(Finding::Not(why)) => {
                        row["measured"] = format!("not measurable here: {why}").into();
                    }
                    None => row["measured"] = "not measured in this run".into(),
                }
                row
            })
            .collect();
        let plots: BTreeMap<_, _> = self
            .plots
            .iter()
            .map(|(plot, series)| {
                let series = series
                    .iter()
                    .map(|series| (series.name.clone(), json!(series.points)));
                (*plot, series.collect::<serde_json::Map<_, _>>())
            })
            .collect();
        json!({"figures": rows, "plots": plots})
    }
}

fn verdict(figure: &Figure, finding: Option<&Finding>) -> Verdict {
    let Some(Finding::Measured { value, .. }) = finding else {
        return Verdict::Unknown;
    };
    match figure.goal.is_met(*value) {
        Some(true) => Verdict::Met,
        Some(false) => Verdict::Missed,
        None => Verdict::Told,
    }
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::Missed => "missed",
            Verdict::Told => "",
            Verdict::Unknown => "?",
        }
    }
}
