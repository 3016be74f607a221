//! The supervisor's side: one task holds the detector's process and passes samples and judgements.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::wire::{Detecting, FromDetector, MAX_SAMPLES, ToDetector};
use crate::{
    audio::{Judgement, LiveFormat, Rule},
    isolation::{
        Servant,
        cgroup::{LeafLimits, Tree},
        sandbox::system_call_name,
        servant::Duty,
    },
    units::ByteSize,
};

/// Subcommand of this binary that is the detector.
const COMMAND: &str = "detector";

/// Memory of the detector: 40 times what 500 streams need.
const MEMORY: ByteSize = ByteSize::mib(512);

/// Threads and processes in the detector's cgroup: it needs one.
const PIDS: u32 = 4;

/// Messages with samples that the detector has not answered. So many fit into its socket.
const MOST_UNANSWERED: usize = 6;

/// Orders of streams that can wait for the task. Then the streams wait.
const MOST_ORDERS: usize = 64;

/// How long the detector may take to answer samples, which take it milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the detector is kept when no stream is left.
const KEPT: Duration = Duration::from_secs(30);

/// A way to the detector, which runs while there are streams. Clones share it.
#[derive(Clone, Debug)]
pub struct Detector {
    orders: mpsc::Sender<Order>,
}

/// News for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The samples that were given are judged.
    Heard(Judgement),
    /// The detector is lost, and with it all that it knew of this stream. Samples that were given
    /// last are not judged.
    Lost,
}

/// One stream of samples. Dropping it ends the stream.
#[derive(Debug)]
pub struct Detection {
    orders: mpsc::Sender<Order>,
    news: mpsc::Receiver<News>,
    to_news: mpsc::Sender<News>,
    stream: Option<u32>,
    is_waiting: bool,
}

#[derive(Debug)]
enum Order {
    Open {
        format: LiveFormat,
        rule: Rule,
        news: mpsc::Sender<News>,
        number: tokio::sync::oneshot::Sender<u32>,
    },
    Samples(u32, Bytes),
    Judge(u32, Rule),
    Close(u32),
}

impl Detector {
    /// A detector that is not started yet; its process will be in the cgroup `tree`. Call this in
    /// the runtime, on the thread that runs the service for its whole life.
    pub fn new(tree: Option<Arc<Tree>>) -> Self {
        let (orders, receiver) = mpsc::channel(MOST_ORDERS);
        let hub = Hub {
            tree,
            servant: None,
            streams: HashMap::new(),
            next: 0,
            unanswered: 0,
            changed: Instant::now(),
        };
        tokio::spawn(hub.run(receiver));
        Self { orders }
    }

    /// Begin a stream. `None` if the service is ending.
    pub async fn listen(&self, format: LiveFormat, rule: Rule) -> Option<Detection> {
        let (to_news, news) = mpsc::channel(2);
        let mut detection = Detection {
            orders: self.orders.clone(),
            news,
            to_news,
            stream: None,
            is_waiting: false,
        };
        detection.again(format, rule).await.then_some(detection)
    }
}

impl Detection {
    /// Begin the stream anew, as after [`News::Lost`]: the next sample is its first. Returns false
    /// if the service is ending.
    pub async fn again(&mut self, format: LiveFormat, rule: Rule) -> bool {
        self.close();
        // News of the stream as it was.
        while self.news.try_recv().is_ok() {}
        self.is_waiting = false;
        let (number, given) = tokio::sync::oneshot::channel();
        let order = Order::Open {
            format,
            rule,
            news: self.to_news.clone(),
            number,
        };
        let _ = self.orders.send(order).await;
        self.stream = given.await.ok();
        self.stream.is_some()
    }

    /// The most bytes that [`Self::give`] takes; 0 while the last ones are not judged.
    #[must_use]
    pub fn room(&self) -> usize {
        match self.is_waiting {
            true => 0,
            false => MAX_SAMPLES,
        }
    }

    /// Give the next samples, no more bytes than there is [`Self::room`] for.
    pub async fn give(&mut self, bytes: Bytes) {
        if let Some(stream) = self.stream {
            self.is_waiting = true;
            let _ = self.orders.send(Order::Samples(stream, bytes)).await;
        }
    }

    /// Judge the next samples by `rule`.
    pub async fn judge(&mut self, rule: Rule) {
        if let Some(stream) = self.stream {
            let _ = self.orders.send(Order::Judge(stream, rule)).await;
        }
    }

    /// The next news. Cancel-safe.
    pub async fn next(&mut self) -> News {
        // Never `None`: a sender is kept here.
        let news = self.news.recv().await.unwrap_or(News::Lost);
        self.is_waiting = false;
        news
    }

    fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            let order = Order::Close(stream);
            if let Err(mpsc::error::TrySendError::Full(order)) = self.orders.try_send(order) {
                let orders = self.orders.clone();
                tokio::spawn(async move { orders.send(order).await });
            }
        }
    }
}

