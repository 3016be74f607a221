//! Formats text, sizes and times for display.

use std::fmt;

use console::measure_text_width;
use serde::Deserialize;

use crate::error::one_line;

/// Text from the service, made safe to show: no control characters, and none that hide or reverse
/// others. Missing text is a dash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "String")]
pub struct Text(String);

impl From<String> for Text {
    fn from(text: String) -> Text {
        let visible = |c: char| match measure_text_width(c.encode_utf8(&mut [0; 4])) {
            0 => char::REPLACEMENT_CHARACTER,
            _ => c,
        };
        Text(one_line(&text).chars().map(visible).collect())
    }
}

impl Default for Text {
    fn default() -> Text {
        Text("-".into())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// `value` formatted by `show`, or a dash.
pub fn known<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".into(), show)
}

/// A number of things, with the plural if needed.
pub fn count(number: impl Into<Option<u64>>, thing: &str) -> String {
    match number.into() {
        Some(1) => format!("1 {thing}"),
        number => format!("{} {thing}s", known(number, |number| number.to_string())),
    }
}

/// Bytes in five columns, with powers of 1024.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = "KMGTPE".chars();
    let mut unit = 'B';
    while value >= 1024.0
        && let Some(next) = units.next()
    {
        value /= 1024.0;
        unit = next;
    }
    decimal(value, unit != 'B') + &unit.to_string()
}

/// A time in at most six columns, up to some years.
pub fn time(seconds: f64) -> String {
    let whole = seconds as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86400);
    match whole {
        0..60 => format!("{:.1}s", seconds.max(0.0)),
        60..3600 => format!("{minutes}m{:02}s", whole % 60),
        3600..86400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// A share of one processor, in percent.
pub fn percent(share: f64) -> String {
    decimal(share * 100.0, true)
}

/// Up to three digits, with one decimal only if it says something.
fn decimal(value: f64, fraction: bool) -> String {
    if fraction && value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (bytes, shown) in [
            (0, "0B"),
            (1023, "1023B"),
            (1536, "1.5K"),
            (512 << 20, "512M"),
            (8 << 30, "8.0G"),
            (u64::MAX, "16.0E"),
        ] {
            assert_eq!(size(bytes), shown);
        }
        for (seconds, shown) in [
            (0.0, "0.0s"),
            (-3.0, "0.0s"),
            (0.42, "0.4s"),
            (60.0, "1m00s"),
            (754.9, "12m34s"),
            (11_100.0, "3h05m"),
            (93_784.0, "1d02h"),
        ] {
            assert_eq!(time(seconds), shown);
        }
        assert_eq!([0.0, 0.952, 3.999].map(percent), ["0.0", "95.2", "400"]);
    }

    #[test]
    fn words_of_the_service_cannot_steer_the_terminal() {
        let text = |text: &str| Text::from(text.to_owned()).to_string();
        assert_eq!(
            text("\u{1b}[2J\u{9b}1m\u{7f}x"),
            "\u{fffd}[2J\u{fffd}1m\u{fffd}x"
        );
        assert_eq!(text("a\nb\tc"), "a b c");
        assert_eq!(text("a\u{202e}b\u{200b}c"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(text("ünï 音声"), "ünï 音声");
        assert_eq!(Text::default().to_string(), "-");
    }
}
