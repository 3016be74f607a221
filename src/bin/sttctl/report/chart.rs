//! Charts as SVG: scales with round numbers, axes, and marks between them.

use std::{
    fmt::{self, Write},
    time::{Duration, UNIX_EPOCH},
};

use super::escaped::Escaped;

/// Size of a chart in its own units, and the margins for the axes.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// Possible distances between two marks of the time axis, in seconds.
const STEPS: [u64; 18] = [
    1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
    2_592_000, 31_536_000,
];

/// A chart over time.
pub struct Chart {
    /// The drawing so far.
    pub svg: String,
    from: f64,
    to: f64,
    scale: Scale,
}

/// Converts a value to a height.
#[derive(Clone, Copy, Debug)]
pub enum Scale {
    /// From 0 to the first number, with a mark at each multiple of the second.
    Linear(f64, f64),
    /// Between two powers of ten; smaller values lie on the lower one.
    Logarithmic(f64, f64),
}

/// Makes the text at a mark of the vertical axis.
pub type Label = fn(f64) -> String;

impl Scale {
    /// A scale from 0 to a round number above `most`.
    pub fn linear(most: f64) -> Scale {
        let step = round(most / 4.0);
        Scale::Linear(((most / step).ceil() * step).max(step), step)
    }

    /// The same for bytes, whose round numbers are powers of two.
    pub fn bytes(most: f64) -> Scale {
        let step = (most / 4.0).max(1.0).log2().ceil().exp2();
        Scale::Linear(((most / step).ceil() * step).max(step), step)
    }

    /// A scale from the power of ten below `least` to that above `most`; `least` must not be 0.
    pub fn logarithmic(least: f64, most: f64) -> Scale {
        let low = least.log10().floor();
        let high = most.max(least).log10().ceil().max(low + 1.0);
        Scale::Logarithmic(10f64.powf(low), 10f64.powf(high))
    }

    /// Position from 0 (lower end) to 1 (upper end).
    fn place(self, value: f64) -> f64 {
        let share = match self {
            Scale::Linear(most, _) => value / most,
            Scale::Logarithmic(low, high) => (value.max(low) / low).ln() / (high / low).ln(),
        };
        share.clamp(0.0, 1.0)
    }

    fn marks(self) -> Vec<f64> {
        match self {
            Scale::Linear(most, step) => {
                let steps = (most / step).round() as u32;
                (0..=steps).map(|n| step * f64::from(n)).collect()
            }
            Scale::Logarithmic(low, high) => {
                let decades = (high / low).log10().round().max(1.0);
                (0..=decades as u32)
                    .map(|n| low * 10f64.powf(f64::from(n)))
                    .collect()
            }
        }
    }
}

/// The smallest of 1, 2, 2.5 or 5 times a power of ten that is not less than `value`.
fn round(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1e-3).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    let enough = |step: &f64| *step >= value * 0.999_999;
    steps.into_iter().find(enough).unwrap_or(10.0 * power)
}

impl Chart {
    /// An empty chart with its axes over `period` (seconds since 1970). `label` describes it for
    /// readers who cannot see it.
    pub fn new(label: &str, period: (u64, u64), scale: Scale, name: Label) -> Chart {
        let (from, to) = period;
        let mut chart = Chart {
            svg: String::new(),
            from: from as f64,
            to: to.max(from + 1) as f64,
            scale,
        };
        let label = Escaped(label);
        chart.put(format_args!(
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">"#
        ));
        for value in scale.marks() {
            let y = chart.y(value);
            let (right, text) = (WIDTH - RIGHT, name(value));
            chart.put(format_args!(
                r#"<path class="grid" d="M{LEFT} {y:.1}H{right}"/><text class="tick y" x="{:.1}" y="{:.1}">{text}</text>"#,
                LEFT - 8.0,
                y + 3.5
            ));
        }
        let span = to.saturating_sub(from);
        let step = STEPS.into_iter().find(|step| span / step <= 9);
        let step = step.unwrap_or_else(|| (span / 9).max(1));
        let mut time = from.div_ceil(step) * step;
        while time <= to {
            let (x, y) = (chart.x(time as f64), HEIGHT - 8.0);
            let text = short(time, step);
            chart.put(format_args!(
                r#"<text class="tick x" x="{x:.1}" y="{y}">{text}</text>"#
            ));
            time += step;
        }
        chart
    }

    /// Adds to the drawing.
    pub fn put(&mut self, what: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.svg.write_fmt(what);
    }