impl Drop for Detection {
    fn drop(&mut self) {
        self.close();
    }
}

type Process = Servant<<Detecting as Duty>::Order, <Detecting as Duty>::Answer>;

/// The task that holds the process.
struct Hub {
    tree: Option<Arc<Tree>>,
    servant: Option<Process>,
    streams: HashMap<u32, Stream>,
    /// Number of the next stream.
    next: u32,
    /// Messages with samples that are not answered.
    unanswered: usize,
    /// Time of the last answer, or when samples were given to an idle detector.
    changed: Instant,
}

struct Stream {
    news: mpsc::Sender<News>,
    is_waiting: bool,
}

impl Hub {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let due = match (self.unanswered, self.streams.is_empty()) {
                (0, true) => self.servant.is_some().then(|| self.changed + KEPT),
                (0, false) => None,
                _ => Some(self.changed + PATIENCE),
            };
            let heard = async {
                match &self.servant {
                    Some(servant) => servant.receive().await.map_err(|error| error.to_string()),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                heard = heard => match heard {
                    Ok(answer) => self.take(answer).await,
                    Err(reason) => self.lose(&reason).await,
                },
                order = orders.recv(), if self.unanswered < MOST_UNANSWERED => match order {
                    Some(order) => self.obey(order).await,
                    // Nobody can listen any more.
                    None => return,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if self.unanswered > 0 {
                        self.lose("it did not answer").await;
                    } else if let Some(servant) = self.servant.take() {
                        servant.end().await;
                    }
                }
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        let message = match order {
            Order::Open {
                format,
                rule,
                news,
                number,
            } => {
                let stream = self.next;
                self.next = self.next.wrapping_add(1);
                if number.send(stream).is_err() {
                    return;
                }
                self.streams.insert(
                    stream,
                    Stream {
                        news,
                        is_waiting: false,
                    },
                );
                if let Err(error) = self.start() {
                    return self.lose(&format!("it cannot be started: {error}")).await;
                }
                ToDetector::Open {
                    stream,
                    format,
                    rule,
                }
            }
            Order::Samples(stream, bytes) => {
                // A stream that was lost meanwhile has been told.
                let Some(one) = self.streams.get_mut(&stream) else {
                    return;
                };
                one.is_waiting = true;
                if self.unanswered == 0 {
                    self.changed = Instant::now();
                }
                self.unanswered += 1;
                ToDetector::Samples {
                    stream,
                    bytes: bytes.into(),
                }
            }
            Order::Judge(stream, rule) => ToDetector::Judge { stream, rule },
            Order::Close(stream) => {
                if self.streams.remove(&stream).is_none() {
                    return;
                }
                self.changed = Instant::now();
                ToDetector::Close { stream }
            }
        };
        if let Some(servant) = &self.servant
            && let Err(error) = servant.send(&message)
        {
            self.lose(&error.to_string()).await;
        }
    }

    /// Start the process, if it does not run.
    fn start(&mut self) -> io::Result<()> {
        if self.servant.is_some() {
            return Ok(());
        }
        let leaf = match &self.tree {
            Some(tree) => {
                let leaf = tree.leaf("servant-detector");
                let mut leaf = leaf.map_err(io::Error::other)?;
                leaf.confine(LeafLimits {
                    memory: Some(MEMORY.bytes()),
                    pids: PIDS,
                    cpu_weight: 100,
                    cpu_quota: None,
                })
                .map_err(io::Error::other)?;
                Some(leaf)
            }
            None => None,
        };
        self.servant = Some(Servant::start(COMMAND, leaf.as_ref())?);
        Ok(())
    }

    /// Check an answer, and pass it on.
    async fn take(&mut self, answer: FromDetector) {
        let (stream, judgement) = match answer {
            FromDetector::Heard { stream, judgement } => (stream, judgement),
            FromDetector::Violation { call } => {
                let name = system_call_name(call).unwrap_or("that has no name");
                let reason = format!("it made the forbidden system call {name}");
                return self.lose(&reason).await;
            }
        };
        self.changed = Instant::now();
        self.unanswered = match self.unanswered.checked_sub(1) {
            Some(rest) => rest,
            None => return self.lose("it answered without being asked").await,
        };
        // The stream may have been closed meanwhile.
        if let Some(one) = self.streams.get_mut(&stream)
            && std::mem::take(&mut one.is_waiting)
        {
            // There is room: a stream has one question at a time.
            let _ = one.news.try_send(News::Heard(judgement));
        }
    }

    /// The process is of no use any more. Every stream is told.
    async fn lose(&mut self, reason: &str) {
        let how = match self.servant.take() {
            Some(servant) => servant.end().await,
            None => "it did not run".into(),
        };
        tracing::error!("the detector of speech is lost ({reason}): {how}");
        self.unanswered = 0;
        for (_, stream) in self.streams.drain() {
            let _ = stream.news.try_send(News::Lost);
        }
    }
}
