//! `sttctl advise`: proposes memory limits from recorded peaks.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write,
};

use serde_json::{Value, json};

use stt_isolated::request::Group;

use crate::{
    cli::Advise,
    error::{Error, report},
    histogram::Histogram,
    journal::{self, Entry},
    line::{self, Line, Style},
    text::{Text, count, known, size},
};

/// Default begin of the period: a week has all kinds of days.
const SINCE: &str = "7d";

/// With fewer requests than this, the highest peak says little about the next one.
const ENOUGH: u64 = 100;

/// Largest number of models that are examined.
const MAX_MODELS: usize = 64;

/// Number of recent limits that are examined, because a client may lower the limit of its own
/// request.
const RECENT: usize = 64;

/// Peaks count as near the limit from this percentage of it.
const NEAR: u128 = 90;

/// Limits are multiples of this: a finer value would only look exact.
const STEP: u64 = 16 << 20;

/// Memory figures of one model's requests.
#[derive(Debug, Default)]
struct Need {
    /// Highest memory use of each transcribed request with a limit, in bytes.
    peaks: Histogram,
    /// Number of transcribed requests without a limit.
    unlimited: u64,
    /// Number of requests that came near their limit, without being stopped by it.
    near: u64,
    /// Number of requests that their limit stopped.
    over: u64,
    /// The most recent limits, in bytes.
    recent: VecDeque<u64>,
}

impl Need {
    fn add(&mut self, entry: &Entry) {
        if let Some(limit) = entry.limit {
            if self.recent.len() >= RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(limit);
        }
        match (entry.outcome, entry.peak, entry.limit) {
            (Group::Memory, _, _) => self.over += 1,
            (outcome, Some(peak), Some(limit)) => {
                self.near += u64::from(u128::from(peak) * 100 >= u128::from(limit) * NEAR);
                if outcome == Group::Ok {
                    self.peaks.add(peak);
                }
            }
            (Group::Ok, ..) => self.unlimited += 1,
            _ => {}
        }
    }

    /// The model's limit, as its last requests show it.
    fn limit(&self) -> Option<u64> {
        self.recent.iter().copied().max()
    }

    /// The proposed limit, in bytes; `None` if too little is known.
    ///
    /// It is a quarter more than 99.9 % of the transcribed requests needed. We do not use the
    /// highest peak, because each job takes its whole limit from the budget: one request in
    /// thousands would leave room for fewer jobs. We add a quarter, because next week's recordings
    /// are different. The limit is never lower than the highest peak of a transcribed request, so
    /// that the same request still succeeds. If requests were stopped by the current limit, the
    /// proposal is not below it, because nobody knows how much those needed.
    fn proposal(&self) -> Option<u64> {
        if self.peaks.count() < ENOUGH {
            return None;
        }
        let usual = self.peaks.percentile(0.999)?;
        let least = usual.saturating_add(usual / 4).max(self.peaks.max()?);
        let proposal = least.checked_next_multiple_of(STEP)?;
        Some(match self.limit() {
            Some(limit) if self.over > 0 => proposal.max(limit),
            _ => proposal,
        })
    }

    /// Remarks to the figures.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let measured = self.peaks.count();
        if measured < ENOUGH {
            notes.push(format!(
                "too little is known: {} transcribed under a limit, and {ENOUGH} are the least to go by",
                count(measured, "request")
            ));
        }
        if self.unlimited > 0 {
            notes.push(format!(
                "{} transcribed without a limit of its own: in mode thread, or without a cgroup; that says nothing about \
                 limits",
                count(self.unlimited, "request")
            ));
        }
        if self.over > 0 {
            notes.push(format!(
                "{} stopped at the limit, and nobody knows how much more that wanted: if the recordings were honest, \
                 raise the limit and look again",
                count(self.over, "request")
            ));
        }
        notes
    }
}

/// Prints the proposals; returns true on success.
pub fn run(arguments: &Advise) -> bool {
    match show(arguments) {
        Ok(()) => true,
        Err(error) => {
            report(arguments.journal.input.as_deref(), &error.to_string());
            false
        }
    }
}

fn show(arguments: &Advise) -> Result<(), Error> {
    let mut needs = BTreeMap::<Text, Need>::new();
    journal::read(&arguments.journal, SINCE, |entry| {
        // A request without a job used no memory, and one without a model had no limit.
        if entry.is_served() && (needs.len() < MAX_MODELS || needs.contains_key(&entry.model)) {
            needs.entry(entry.model.clone()).or_default().add(&entry);
        }
    })?;
    let lines = if arguments.json {
        vec![Line::plain(as_json(&needs).to_string())]
    } else {
        as_text(&needs)
    };
    line::print(&lines, false).map_err(Error::Write)
}

