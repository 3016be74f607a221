//! Follows this program's own requests in the service's statistics, for the lines on the terminal.

use std::{cell::RefCell, collections::BTreeMap, future, time::Duration};

use uuid::Uuid;

use crate::{
    cli::Server,
    progress::{Display, Progress},
    stats::{self, Stats},
};

/// Time between two questions. Nobody sees the progress of a request that takes less.
const INTERVAL: Duration = Duration::from_secs(1);

/// The same after a question that had no answer, doubled for each further one.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// Longest wait for an answer. A late one would show what was.
const PATIENCE: Duration = Duration::from_secs(5);

/// The requests that are followed, by the names that they were given.
#[derive(Debug, Default)]
pub struct Watch {
    followed: RefCell<BTreeMap<String, Progress>>,
}

/// A request that is followed until this is dropped.
#[derive(Debug)]
pub struct Followed<'a> {
    watch: &'a Watch,
    /// The request's name, which only its own client sees.
    pub label: String,
}

impl Drop for Followed<'_> {
    fn drop(&mut self) {
        self.watch.followed.borrow_mut().remove(&self.label);
    }
}

impl Watch {
    /// Follows one request, whose progress is shown there.
    pub fn follow(&self, progress: &Progress) -> Followed<'_> {
        let label = Uuid::new_v4().to_string();
        let mut followed = self.followed.borrow_mut();
        followed.insert(label.clone(), progress.clone());
        Followed { watch: self, label }
    }

    /// Asks the service how far the requests are, once in a second, as long as it has any and
    /// somebody sees the display. A service that does not tell leaves the lines as they are. Never
    /// returns.
    pub async fn run(&self, server: &Server, display: &Display) {
        if !display.is_seen() {
            return future::pending().await;
        }
        let server = Server {
            timeout: Some(PATIENCE),
            ..server.clone()
        };
        let mut pause = INTERVAL;
        loop {
            tokio::time::sleep(pause).await;
            if !self.followed.borrow().values().any(Progress::is_sent) {
                continue;
            }
            let answer = stats::ask(&server, |_| ()).await;
            let stats = answer.and_then(|answer| Stats::parse(&answer));
            pause = match stats {
                Ok(stats) => {
                    self.show(&stats);
                    INTERVAL
                }
                Err(_) => (pause * 2).min(LONGEST_INTERVAL),
            };
        }
    }

    fn show(&self, stats: &Stats) {
        let followed = self.followed.borrow();
        for request in &stats.waiting {
            let progress = followed.get(request.client_request_id.as_ref());
            if let Some(progress) = progress.filter(|progress| progress.is_sent()) {
                progress.waits(request.place);
            }
        }
        for job in &stats.jobs {
            let progress = followed.get(job.client_request_id.as_ref());
            if let Some(progress) = progress.filter(|progress| progress.is_sent()) {
                let (heard, age) = (job.transcribed_seconds, job.age_seconds);
                progress.works(
                    heard.unwrap_or_default(),
                    job.total_seconds,
                    age.unwrap_or_default(),
                );
            }
        }
    }
}
