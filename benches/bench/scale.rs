//! The number of runs of everything: enough for the figures, or just enough to see that all of it
//! works.

use std::time::Duration;

/// Numbers of runs of each part.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub name: &'static str,
    /// Pairs of requests, with a pause of 2 ms before each and without one.
    pub pairs: usize,
    /// Pairs with 100 ms of idleness before each request.
    pub idle_pairs: usize,
    /// Rounds in which every peer has its turn.
    pub peer_rounds: usize,
    /// Requests of each peer in a round. The first one is not counted.
    pub peer_block: usize,
    /// Pairs of requests with the real engine.
    pub real_pairs: usize,
    /// Numbers of clients, and how long each number of them sends.
    pub clients: &'static [usize],
    pub load: Duration,
    /// Number of requests after which the supervisor's memory is read again; it is first read after
    /// 1 000.
    pub endurance: usize,
    /// Requests that leak, in the modes process, hybrid, thread.
    pub leaks: [usize; 3],
    /// Turns of a realtime session whose time is measured.
    pub live_turns: usize,
    /// Realtime sessions that are opened and closed.
    pub live_sessions: usize,
    /// Minutes of audio in one session with an engine that leaks.
    pub live_minutes: f64,
    /// Requests in each mode to a real library that leaks.
    pub azure: usize,
    /// Size of each of eight uploads, in bytes.
    pub upload: u64,
    /// Jobs killed in each way.
    pub kills: usize,
    pub cold_starts: usize,
    /// Good requests in parallel with faults.
    pub neighbours: usize,
    /// Requests whose system calls are counted.
    pub traced: usize,
}

pub const FULL: Scale = Scale {
    name: "full",
    pairs: 4000,
    idle_pairs: 300,
    peer_rounds: 40,
    peer_block: 6,
    real_pairs: 30,
    clients: &[1, 2, 4, 8, 16],
    load: Duration::from_secs(2),
    endurance: 50_000,
    leaks: [1000, 30, 10],
    live_turns: 200,
    live_sessions: 10_000,
    live_minutes: 60.0,
    azure: 1000,
    upload: 1 << 30,
    kills: 500,
    cold_starts: 20,
    neighbours: 10_000,
    traced: 500,
};

pub const QUICK: Scale = Scale {
    name: "quick",
    pairs: 500,
    idle_pairs: 30,
    peer_rounds: 4,
    peer_block: 4,
    real_pairs: 3,
    clients: &[1, 8],
    load: Duration::from_millis(400),
    endurance: 4000,
    leaks: [20, 12, 4],
    live_turns: 5,
    live_sessions: 300,
    live_minutes: 2.0,
    azure: 20,
    upload: 64 << 20,
    kills: 40,
    cold_starts: 4,
    neighbours: 500,
    traced: 100,
};
