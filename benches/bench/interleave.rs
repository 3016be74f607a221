//! Competitors that take turns, so that disturbances of the machine affect all of them.

use std::{path::Path, thread, time::Duration};

use crate::{
    client::{Client, request},
    sample::Samples,
};

/// A competitor that answers requests.
pub struct Competitor {
    pub name: String,
    client: Client,
    request: Vec<u8>,
    pub samples: Samples,
}

impl Competitor {
    /// The server on `socket`, asked for `model`.
    pub fn new(name: &str, socket: &Path, model: &str, recording: &[u8]) -> Competitor {
        let client = Client::connect(socket);
        Competitor {
            name: name.into(),
            client: client.unwrap_or_else(|error| panic!("{name}: {error}")),
            request: request(model, recording),
            samples: Samples::default(),
        }
    }
}

/// The order and number of turns.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    pub rounds: usize,
    /// Number of requests in each turn.
    pub block: usize,
    /// Number of first requests in a turn that are not counted, because they still feel the
    /// previous competitor.
    pub warm: usize,
    /// Pause before each request.
    pub pause: Duration,
}

/// Give each competitor a turn in each round; another one begins in each round.
pub fn take_turns(competitors: &mut [Competitor], turns: Turns) {
    let count = competitors.len();
    for round in 0..turns.rounds {
        for place in 0..count {
            let competitor = &mut competitors[(round + place) % count];
            for number in 0..turns.block {
                if !turns.pause.is_zero() {
                    thread::sleep(turns.pause);
                }
                let took = competitor.client.time(&competitor.request);
                if number >= turns.warm {
                    competitor.samples.push(took);
                }
            }
        }
    }
}
