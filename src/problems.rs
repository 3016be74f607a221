//! Mistakes in settings, collected with their keys, and the rules that many keys have in common.

use std::time::Duration;

/// Longest time that any key may have: far more than any use needs, and far less than a clock can
/// count.
const MAX_TIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// One mistake: the path of its key, and a sentence that says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The names of the tables around the key, from the outside in, and then the key.
    pub key: Vec<String>,
    /// A sentence that says the mistake and, if possible, a correct value.
    pub what: String,
}

/// Collects mistakes while tables are checked. It knows in which table the check is.
#[derive(Debug, Default)]
pub struct Problems {
    table: Vec<String>,
    found: Vec<Mistake>,
}

impl Problems {
    /// Run `check` inside the table at `path`, which is relative to the present table.
    pub fn within<T>(&mut self, path: &[&str], check: impl FnOnce(&mut Self) -> T) -> T {
        let depth = self.table.len();
        self.table.extend(path.iter().copied().map(String::from));
        let result = check(self);
        self.table.truncate(depth);
        result
    }

    /// Report a mistake in the value of `key` in the present table.
    pub fn add(&mut self, key: &str, what: impl Into<String>) {
        self.within(&[key], |problems| problems.here(what));
    }

    /// Report a mistake in the present table as a whole.
    pub fn here(&mut self, what: impl Into<String>) {
        self.found.push(Mistake {
            key: self.table.clone(),
            what: what.into(),
        });
    }

    /// All mistakes, in the order in which they were found.
    pub fn into_mistakes(self) -> Vec<Mistake> {
        self.found
    }

    /// Add a mistake that other `Problems` collected.
    pub fn take_over(&mut self, mistake: Mistake) {
        self.found.push(mistake);
    }

    /// Require that the time is more than 0 and at most 30 days.
    pub fn time(&mut self, key: &str, time: Duration) {
        if time.is_zero() {
            self.add(key, "must be more than 0");
        }
        self.time_or_zero(key, time);
    }

    /// Require that the time is at most 30 days.
    pub fn time_or_zero(&mut self, key: &str, time: Duration) {
        if time > MAX_TIME {
            self.add(key, "at most 30 days make sense");
        }
    }

    /// Require a language code of two letters (ISO 639-1).
    pub fn language(&mut self, key: &str, code: &str) {
        if code.len() != 2 || !code.bytes().all(|b| b.is_ascii_lowercase()) {
            self.add(key, format!("`{code}` is no ISO 639-1 code (\"en\")"));
        }
    }
}
