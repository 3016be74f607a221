//! Counts and limits connected clients, and knows how long there has been none.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};

/// The connections of all listening sockets together. Clones share them.
///
/// A quarter of the places is for Unix sockets alone: who connects over TCP may be anybody, and
/// must not shut out the users of this machine.
#[derive(Clone, Debug)]
pub struct Connections {
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Largest number of places.
    most: usize,
    /// Places in use: one for each connection, and one that each listener holds for its next
    /// client.
    taken: usize,
    /// Those of them that are in use over TCP.
    over_tcp: usize,
    /// Number of open connections, without the places held for next clients.
    open: usize,
    /// Number of connections that were closed.
    closed: u64,
    /// Time when the last connection was closed, or the service started.
    quiet_since: Instant,
}

/// A connection's place. It is taken before the connection is accepted and freed when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Connections,
    over_tcp: bool,
    open: bool,
}

impl State {
    /// Take a place, if there is one for such a client.
    fn take(&mut self, over_tcp: bool) -> bool {
        let free =
            self.taken < self.most && (!over_tcp || self.over_tcp < most_over_tcp(self.most));
        if free {
            self.taken += 1;
            self.over_tcp += usize::from(over_tcp);
        }
        free
    }
}

/// Largest number of places over TCP, of `most` in all.
fn most_over_tcp(most: usize) -> usize {
    (most - most.div_ceil(4)).max(1)
}

impl Connections {
    /// Allow at most `most` connections at once.
    pub fn new(most: usize) -> Self {
        let state = State {
            most,
            taken: 0,
            over_tcp: 0,
            open: 0,
            closed: 0,
            quiet_since: Instant::now(),
        };
        Self {
            state: Arc::new(watch::channel(state).0),
        }
    }

    /// Allow at most `most` connections from now on. Surplus connections stay.
    pub fn set_most(&self, most: usize) {
        self.state.send_modify(|state| state.most = most);
    }

    /// Number of open connections, without the places held for next clients.
    pub fn count(&self) -> usize {
        self.state.borrow().open
    }

    /// Number of connections that were closed since the start.
    pub fn closed(&self) -> u64 {
        self.state.borrow().closed
    }

    /// Wait until no client has been connected for `time`, ignoring the time before `begin`. `time`
    /// is read again whenever a connection opens or closes.
    pub async fn quiet_for(&self, time: std::time::Duration, begin: Instant) {
        let mut changes = self.state.subscribe();
        loop {
            let state = *changes.borrow_and_update();
            let due = async {
                match state.open {
                    0 => tokio::time::sleep_until(state.quiet_since.max(begin) + time).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => return,
                // Never an error, because `self` owns the sender.
                _ = changes.changed() => {}
            }
        }
    }

    /// Wait for a free place, and take it.
    pub(super) async fn place(&self, over_tcp: bool) -> Place {
        let mut changes = self.state.subscribe();
        loop {
            if self.state.send_if_modified(|state| state.take(over_tcp)) {
                return Place {
                    connections: self.clone(),
                    over_tcp,
                    open: false,
                };
            }
            changes.mark_unchanged();
            let _ = changes.changed().await;
        }
    }
}

impl Place {
    /// Count the place as a client's connection.
    pub(super) fn occupy(&mut self) {
        self.open = true;
        self.connections.state.send_modify(|state| state.open += 1);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.state.send_modify(|state| {
            state.taken -= 1;
            state.over_tcp -= usize::from(self.over_tcp);
            if self.open {
                state.open -= 1;
                state.closed += 1;
                state.quiet_since = Instant::now();
            }
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(test);
    }

    const MOMENT: Duration = Duration::from_millis(20);

    #[test]
    fn the_bound_holds_grows_and_shrinks() {
        run(async {
            let connections = Connections::new(2);
            let first = connections.place(false).await;
            let _second = connections.place(false).await;
            let third = connections.place(false);
            tokio::pin!(third);
            assert!(tokio::time::timeout(MOMENT, &mut third).await.is_err());
            connections.set_most(3);
            let third = third.await;
            connections.set_most(2);
            drop(first);
            let fourth = connections.place(false);
            tokio::pin!(fourth);
            assert!(tokio::time::timeout(MOMENT, &mut fourth).await.is_err());
            drop(third);
            fourth.await;
        });
    }

    #[test]
    fn a_quarter_is_for_unix_sockets_alone() {
        for (most, over_tcp) in [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3), (8, 6), (512, 384)] {
            assert_eq!(most_over_tcp(most), over_tcp, "{most}");
        }
        run(async {
            let connections = Connections::new(4);
            let mut strangers = Vec::new();
            for _ in 0..3 {
                strangers.push(connections.place(true).await);
            }
            let one_more = connections.place(true);
            tokio::pin!(one_more);
            assert!(tokio::time::timeout(MOMENT, &mut one_more).await.is_err());
            let own = connections.place(false).await;
            drop(own);
            strangers.pop();
            strangers.push(one_more.await);
            // Of what is not reserved, Unix sockets may use all.
            strangers.clear();
            for _ in 0..4 {
                strangers.push(connections.place(false).await);
            }
            let late = tokio::time::timeout(MOMENT, connections.place(true));
            assert!(late.await.is_err());
        });
    }

    #[test]
    fn it_is_quiet_only_without_connections() {
        run(async {
            let connections = Connections::new(2);
            let begin = Instant::now();
            // A place that a listener keeps for its next client does not count as a client.
            let mut place = connections.place(false).await;
            assert_eq!(connections.count(), 0);
            connections.quiet_for(MOMENT, begin).await;
            place.occupy();
            let quiet = connections.quiet_for(MOMENT, begin);
            tokio::pin!(quiet);
            assert!(tokio::time::timeout(3 * MOMENT, &mut quiet).await.is_err());
            let closed = Instant::now();
            drop(place);
            quiet.await;
            assert!(closed.elapsed() >= MOMENT);
        });
    }
}
