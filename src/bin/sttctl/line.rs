//! Lines for people: their style, their width, and their way to the terminal.

use std::io::{self, Write};

use console::{Alignment, measure_text_width, pad_str, truncate_str};
use crossterm::style::{ContentStyle, Stylize};

/// A line with one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Text without control characters.
    pub text: String,
    /// Style on a terminal that supports it.
    pub style: Style,
}

/// Style of a line on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text without any emphasis.
    Plain,
    /// The most important text.
    Strong,
    /// Heading of a table's columns.
    Heading,
    /// A problem, shown in red.
    Alarm,
}

impl Line {
    /// A line in the plain style.
    pub fn plain(text: impl Into<String>) -> Line {
        Line {
            text: text.into(),
            style: Style::Plain,
        }
    }

    /// The same line in this style.
    pub fn styled(self, style: Style) -> Line {
        Line { style, ..self }
    }

    /// The line, cut to `width` columns.
    pub fn clipped(self, width: usize) -> Line {
        let tail = if width > 10 { "..." } else { "" };
        Line {
            text: truncate_str(&self.text, width, tail).into_owned(),
            ..self
        }
    }

    /// Writes the line without a line end, with escape sequences if `terminal`.
    ///
    /// # Errors
    ///
    /// An error of `out`.
    pub fn write(&self, out: &mut impl Write, terminal: bool) -> io::Result<()> {
        let plain = ContentStyle::new();
        let style = match self.style {
            Style::Strong => plain.bold(),
            Style::Heading => plain.reverse(),
            Style::Alarm => plain.bold().red(),
            Style::Plain => plain,
        };
        if terminal && self.style != Style::Plain {
            write!(out, "{}", style.apply(&self.text))
        } else {
            out.write_all(self.text.as_bytes())
        }
    }
}

/// Text in lines of at most `width` columns: `label` before the first, blanks before the others.
/// Only a word that is longer than that makes a longer line.
pub fn wrap(label: &str, text: &str, width: usize) -> Vec<Line> {
    let indent = " ".repeat(measure_text_width(label));
    let mut lines = vec![label.to_owned()];
    let mut column = indent.len();
    for word in text.split(' ') {
        let length = measure_text_width(word);
        let empty = column == indent.len();
        if !empty && column + 1 + length > width {
            lines.push(indent.clone());
            column = indent.len();
        }
        if let Some(line) = lines.last_mut() {
            if column > indent.len() {
                line.push(' ');
                column += 1;
            }
            line.push_str(word);
            column += length;
        }
    }
    lines.into_iter().map(Line::plain).collect()
}

/// Rows of a table, each column as wide as its widest cell, cut to `width` columns in all.
pub fn columns<const N: usize>(rows: &[[String; N]], width: usize) -> Vec<Line> {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| measure_text_width(cell))
            .max()
            .unwrap_or(0)
    });
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths);
        let cells = cells.map(|(cell, width)| pad_str(cell, width, Alignment::Left, None));
        let line = cells.collect::<Vec<_>>().join("  ");
        Line::plain(line.trim_end()).clipped(width)
    };
    rows.iter().map(line).collect()
}

/// Writes all lines to standard output, in their styles if it is a terminal and `styles` are
/// wanted.
///
/// # Errors
///
/// Standard output cannot be written.
pub fn print(lines: &[Line], styles: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in lines {
        line.write(&mut out, styles)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn words_are_wrapped_beside_their_label() {
        let lines = wrap("! ", "one two three four", 11);
        assert_eq!(texts(&lines), ["! one two", "  three", "  four"]);
        let lines = wrap("! ", "音声 音声 incomprehensible", 11);
        assert_eq!(texts(&lines), ["! 音声 音声", "  incomprehensible"]);
        assert_eq!(texts(&wrap("x ", "a b", usize::MAX)), ["x a b"]);
        assert_eq!(texts(&wrap("x ", "a b", 0)), ["x a", "  b"]);
    }

    #[test]
    fn a_clipped_line_is_never_wider() {
        for text in ["", "a", "abcdefghijklmnop", "音声音声音声音声音声"] {
            for width in 0..30 {
                let line = Line::plain(text).clipped(width);
                assert!(measure_text_width(&line.text) <= width, "{line:?}");
            }
        }
        assert_eq!(
            Line::plain("abcdefghijklmnop").clipped(12).text,
            "abcdefghi..."
        );
    }
}
