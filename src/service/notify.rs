//! Messages to systemd (sd_notify(3)): readiness, status line, watchdog, stop, reload.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use sd_notify::NotifyState;

use crate::dispatch::Counts;

/// systemd's socket holds ten messages by default (`net.unix.max_dgram_qlen`), and the sender of
/// one more waits until systemd reads. So a separate thread sends, and clients are served even
/// while systemd is busy.
struct Messenger {
    messages: mpsc::Sender<Message>,
    /// Number of messages that were not sent yet.
    pending: Arc<AtomicUsize>,
}

enum Message {
    Send(String),
    /// Answers once all earlier messages were sent.
    Sent(mpsc::Sender<()>),
}

/// Number of messages that may wait. Above it, a message is dropped if the next one of its kind
/// replaces it.
const MOST_PENDING: usize = 8;

/// Longest time for which the last messages may delay the end of the service.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// The messenger; `None` without systemd.
fn messenger() -> Option<&'static Messenger> {
    static MESSENGER: OnceLock<Option<Messenger>> = OnceLock::new();
    let messenger = MESSENGER.get_or_init(|| {
        std::env::var_os("NOTIFY_SOCKET")?;
        let (sender, messages) = mpsc::channel();
        let pending = Arc::new(AtomicUsize::new(0));
        let sent = pending.clone();
        let thread = std::thread::Builder::new().name("notify".into());
        let started = thread.spawn(move || {
            for message in messages {
                match message {
                    Message::Send(text) => send(&text),
                    Message::Sent(reply) => drop(reply.send(())),
                }
                sent.fetch_sub(1, Ordering::Relaxed);
            }
        });
        if let Err(error) = started {
            tracing::warn!("systemd cannot be told anything: {error}");
        }
        Some(Messenger {
            messages: sender,
            pending,
        })
    });
    messenger.as_ref()
}

impl Messenger {
    fn give(&self, message: Message) {
        self.pending.fetch_add(1, Ordering::Relaxed);
        // An error means that the thread could not be started, which was logged.
        let _ = self.messages.send(message);
    }
}

fn send(text: &str) {
    if let Err(error) = sd_notify::notify(&[NotifyState::Custom(text)])
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!("systemd cannot be told: {error}");
    }
}

/// Tell systemd something; without systemd, do nothing.
fn tell(states: &[NotifyState<'_>]) {
    if let Some(messenger) = messenger() {
        let lines: Vec<String> = states.iter().map(NotifyState::to_string).collect();
        messenger.give(Message::Send(lines.join("\n")));
    }
}

/// Tell systemd something that is soon repeated. Skipped while too many messages wait.
fn mention(states: &[NotifyState<'_>]) {
    let busy = |m: &Messenger| m.pending.load(Ordering::Relaxed) >= MOST_PENDING;
    if !messenger().is_some_and(busy) {
        tell(states);
    }
}

/// Wait until all messages were sent. The last step before the end.
pub(super) fn finish() {
    if let Some(messenger) = messenger() {
        let (reply, told) = mpsc::channel();
        messenger.give(Message::Sent(reply));
        let _ = told.recv_timeout(LAST_MESSAGES);
    }
}

/// The service is ready for clients.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again, which takes at most `within`; [`ready`] ends it.
pub(super) fn reloading(within: Duration) {
    let mut states = vec![NotifyState::Reloading, extend(within)];
    states.extend(NotifyState::monotonic_usec_now());
    tell(&states);
}

/// No new clients are accepted.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The service is still stopping: it ends, or repeats this message, `within` this time.
pub(super) fn still_stopping(text: &str, within: Duration) {
    mention(&[NotifyState::Status(text), extend(within)]);
}

fn extend(within: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(within.as_micros()).unwrap_or(u32::MAX))
}

/// Set the line that `systemctl status` shows.
pub(super) fn status(text: &str) {
    mention(&[NotifyState::Status(text)]);
}

/// Show the current numbers in the status line.
pub(super) fn numbers(counts: Counts) {
    let Counts {
        running,
        queued,
        spares,
        finished,
    } = counts;
    status(&format!(
        "{running} running, {queued} waiting, {spares} spares ready, {finished} requests served"
    ));
}

/// Time without a ping after which the watchdog acts.
pub(super) fn watchdog_limit() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Ping the watchdog once.
pub(super) fn watchdog() {
    mention(&[NotifyState::Watchdog]);
}
