//! What every request can reach, whatever protocol it came by.

use std::{path::PathBuf, sync::Arc};

use super::Connections;
use crate::{config::Config, dispatch::Dispatcher};

/// The service, as the clients' side sees it.
#[derive(Clone, Debug)]
pub struct App {
    /// Runs the transcriptions.
    pub dispatcher: Dispatcher,
    /// Folder of the unlinked files that large uploads become, where the configuration names none.
    pub spool_directory: Arc<PathBuf>,
    /// The clients' connections.
    pub connections: Connections,
}

impl App {
    /// Folder of the unlinked files by this configuration.
    pub(super) fn spool_directory<'a>(&'a self, config: &'a Config) -> &'a std::path::Path {
        match config.http.spool_directory.as_os_str().is_empty() {
            true => &self.spool_directory,
            false => &config.http.spool_directory,
        }
    }
}
