//! State of the screen: the last two answers, and the settings chosen by keys.

use crate::error::Error;
use crate::stats::Stats;
use crate::text::Text;

/// Order of the jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Jobs with the most memory first.
    Memory,
    /// Jobs that keep the most processors busy first.
    Cpu,
    /// Jobs that began first come first.
    Age,
}

/// Everything that determines the screen.
#[derive(Debug)]
pub struct View {
    /// The last answer of the service.
    pub latest: Stats,
    /// The answer before the last one.
    pub previous: Option<Stats>,
    /// The reason why the last request had no answer.
    pub trouble: Option<Text>,
    /// Order of the jobs in the table.
    pub order: Order,
    /// True if the help for keys is shown instead.
    pub help: bool,
}

impl View {
    /// A view of the first answer.
    pub fn new(stats: Stats) -> View {
        View {
            latest: stats,
            previous: None,
            trouble: None,
            order: Order::Memory,
            help: false,
        }
    }

    /// Takes the result of another request.
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
