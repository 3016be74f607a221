//! A service that always gives the same recorded answer, and can go away.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use tempfile::TempDir;

pub struct Recorded {
    folder: TempDir,
    answer: Arc<Mutex<String>>,
}

impl Recorded {
    pub fn new(answer: &str) -> Recorded {
        let recorded = Recorded {
            folder: TempDir::new().unwrap(),
            answer: Arc::new(Mutex::new(answer.into())),
        };
        let listener = UnixListener::bind(recorded.socket()).unwrap();
        let answer = recorded.answer.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let head = BufReader::new(&connection).lines().map_while(Result::ok);
                let head: Vec<String> = head.take_while(|line| !line.is_empty()).collect();
                assert_eq!(head[0], "GET /v1/stats HTTP/1.1");
                let body = answer.lock().unwrap().clone();
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                // The client may be gone.
                let _ = connection.write_all(answer.as_bytes());
            }
        });
        recorded
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("http.sock")
    }

    /// From now on it gives another answer.
    pub fn says(&self, answer: &str) {
        *self.answer.lock().unwrap() = answer.into();
    }

    pub fn goes(&self) {
        fs::rename(self.socket(), self.folder.path().join("gone")).unwrap();
    }

    pub fn comes_back(&self) {
        fs::rename(self.folder.path().join("gone"), self.socket()).unwrap();
    }
}
