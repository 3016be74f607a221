//! Rules that many keys have in common.

use std::time::Duration;

/// Longest time that any key may have: far beyond any use, and far below what a clock can count.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// More than 0, and no longer than [`MAX_TIME`].
pub(crate) fn bounded(time: Duration, key: &[&str], wrong: &mut impl FnMut(&[&str], String)) {
    if time.is_zero() {
        wrong(key, "must be more than 0".into());
    } else if time > MAX_TIME {
        wrong(key, "at most 30 days make sense".into());
    }
}

/// A code of two letters.
pub(crate) fn language(code: &str, key: &[&str], wrong: &mut impl FnMut(&[&str], String)) {
    if code.len() != 2 || !code.bytes().all(|b| b.is_ascii_lowercase()) {
        wrong(key, format!("`{code}` is no ISO 639-1 code (\"en\")"));
    }
}
