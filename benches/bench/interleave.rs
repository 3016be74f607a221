//! Competitors taking turns, so that whatever the machine does meanwhile is done to all of them.

use std::{path::Path, thread, time::Duration};

use crate::{
    client::{Client, request},
    sample::Samples,
};

/// Somebody who answers requests.
pub struct Competitor {
    pub name: String,
    client: Client,
    request: Vec<u8>,
    pub samples: Samples,
}

impl Competitor {
    /// Whoever listens on `socket`, asked for `model`.
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

/// How turns are taken.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    pub rounds: usize,
    /// Requests in each turn.
    pub block: usize,
    /// Of these, the first so many count nothing: they still feel the competitor before.
    pub warm: usize,
    /// Before each request.
    pub pause: Duration,
}

/// Give each competitor a turn in each round; who begins changes from round to round.
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
