//! The engine on a thread of the service itself (mode `thread`): for comparison, and nothing is confined.

use std::{
    fs::File,
    ops::ControlFlow,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    Health, Shared, lifecycle, pool,
    queue::Waiting,
    spare::SpareHandle,
    ticket::{Event, Report},
};
use crate::{
    config::EngineSettings,
    engine,
    isolation::{Failure, Figures, Outcome, Usage},
    job,
    transcript::Segment,
};

/// A request on its way to the thread, and the place for its answer.
struct Order {
    waiting: Box<Waiting>,
    limit: Duration,
    answer: oneshot::Sender<(Box<Waiting>, Result<Figures, Failure>)>,
}

/// Load model `index` into the service and let it serve one request after the other.
pub(super) async fn keep(shared: Arc<Shared>, index: usize) {
    let settings = shared.model(index).engine.clone();
    let (orders, receiver) = mpsc::channel();
    let (loaded, is_loaded) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("engine".into())
        .spawn(move || work(&settings, loaded, &receiver));
    let reason = match (thread, is_loaded.await) {
        (Ok(_), Ok(Ok(()))) => match self_test(&shared, index, &orders).await {
            Ok(()) => {
                shared.set_health(index, Health::Ready);
                return serve(&shared, index, &orders).await;
            }
            Err(reason) => reason,
        },
        (Ok(_), Ok(Err(reason))) => reason,
        (Ok(_), Err(_)) => "the engine's thread ended".into(),
        (Err(error), _) => error.to_string(),
    };
    let name = &shared.model(index).name;
    tracing::error!(model = name, "model {name}: it cannot be loaded: {reason}");
    shared.set_health(index, Health::Failed(reason));
}

async fn self_test(
    shared: &Shared,
    index: usize,
    orders: &mpsc::Sender<Order>,
) -> Result<(), String> {
    let (waiting, mut events) = pool::self_test_request(index, shared.model(index).limits)?;
    let waiting = Box::new(waiting);
    let drain = tokio::spawn(async move { while events.recv().await.is_some() {} });
    // The request comes back with its answer; the drain ends when it is let go.
    let result = transcribe(shared, orders, waiting).await;
    let result = result.map(|(_, result)| result);
    let _ = drain.await;
    match result {
        Some(Ok(_)) => Ok(()),
        Some(Err(failure)) => Err(failure.message),
        None => Err("the engine's thread ended".into()),
    }
}

async fn transcribe(
    shared: &Shared,
    orders: &mpsc::Sender<Order>,
    waiting: Box<Waiting>,
) -> Option<(Box<Waiting>, Result<Figures, Failure>)> {
    let (answer, receiver) = oneshot::channel();
    let limit = shared.model(waiting.model).limits.max_audio;
    let order = Order {
        waiting,
        limit,
        answer,
    };
    orders.send(order).ok()?;
    receiver.await.ok()
}

async fn serve(shared: &Arc<Shared>, index: usize, orders: &mpsc::Sender<Order>) {
    loop {
        let (handle, request) = SpareHandle::new(0);
        shared.state().models[index].spares.push(handle);
        shared.pump();
        let Ok(waiting) = request.await else {
            return;
        };
        let start = Instant::now();
        let queued = start - waiting.since;
        let _ = waiting.events.send(Event::Started).await;
        let Some((waiting, result)) = transcribe(shared, orders, waiting).await else {
            shared.set_health(index, Health::Failed("the engine's thread ended".into()));
            return;
        };
        let (outcome, figures) = match result {
            _ if waiting.events.is_closed() => (Outcome::Cancelled, Figures::default()),
            Ok(figures) => (Outcome::Ok, figures),
            Err(failure) => (Outcome::of_failure(failure), Figures::default()),
        };
        let report = Report {
            outcome,
            usage: Usage::default(),
            figures,
            pid: std::process::id().cast_signed(),
            queued,
            wall: start.elapsed(),
        };
        lifecycle::log(shared, index, &waiting, &report, 0);
        let _ = waiting.events.send(Event::Finished(Box::new(report))).await;
        shared.finished(start.elapsed());
    }
}

/// The thread: load once, then work off the orders.
fn work(
    settings: &EngineSettings,
    loaded: oneshot::Sender<Result<(), String>>,
    orders: &mpsc::Receiver<Order>,
) {
    let mut engine = match engine::load(settings) {
        Ok(engine) => {
            let _ = loaded.send(Ok(()));
            engine
        }
        Err(error) => {
            let _ = loaded.send(Err(error.to_string()));
            return;
        }
    };
    while let Ok(Order {
        waiting,
        limit,
        answer,
    }) = orders.recv()
    {
        let mut request = waiting.job.clone();
        request.max_audio = limit;
        let result = match waiting.recording.try_clone() {
            Ok(recording) => {
                let mut report = ToClient(&waiting);
                job::transcribe(
                    engine.as_mut(),
                    &request,
                    File::from(recording),
                    &mut report,
                )
            }
            Err(error) => Err(Failure {
                kind: crate::isolation::FailureKind::Engine,
                message: format!("the recording cannot be opened: {error}"),
            }),
        };
        let _ = answer.send((waiting, result));
    }
}

/// Sends events straight to the client.
struct ToClient<'a>(&'a Waiting);

impl job::Report for ToClient<'_> {
    fn progress(&mut self, _: Duration) -> ControlFlow<()> {
        if self.0.events.is_closed() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn segment(&mut self, segment: Segment) -> ControlFlow<()> {
        match self.0.events.blocking_send(Event::Segment(segment)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
