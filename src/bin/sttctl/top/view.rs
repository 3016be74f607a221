//! What is looked at, and how: the last two answers, and what the keys have chosen.

use crate::error::Error;
use crate::stats::Stats;
use crate::text::Text;

/// Which jobs come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Those with the most memory.
    Memory,
    /// Those that keep the most processors busy.
    Cpu,
    /// The oldest.
    Age,
}

/// All that decides what is on the screen.
#[derive(Debug)]
pub struct View {
    /// The last answer.
    pub latest: Stats,
    /// The one before.
    pub previous: Option<Stats>,
    /// Why there is none since.
    pub trouble: Option<Text>,
    /// Which jobs come first.
    pub order: Order,
    /// Whether the keys are explained instead.
    pub help: bool,
}

impl View {
    /// The first look.
    pub fn new(stats: Stats) -> View {
        View {
            latest: stats,
            previous: None,
            trouble: None,
            order: Order::Memory,
            help: false,
        }
    }

    /// Takes what came of one more look.
    pub fn look(&mut self, answer: Result<Stats, Error>) {
        match answer {
            Ok(stats) => {
                self.previous = Some(std::mem::replace(&mut self.latest, stats));
                self.trouble = None;
            }
            Err(error) => self.trouble = Some(error.to_string().into()),
        }
    }
}
