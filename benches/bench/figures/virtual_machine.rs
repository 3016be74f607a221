//! Figures that need memory limits and systemd: `tests/vm` measures them, and this reads the facts
//! of its last run.

use std::{fs, path::Path};

use crate::outcome::Outcome;

/// Figure, the case that measures it, and the beginning of the fact's text.
const FACTS: &[(&str, &str, &str)] = &[("dying_cgroups", "21-leaks", "dying cgroups after it")];

/// Facts that are shown next to those of this machine.
pub const BESIDE: &[&str] = &[
    "30 × 260 MB leaked",
    "slot free after the kill",
    "fault rounds",
    "the supervisor's own memory",
    "clone3 into a slot",
    "SIGKILL by pidfd to reaped",
    "a memory-limited process per request",
];

pub fn measure(target: &Path, outcome: &mut Outcome) {
    for (figure, case, beginning) in FACTS {
        let told: Vec<String> = facts(target)
            .into_iter()
            .filter(|(_, name, _)| name.starts_with(beginning))
            .map(|(suite, _, value)| format!("{value} ({suite})"))
            .collect();
        let told = match told.is_empty() {
            true => format!("tests/vm/cases/{case}, not run in this checkout (make test-vm)"),
            false => format!("{}; tests/vm/cases/{case}", told.join(", ")),
        };
        outcome.elsewhere(figure, told);
    }
}

/// All facts from the virtual machines: suite, name, value.
pub fn facts(target: &Path) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for suite in ["bookworm", "trixie"] {
        let text =
            fs::read_to_string(target.join("vm").join(suite).join("facts")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once('='));
        all.extend(
            lines.map(|(name, value)| (suite.to_owned(), name.to_owned(), value.to_owned())),
        );
    }
    all
}
