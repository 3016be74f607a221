//! The words of turns on standard output; on a terminal also while they are spoken, and how loud it
//! is in between.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use console::{Term, measure_text_width};

/// How often the level is drawn.
const TICK: Duration = Duration::from_millis(200);

/// Longest time without any sound before that is said.
const SILENT: Duration = Duration::from_secs(5);

/// Samples that are at most this large are no sound: a microphone that is open has more noise.
const SOUND: i16 = 8;

/// Eight levels, each 8 dB louder than the one before.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Standard output.
pub(super) struct Screen {
    is_terminal: bool,
    /// Columns of words that stay, on the current line.
    column: usize,
    /// True while somebody speaks.
    is_turn: bool,
    is_drawn: bool,
    loudest: i16,
    drawn: Instant,
    sound: Instant,
    is_told: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            is_terminal: io::stdout().is_terminal(),
            column: 0,
            is_turn: false,
            is_drawn: false,
            loudest: 0,
            drawn: now,
            sound: now,
            is_told: false,
        }
    }

    /// Show how loud these samples are (16 bits, low byte first).
    pub(super) fn level(&mut self, samples: &[u8]) {
        let (pairs, _) = samples.as_chunks::<2>();
        let loudest = pairs
            .iter()
            .map(|pair| i16::from_le_bytes(*pair).saturating_abs())
            .max();
        self.loudest = self.loudest.max(loudest.unwrap_or(0));
        if self.loudest > SOUND {
            self.sound = Instant::now();
            self.is_told = false;
        } else if self.sound.elapsed() >= SILENT && !self.is_told {
            self.is_told = true;
            let seconds = SILENT.as_secs();
            self.note(&format!(
                "no sound for {seconds} s: is the microphone on, and the right one?"
            ));
        }
        if !self.is_terminal || self.is_turn || self.drawn.elapsed() < TICK {
            return;
        }
        let decibels = 20.0 * (f64::from(self.loudest.max(1)) / 32_768.0).log10();
        let steps = ((decibels + 64.0) / 8.0).clamp(0.0, 7.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let level = LEVELS[steps as usize];
        self.clear();
        print!("\x1b[2m● {level}\x1b[0m");
        self.is_drawn = true;
        self.flush();
        self.loudest = 0;
        self.drawn = Instant::now();
    }

    /// Somebody begins to speak.
    pub(super) fn begin(&mut self) {
        self.clear();
        self.is_turn = true;
        self.flush();
    }

    /// Print words that stay.
    pub(super) fn words(&mut self, words: &str) {
        if !self.is_terminal {
            return;
        }
        self.clear();
        self.is_turn = true;
        print!("{words}");
        self.column += measure_text_width(words);
        self.flush();
    }

    /// Print words that may still change, dim and only as far as they fit on the line.
    pub(super) fn tentative(&mut self, words: &str) {
        if !self.is_terminal {
            return;
        }
        self.clear();
        let (_, columns) = Term::stdout().size();
        let columns = usize::from(columns).max(2);
        let room = columns - 1 - (self.column % columns).min(columns - 1);
        let words = console::truncate_str(words, room, "…");
        print!("\x1b7\x1b[2m{words}\x1b[0m");
        self.is_drawn = true;
        self.flush();
    }

    /// Print the whole text of a turn, or end the line on which it stands already.
    ///
    /// # Errors
    /// Nobody reads it.
    pub(super) fn turn(&mut self, words: &str) -> io::Result<()> {
        self.clear();
        self.is_turn = false;
        let is_there = std::mem::take(&mut self.column) > 0;
        let mut output = io::stdout().lock();
        if is_there {
            writeln!(output)?;
        } else if !words.is_empty() {
            let words = match self.is_terminal {
                true => crate::shown::words(words.as_bytes()),
                false => words.to_owned(),
            };
            writeln!(output, "{words}")?;
        }
        output.flush()
    }

    /// Say something on standard error.
    pub(super) fn note(&mut self, text: &str) {
        self.clear();
        if std::mem::take(&mut self.column) > 0 {
            println!();
        }
        self.flush();
        crate::error::report(None, text);
    }

    /// Leave a clean line.
    pub(super) fn end(&mut self) {
        self.clear();
        if std::mem::take(&mut self.column) > 0 {
            println!();
        }
        self.flush();
    }

    /// Remove what does not stay.
    fn clear(&mut self) {
        if !std::mem::take(&mut self.is_drawn) {
            return;
        }
        if self.column > 0 || self.is_turn {
            print!("\x1b8\x1b[J");
        } else {
            print!("\r\x1b[2K");
        }
    }

    fn flush(&self) {
        // The next words tell whether somebody still reads.
        let _ = io::stdout().flush();
    }
}
