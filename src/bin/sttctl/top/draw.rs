//! Writes lines to the terminal.

use std::io::{self, Write};

use crossterm::{
    cursor::MoveTo,
    queue,
    terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate},
};

use crate::line::Line;

/// Shows these lines; their number is the height of the screen.
///
/// # Errors
///
/// The terminal is gone.
pub fn draw(lines: &[Line]) -> io::Result<()> {
    // Write everything at once to avoid flicker.
    let mut picture = Vec::new();
    queue!(picture, BeginSynchronizedUpdate)?;
    for (row, line) in (0..).zip(lines) {
        // Clear the line before writing it: after its last column, clearing would remove that
        // column.
        queue!(picture, MoveTo(0, row), Clear(ClearType::CurrentLine))?;
        line.write(&mut picture, true)?;
    }
    queue!(picture, EndSynchronizedUpdate)?;
    let mut out = io::stdout().lock();
    out.write_all(&picture)?;
    out.flush()
}
