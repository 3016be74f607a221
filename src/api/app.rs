//! State that every request can use, in all protocols.

use super::{Connections, Sessions};
use crate::{
    detector::Detector,
    dispatch::{Dispatcher, snapshot::Connected},
};

/// The service, as the API sees it.
#[derive(Clone, Debug)]
pub struct App {
    /// Queues requests and runs their jobs.
    pub dispatcher: Dispatcher,
    /// Counts the connections of clients.
    pub connections: Connections,
    /// Counts realtime sessions.
    pub sessions: Sessions,
    /// Tells when somebody speaks in a session.
    pub detector: Detector,
}

impl App {
    /// The clients that are connected now.
    pub fn connected(&self) -> Connected {
        Connected {
            connections: self.connections.count(),
            sessions: self.sessions.counts(),
        }
    }
}
