//! State that every request can use, in all protocols.

use super::Connections;
use crate::dispatch::Dispatcher;

/// The service, as the API sees it.
#[derive(Clone, Debug)]
pub struct App {
    /// Queues requests and runs their jobs.
    pub dispatcher: Dispatcher,
    /// Counts the connections of clients.
    pub connections: Connections,
}
