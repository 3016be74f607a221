//! From lines to what a terminal understands.

use std::io::{self, Write};

use crossterm::cursor::MoveTo;
use crossterm::queue;
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};

use crate::line::Line;

/// Shows these lines, of which there are as many as the screen has.
///
/// # Errors
///
/// The terminal is gone.
pub fn draw(lines: &[Line]) -> io::Result<()> {
    // All at once, or it would flicker.
    let mut picture = Vec::new();
    queue!(picture, BeginSynchronizedUpdate)?;
    for (row, line) in (0..).zip(lines) {
        // Cleared before: after the last column, clearing would take that column away.
        queue!(picture, MoveTo(0, row), Clear(ClearType::CurrentLine))?;
        line.write(&mut picture, true)?;
    }
    queue!(picture, EndSynchronizedUpdate)?;
    let mut out = io::stdout().lock();
    out.write_all(&picture)?;
    out.flush()
}
