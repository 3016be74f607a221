//! The service manager's end of sd_notify.

use std::{io::ErrorKind, os::unix::net::UnixDatagram};

use tempfile::TempDir;

use super::{LONG, daemon::Setup, try_wait_for};

/// The service manager's end.
pub struct Manager {
    socket: UnixDatagram,
    pub folder: TempDir,
    /// All that was said, line by line.
    pub heard: Vec<String>,
}

impl Manager {
    pub fn new() -> Manager {
        let folder = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Manager {
            socket,
            folder,
            heard: Vec::new(),
        }
    }

    pub fn setup(&self, config: &str) -> Setup {
        let path = self.folder.path().join("notify");
        Setup::new(config).env("NOTIFY_SOCKET", path.to_str().unwrap())
    }

    /// Takes what has come.
    pub fn listen(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let text = std::str::from_utf8(&buffer[..length]).unwrap();
                    self.heard.extend(text.lines().map(String::from));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until a line begins so, and gives its rest.
    #[track_caller]
    pub fn wait(&mut self, beginning: &str) -> String {
        let found = try_wait_for(LONG, || {
            self.listen();
            self.heard
                .iter()
                .find_map(|line| line.strip_prefix(beginning).map(String::from))
        });
        found.unwrap_or_else(|| panic!("no {beginning} in {:#?}", self.heard))
    }

    pub fn count(&mut self, line: &str) -> usize {
        self.listen();
        self.heard.iter().filter(|heard| *heard == line).count()
    }
}
