//! Plots as SVG that take their colours from the page's style, light or dark.

use std::fmt::Write;

use crate::outcome::Series;

/// The colours of its elements.
pub const STYLE: &str = include_str!("plot.css");

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 240.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 48.0;

/// Number of colours in the style.
const COLOURS: usize = 12;

/// Division of an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    Linear,
    Log,
}

/// An axis: its title, and its division.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub name: &'static str,
    pub scale: Scale,
    /// For the horizontal axis: draw steps between points instead of slopes, as for distributions.
    pub steps: bool,
}

struct Range {
    from: f64,
    to: f64,
    scale: Scale,
}

impl Range {
    fn of(values: impl Iterator<Item = f64> + Clone, scale: Scale) -> Range {
        let positive = values.clone().filter(|value| *value > 0.0);
        let most = values.fold(f64::MIN_POSITIVE, f64::max);
        match scale {
            Scale::Linear => Range {
                from: 0.0,
                to: most * 1.05,
                scale,
            },
            Scale::Log => {
                let least = positive.fold(most, f64::min);
                Range {
                    from: least * 0.9,
                    to: (most * 1.1).max(least * 1.3),
                    scale,
                }
            }
        }
    }

    /// Position of a value, 0 to 1.
    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => (value.max(self.from) / self.from).ln() / (self.to / self.from).ln(),
        }
    }

    /// Values with a line across the plot.
    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let rough = (self.to - self.from) / 5.0;
                let power = 10f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
                let step = step
                    .into_iter()
                    .find(|step| *step >= rough)
                    .unwrap_or(rough);
                let count = ((self.to - self.from) / step) as usize;
                (0..=count)
                    .map(|number| self.from + step * number as f64)
                    .collect()
            }
            Scale::Log => {
                let wide = self.to / self.from > 1000.0;
                let mut ticks = Vec::new();
                let mut power = 10f64.powf(self.from.log10().floor());
                while power <= self.to {
                    for factor in if wide { vec![1.0] } else { vec![1.0, 2.0, 5.0] } {
                        let tick = factor * power;
                        if tick >= self.from && tick <= self.to {
                            ticks.push(tick);
                        }
                    }
                    power *= 10.0;
                }
                ticks
            }
        }
    }
}

/// A plot of lines over two axes, each named next to the plot.
pub fn lines(series: &[Series], across: Axis, up: Axis) -> String {
    let all = || series.iter().flat_map(|series| series.points.iter());
    let x = Range::of(all().map(|(x, _)| *x), across.scale);
    let y = Range::of(all().map(|(_, y)| *y), up.scale);
    let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let at_x = |value: f64| LEFT + width * x.place(value);
    let at_y = |value: f64| TOP + height * (1.0 - y.place(value));
    let mut svg = begin(HEIGHT);
    for tick in x.ticks() {
        let (x, bottom) = (at_x(tick), TOP + height);
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{bottom:.1}"/><text class="tick"
            x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            bottom + 18.0,
            number(tick)
        );
    }
    for tick in y.ticks() {
        let (y, right) = (at_y(tick), LEFT + width);
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{LEFT}" y1="{y:.1}" x2="{right:.1}" y2="{y:.1}"/><text class="tick"
            x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            LEFT - 8.0,
            y + 4.0,
            number(tick)
        );
    }
    let _ = write!(
        svg,
        r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text><text class="axis"
        transform="translate(14 {:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
        LEFT + width / 2.0,
        HEIGHT - 8.0,
        escape(across.name),
        TOP + height / 2.0,
        escape(up.name)
    );
    for (index, line) in series.iter().enumerate() {
        let mut path = String::new();
        let mut before = None;
        for (x, y) in &line.points {
            let (x, y) = (at_x(*x), at_y(*y));
            match before {
                None => {
                    let _ = write!(path, "M{x:.1} {y:.1}");
                }
                Some(old) if across.steps => {
                    let _ = write!(path, "L{x:.1} {old:.1}L{x:.1} {y:.1}");
                }
                Some(_) => {
                    let _ = write!(path, "L{x:.1} {y:.1}");
                }
            }
            before = Some(y);
        }
        let colour = index % COLOURS;
        let (name, key) = (escape(&line.name), TOP + 12.0 + index as f64 * 22.0);
        let (from, to, text) = (
            LEFT + width + 18.0,
            LEFT + width + 40.0,
            LEFT + width + 47.0,
        );
        let _ = write!(
            svg,
            r#"<path class="line c{colour}" d="{path}"><title>{name}</title></path><line class="line c{colour}"
            x1="{from:.1}" y1="{key:.1}" x2="{to:.1}" y2="{key:.1}"/><text class="key" x="{text:.1}"
            y="{:.1}">{name}</text>"#,
            key + 4.0
        );
        if line.points.len() <= 60 {
            for (x, y) in &line.points {
                let _ = write!(
                    svg,
                    r#"<circle class="dot c{colour}" cx="{:.1}" cy="{:.1}" r="2.5"><title>{name}: {} at
                    {}</title></circle>"#,
                    at_x(*x),
                    at_y(*y),
                    number(*y),
                    number(*x)
                );
            }
        }
    }
    svg + "</svg>"
}

/// A single divided bar: the first values of all series, one after the other.
pub fn bar(series: &[Series], unit: &str) -> String {
    let value = |series: &Series| {
        series
            .points
            .first()
            .map_or(0.0, |(_, value)| value.max(0.0))
    };
    let total: f64 = series.iter().map(value).sum();
    let width = WIDTH - 40.0;
    let mut svg = begin(150.0);
    let mut x = 20.0;
    for (index, part) in series.iter().enumerate() {
        let wide = width * value(part) / total.max(f64::MIN_POSITIVE);
        let colour = index % COLOURS;
        let told = format!("{}: {} {unit}", part.name, number(value(part)));
        let (column, row) = (
            20.0 + (index % 4) as f64 * 205.0,
            96.0 + (index / 4) as f64 * 24.0,
        );
        let _ = write!(
            svg,
            r#"<rect class="bar c{colour}" x="{x:.1}" y="20" width="{wide:.1}"
            height="44"><title>{told}</title></rect><rect class="bar c{colour}" x="{column:.1}" y="{:.1}"
            width="12" height="12"/><text class="key" x="{:.1}" y="{:.1}">{told}</text>"#,
            row - 10.0,
            column + 18.0,
            row + 1.0,
            told = escape(&told)
        );
        x += wide;
    }
    svg + "</svg>"
}

/// A drawing as a separate file, with its style and a background.
pub fn file(drawing: &str, title: &str) -> String {
    let title = escape(title);
    let head = format!(
        r#"><title>{title}</title><style>{STYLE}</style><rect class="paper" width="100%" height="100%"/>"#
    );
    drawing.replacen('>', &head, 1) + "\n"
}

fn begin(height: f64) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg">"#)
}

/// A number in its shortest form.
fn number(value: f64) -> String {
    let value = if value.abs() >= 100.0 {
        value.round()
    } else {
        (value * 100.0).round() / 100.0
    };
    let text = format!("{value}");
    if value.abs() < 10_000.0 || value.fract() != 0.0 {
        return text;
    }
    let mut grouped = String::new();
    for (index, digit) in text.chars().enumerate() {
        if index > 0 && (text.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
