//! A child's own words for the log: cut, and without control characters.

use crate::job::wire::JobProcess;

/// Most lines of a job's stderr that go to the log.
const MAX_LINES: usize = 20;

/// Characters at which each line is cut.
const MAX_LENGTH: usize = 500;

/// The job's stderr, each line with a colon in front; empty if it wrote nothing.
pub fn last_words(job: &mut JobProcess) -> String {
    let raw = job.slot().take_stderr();
    String::from_utf8_lossy(&raw)
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(MAX_LINES)
        .map(|line| format!(": {}", clean(line)))
        .collect()
}

/// One line of a child's words as it may go to the log.
pub fn clean(text: &str) -> String {
    let clean = text.chars().filter(|c| !c.is_control());
    clean.take(MAX_LENGTH).collect()
}
