//! The last line of `sttctl transcribe`: how many recordings are done, failed and were left out.

use std::{collections::BTreeMap, path::Path};

use super::inputs::Why;
use crate::{shown, text::count};

/// Number of failed recordings that are named.
const NAMED: usize = 10;

/// The endings of all recordings.
#[derive(Debug, Default)]
pub struct Summary {
    done: u64,
    /// Recordings whose result was there already.
    old: u64,
    failed: u64,
    names: Vec<String>,
}

impl Summary {
    /// One more was transcribed.
    pub fn done(&mut self) {
        self.done += 1;
    }

    /// One more has its result already.
    pub fn old(&mut self) {
        self.old += 1;
    }

    /// One more failed.
    pub fn failed(&mut self, name: &Path) {
        self.failed += 1;
        if self.names.len() < NAMED {
            self.names.push(shown::name(name));
        }
    }

    /// Whether nothing failed.
    pub fn is_good(&self) -> bool {
        self.failed == 0
    }

    /// Whether there is more to tell than that each recording was transcribed.
    pub fn is_mixed(&self) -> bool {
        self.failed + self.old > 0
    }

    /// The line. `left_out` counts the things in folders that were left out, by the reason.
    pub fn line(&self, left_out: &BTreeMap<Why, u64>) -> String {
        let mut line = format!("{} transcribed, {} failed", self.done, self.failed);
        if self.failed > 0 {
            line.push_str(&format!(" ({}", self.names.join(", ")));
            if self.failed > self.names.len() as u64 {
                let more = self.failed - self.names.len() as u64;
                line.push_str(&format!(" and {more} more"));
            }
            line.push(')');
        }
        let old = (self.old > 0).then(|| match self.old {
            1 => "1 has its result".to_owned(),
            old => format!("{old} have their result"),
        });
        let others = left_out.iter().map(|(why, number)| match why {
            Why::Link => count(*number, "link"),
            Why::Hidden => format!("{number} hidden"),
            Why::Folder => count(*number, "folder") + " without --recursive",
            Why::Young => format!("{number} younger than --min-age"),
            Why::Other => format!("{number} not named like audio"),
        });
        let skipped = self.old + left_out.values().sum::<u64>();
        if skipped > 0 {
            let reasons: Vec<String> = old.into_iter().chain(others).collect();
            line.push_str(&format!(", {skipped} skipped ({})", reasons.join(", ")));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_numbers_names_and_reasons() {
        let mut summary = Summary::default();
        summary.done();
        assert_eq!(summary.line(&BTreeMap::new()), "1 transcribed, 0 failed");
        assert!(!summary.is_mixed());
        summary.old();
        for number in 0..12 {
            summary.failed(Path::new(&format!("{number}\n.wav")));
        }
        assert!(summary.is_mixed());
        let left_out = BTreeMap::from([(Why::Link, 2), (Why::Folder, 1), (Why::Other, 1)]);
        assert_eq!(
            summary.line(&left_out),
            "1 transcribed, 12 failed (0\\n.wav, 1\\n.wav, 2\\n.wav, 3\\n.wav, 4\\n.wav, 5\\n.wav, \
             6\\n.wav, 7\\n.wav, 8\\n.wav, 9\\n.wav and 2 more), 5 skipped (1 has its result, \
             2 links, 1 folder without --recursive, 1 not named like audio)"
        );
    }
}