    /// Horizontal position of a time, in seconds since 1970.
    pub fn x(&self, time: f64) -> f64 {
        let share = (time - self.from) / (self.to - self.from);
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// Vertical position of a value.
    pub fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.scale.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    /// A column on top of others, with its description.
    pub fn column(&mut self, class: &str, times: (f64, f64), values: (f64, f64), title: &str) {
        let (left, right) = (self.x(times.0), self.x(times.1));
        let (low, high) = (self.y(values.0), self.y(values.1));
        // A gap between two columns, if there is room for one.
        let width = (right - left - 1.0).max(1.0);
        let height = (low - high).max(0.5);
        let title = Escaped(title);
        self.put(format_args!(
            r#"<rect class="{class}" x="{left:.1}" y="{high:.1}" width="{width:.1}" height="{height:.1}"><title>{title}</title></rect>"#
        ));
    }

    /// A point for `count` things; `size` is the size for a single one.
    pub fn point(&mut self, time: f64, value: f64, (size, count): (f64, u64), title: &str) {
        let (x, y) = (self.x(time), self.y(value));
        let radius = (size + (count as f64).log2() * 0.45).min(8.0);
        let title = Escaped(title);
        self.put(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius:.1}"><title>{title}</title></circle>"#
        ));
    }

    /// A horizontal line with a word at its end.
    pub fn limit(&mut self, value: f64, word: &str) {
        let (y, right) = (self.y(value), WIDTH - RIGHT);
        let word = Escaped(word);
        self.put(format_args!(
            r#"<path class="limit" d="M{LEFT} {y:.1}H{right}"/><text class="tick y limit" x="{:.1}" y="{:.1}">{word}</text>"#,
            right - 4.0,
            y - 5.0
        ));
    }

    /// A line through points, interrupted at missing ones; a single point is a dot.
    pub fn line(&mut self, class: &str, points: &[Option<(f64, f64)>]) {
        for piece in points.split(Option::is_none) {
            let places = piece.iter().flatten();
            let places = places.map(|(time, value)| (self.x(*time), self.y(*value)));
            let places: Vec<(f64, f64)> = places.collect();
            if let [(x, y)] = places[..] {
                self.put(format_args!(
                    r#"<path class="line dot {class}" d="M{x:.1} {y:.1}h.01"/>"#
                ));
            } else if !places.is_empty() {
                let path = places.iter().map(|(x, y)| format!("L{x:.1} {y:.1}"));
                let path = path.collect::<String>().replacen('L', "M", 1);
                self.put(format_args!(r#"<path class="line {class}" d="{path}"/>"#));
            }
        }
    }

    /// Ends the drawing and returns the SVG.
    pub fn finish(mut self) -> String {
        self.svg.push_str("</svg>");
        self.svg
    }
}

/// A time (seconds since 1970, before the year 10,000) in UTC, as "2026-11-23 14:08:34".
pub fn moment(seconds: u64) -> String {
    let mut text = String::new();
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    match time.map(|time| write!(text, "{}", humantime::format_rfc3339_seconds(time))) {
        Some(Ok(())) => text.trim_end_matches('Z').replace('T', " "),
        _ => "-".into(),
    }
}

/// A time as a mark of an axis with this step, with only the necessary parts.
fn short(seconds: u64, step: u64) -> String {
    let text = moment(seconds);
    let part = match step {
        0..60 => text.get(11..),
        _ if step < 86_400 && !seconds.is_multiple_of(86_400) => text.get(11..16),
        _ if step < 31_536_000 => text.get(5..10),
        _ => text.get(..7),
    };
    part.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        let most = |scale| match scale {
            Scale::Linear(most, _) | Scale::Logarithmic(_, most) => most,
        };
        for (value, end) in [(3.0, 3.0), (97.0, 100.0), (101.0, 150.0)] {
            let found = most(Scale::linear(value));
            assert!((found - end).abs() < 1e-6, "{value}: {found}");
        }
        assert!(most(Scale::linear(0.0)) > 0.0);
        assert!((most(Scale::bytes(500e6)) - f64::from(512 << 20)).abs() < 1.0);
        for (value, end) in [(3.0, 10.0), (1000.0, 1000.0), (1001.0, 10_000.0)] {
            let found = most(Scale::logarithmic(1.0, value));
            assert!((found - end).abs() < 1e-6, "{value}: {found}");
        }
    }

    #[test]
    fn marks_of_time_are_as_short_as_can_be() {
        // 2026-11-23 14:08:34
        let time = 1_795_442_914;
        assert_eq!(moment(time), "2026-11-23 14:08:34");
        assert_eq!(short(time, 5), "14:08:34");
        assert_eq!(short(time, 300), "14:08");
        assert_eq!(short(time / 86_400 * 86_400, 3600), "11-23");
        assert_eq!(short(time, 86_400), "11-23");
        assert_eq!(short(time, 31_536_000), "2026-11");
        assert_eq!(moment(253_402_300_799), "9999-12-31 23:59:59");
        assert_eq!(moment(u64::MAX / 2), "-");
    }

    #[test]
    fn whatever_is_drawn_lies_within_the_chart() {
        for period in [
            (0, 0),
            (5, 5),
            (0, 253_402_300_799),
            (1_795_442_914, 1_795_529_314),
        ] {
            let scale = Scale::linear(100.0);
            let mut chart = Chart::new("<x>", period, scale, |value| value.to_string());
            chart.point(period.0 as f64, 1e300, (2.0, u64::MAX), "\"<&>");
            chart.line("a", &[Some((0.0, 0.0)), None, Some((1e300, -1.0))]);
            let svg = chart.finish();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains("&quot;&lt;&amp;&gt;"), "{svg}");
            assert!(svg.matches("tick x").count() <= 12, "{svg}");
        }
    }
}