fn as_json(needs: &BTreeMap<Text, Need>) -> Value {
    let models = needs.iter().map(|(name, need)| {
        let peaks = &need.peaks;
        let value = json!({
            "requests": peaks.count(),
            "peak_bytes": {
                "p50": peaks.percentile(0.5), "p99": peaks.percentile(0.99), "p99_9": peaks.percentile(0.999),
                "max": peaks.max(),
            },
            "limit_bytes": need.limit(),
            "near": need.near,
            "over": need.over,
            "unlimited": need.unlimited,
            "proposal_bytes": need.proposal(),
            "notes": need.notes(),
        });
        (name.to_string(), value)
    });
    json!({"schema": 1, "models": models.collect::<serde_json::Map<_, _>>()})
}

fn as_text(needs: &BTreeMap<Text, Need>) -> Vec<Line> {
    if needs.is_empty() {
        return vec![Line::plain(
            "The journal has no entry about a job of that time: nothing to go by.",
        )];
    }
    let heading = format!(
        "{:<16} {:>9} {:>7} {:>7} {:>7} {:>7} {:>6} {:>6} {:>8}",
        "MODEL", "REQUESTS", "HALF", "99 %", "HIGHEST", "LIMIT", "NEAR", "OVER", "PROPOSAL"
    );
    let mut lines = vec![Line::plain(heading).styled(Style::Heading)];
    let (mut notes, mut paste) = (Vec::new(), Vec::new());
    for (name, need) in needs {
        let peak = |share| known(need.peaks.percentile(share), size);
        lines.push(Line::plain(format!(
            "{name:<16} {:>9} {:>7} {:>7} {:>7} {:>7} {:>6} {:>6} {:>8}",
            need.peaks.count(),
            peak(0.5),
            peak(0.99),
            known(need.peaks.max(), size),
            known(need.limit(), size),
            need.near,
            need.over,
            known(need.proposal(), mebibytes),
        )));
        for note in need.notes() {
            notes.extend(line::wrap("! ", &format!("{name}: {note}"), 100));
        }
        if let Some(proposal) = need.proposal()
            && Some(proposal) != need.limit()
        {
            paste.push(Line::plain(format!("[models.{}]", key(name.as_ref()))));
            paste.push(Line::plain(format!(
                "limits.memory = \"{}\"",
                mebibytes(proposal)
            )));
        }
    }
    if !notes.is_empty() {
        lines.push(Line::plain(""));
        lines.append(&mut notes);
    }
    if !paste.is_empty() {
        lines.push(Line::plain(""));
        lines.push(Line::plain(
            "# For these sections of /etc/stt-isolated/stt-isolated.toml; then: systemctl reload stt-isolated",
        ));
        lines.append(&mut paste);
    }
    lines
}

/// A limit in the form of the configuration.
fn mebibytes(bytes: u64) -> String {
    format!("{}M", bytes >> 20)
}

/// The name as a key of TOML.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(is_bare) {
        return name.to_owned();
    }
    let mut quoted = String::from('"');
    for c in name.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        // This cannot fail, and the name has no control characters: a `Text` has none.
        let _ = quoted.write_char(c);
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(peaks: impl IntoIterator<Item = u64>) -> Need {
        let mut need = Need::default();
        peaks
            .into_iter()
            .for_each(|peak| need.peaks.add(peak << 20));
        need
    }

    #[test]
    fn a_quarter_more_than_nearly_all_needed() {
        let proposal = need((0..10_000).map(|n| 100 + n % 100)).proposal().unwrap();
        // 199 MiB and a quarter, 1/64 more for the histogram, rounded up to a multiple of 16.
        assert!([256 << 20, 272 << 20].contains(&proposal), "{proposal}");
    }

    #[test]
    fn never_less_than_what_was_transcribed() {
        for highest in [150, 400, 401, 1000, 5000] {
            let proposal = need((0..10_000).map(|_| 100).chain([highest])).proposal();
            let proposal = proposal.unwrap();
            assert!(proposal >= highest << 20, "{highest}: {proposal}");
            assert!(proposal < (highest << 20) + STEP || proposal <= 128 << 20 || highest == 150);
            assert_eq!(proposal % STEP, 0);
        }
    }

    #[test]
    fn nothing_is_proposed_from_few_requests() {
        assert_eq!(need((0..99).map(|_| 100)).proposal(), None);
        assert_eq!(need((0..100).map(|_| 100)).proposal(), Some(128 << 20));
        assert!(need([]).notes()[0].contains("0 requests transcribed"));
    }

    #[test]
    fn a_limit_that_stopped_requests_is_not_lowered() {
        let mut need = need((0..1000).map(|_| 100));
        need.recent.push_back(512 << 20);
        assert_eq!(need.proposal(), Some(128 << 20));
        need.over = 1;
        assert_eq!(need.proposal(), Some(512 << 20));
    }

    #[test]
    fn names_are_keys() {
        for (name, expected) in [
            ("default", "default"),
            ("a.b", "\"a.b\""),
            ("a\"\\b", r#""a\"\\b""#),
        ] {
            assert_eq!(key(name), expected);
        }
    }
}
