//! What was measured: one finding for each figure of the contract, and the series behind them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::contract::{CONTRACT, Figure, find};

/// What is known of a figure after a run.
#[derive(Clone, Debug)]
pub enum Finding {
    Measured {
        value: f64,
        /// Runs behind it.
        runs: usize,
        /// What else belongs to it, such as the interval in which it lies.
        remark: String,
        /// The same of others, in the same run: name, and value in the figure's unit.
        peers: Vec<(String, f64)>,
    },
    /// It needs what only the virtual machine has; what that one told when it last ran.
    Elsewhere(String),
    /// Why it cannot be measured here.
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
    /// By the name of their plot.
    pub plots: BTreeMap<&'static str, Vec<Series>>,
}

/// How a figure stands to its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    /// There is no goal.
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

    /// Every figure of the contract, in its order.
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
