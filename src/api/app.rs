//! State that every request can use, in all protocols.

use std::{path::PathBuf, sync::Arc};

use super::Connections;
use crate::{config::Config, dispatch::Dispatcher};

/// The service, as the API sees it.
#[derive(Clone, Debug)]
pub struct App {
    /// Queues requests and runs their jobs.
    pub dispatcher: Dispatcher,
    /// Folder for the unlinked files of large uploads, if the configuration names none.
    pub spool_directory: Arc<PathBuf>,
    /// Counts the connections of clients.
    pub connections: Connections,
}

impl App {
    /// Folder for unlinked files under this configuration.
    pub(super) fn spool_directory<'a>(&'a self, config: &'a Config) -> &'a std::path::Path {
        if config.http.spool_directory.as_os_str().is_empty() {
            &self.spool_directory
        } else {
            &config.http.spool_directory
        }
    }
}
