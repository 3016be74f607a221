//! The engine on a thread of the service itself (mode `thread`): for comparison, and nothing is confined.

use std::{
    fs::File,
    ops::ControlFlow,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{
    config::Model,
    dispatch::{
        PoolId, Shared,
        model::keeper::End,
        model::renewal::{Look, Renewal},
        model::zygote::self_test_request,
        state::accepted::Waiting,
        state::idle::SpareHandle,
        state::ticket::{Event, Report},
        statistics::Worker,
    },
    engine::EngineSettings,
    isolation::Usage,
    job::{self, wire::Order},
    request::{Code, Failure, Figures, Outcome},
    transcript::Segment,
};

/// Why a thread serves no more: only a panic ends it, and that ends the service.
const GONE: &str = "the engine's thread ended";

/// A request on its way to the thread, and the place for its answer.
struct ThreadOrder {
    waiting: Arc<Waiting>,
    limit: Duration,
    answer: oneshot::Sender<Result<Figures, Failure>>,
}

/// A thread that has loaded a model. It ends when this is dropped, after the request at hand.
pub(in crate::dispatch) struct EngineThread {
    orders: mpsc::Sender<ThreadOrder>,
}

/// Load `model` into the service, on a thread of its own, and have it prove itself.
pub(in crate::dispatch) async fn start(model: &Model) -> Result<EngineThread, String> {
    let settings = model.engine.clone();
    let (orders, receiver) = mpsc::channel();
    let (loaded, is_loaded) = oneshot::channel();
    std::thread::Builder::new()
        .name("engine".into())
        .spawn(move || work(&settings, loaded, &receiver))
        .map_err(|error| error.to_string())?;
    is_loaded.await.unwrap_or_else(|_| Err(GONE.into()))?;
    let thread = EngineThread { orders };
    let test = thread.self_test(model).await;
    test.map_err(|reason| format!("the self-test failed: {reason}"))?;
    Ok(thread)
}

impl EngineThread {
    async fn self_test(&self, model: &Model) -> Result<(), String> {
        let (waiting, mut events) = self_test_request(PoolId(0), model.limits)?;
        let drain = tokio::spawn(async move { while events.recv().await.is_some() {} });
        // The drain ends when the request is let go.
        let result = self.transcribe(Arc::new(waiting), model).await;
        let _ = drain.await;
        match result {
            Some(Ok(_)) => Ok(()),
            Some(Err(failure)) => Err(failure.message),
            None => Err(GONE.into()),
        }
    }

    async fn transcribe(
        &self,
        waiting: Arc<Waiting>,
        model: &Model,
    ) -> Option<Result<Figures, Failure>> {
        let (answer, receiver) = oneshot::channel();
        let order = ThreadOrder {
            waiting,
            limit: model.limits.max_audio,
            answer,
        };
        self.orders.send(order).ok()?;
        receiver.await.ok()
    }
}

/// Serve one request of model `id` after the other.
pub(in crate::dispatch) async fn serve(
    shared: &Arc<Shared>,
    id: PoolId,
    mut model: Arc<Model>,
    thread: &EngineThread,
) -> End {
    let wake = shared.wake(id);
    let mut renewal = Renewal::new(shared);
    loop {
        let (handle, mut request) = SpareHandle::new(0);
        shared.ready(id, handle);
        shared.pump();
        let waiting = loop {
            match renewal.look(id, &model) {
                Look::GoOn => {}
                Look::Settings(settings) => {
                    model = settings;
                    shared.adopt(id, &model);
                }
                Look::End(end) => {
                    shared.withdraw(id, 0);
                    request.close();
                    if let Ok(waiting) = request.try_recv() {
                        shared.give_back(waiting);
                    }
                    return end;
                }
            }
            tokio::select! {
                biased;
                waiting = &mut request => break waiting,
                () = wake.notified() => {}
            }
        };
        // Without one: memory pressure or other settings let the spare go.
        let Ok(waiting) = waiting else { continue };
        if !transcribe(shared, &model, thread, waiting).await {
            return End::Lost(GONE.into());
        }
    }
}

/// Serve one request; whether the thread is still there.
async fn transcribe(
    shared: &Arc<Shared>,
    model: &Model,
    thread: &EngineThread,
    waiting: Box<Waiting>,
) -> bool {
    let start = Instant::now();
    let queued = start - waiting.since;
    waiting.account.begin(Worker::thread());
    let waiting: Arc<Waiting> = waiting.into();
    let _ = waiting.events.send(Event::Started).await;
    let result = tokio::select! {
        biased;
        result = thread.transcribe(waiting.clone(), model) => match result {
            Some(result) => Some(result),
            None => return false,
        },
        // Nobody can end the engine's work but the end of the process, which comes as soon as all are answered.
        () = shared.aborted() => None,
    };
    let (outcome, figures) = match result {
        None => (Outcome::Stopped, Figures::default()),
        Some(_) if waiting.events.is_closed() => (Outcome::Cancelled, Figures::default()),
        Some(Ok(figures)) => (Outcome::Ok, figures),
        Some(Err(failure)) => (Outcome::Failed(failure), Figures::default()),
    };
    let report = Report {
        outcome: outcome.clone(),
        usage: Usage::default(),
        figures,
        pid: std::process::id().cast_signed(),
        queued,
        wall: start.elapsed(),
    };
    waiting.account.finish(&report);
    let _ = waiting.events.send(Event::Finished(Box::new(report))).await;
    shared.finished(&waiting, &outcome, start.elapsed());
    true
}

/// The thread: load once, then work off the orders.
fn work(
    settings: &EngineSettings,
    loaded: oneshot::Sender<Result<(), String>>,
    orders: &mpsc::Receiver<ThreadOrder>,
) {
    let mut loaded_model = match settings.load(None) {
        Ok(model) => {
            let _ = loaded.send(Ok(()));
            model
        }
        Err(error) => {
            let _ = loaded.send(Err(error.to_string()));
            return;
        }
    };
    while let Ok(ThreadOrder {
        waiting,
        limit,
        answer,
    }) = orders.recv()
    {
        let order = Order {
            id: waiting.id,
            max_audio: limit,
            ask: waiting.ask.clone(),
        };
        let result = match waiting.recording.try_clone() {
            Ok(recording) => {
                let mut report = ToClient(waiting.as_ref());
                job::transcribe(
                    &mut loaded_model,
                    &order,
                    Arc::new(File::from(recording)),
                    &mut report,
                )
            }
            Err(error) => Err(Failure::new(
                Code::EngineFailed,
                format!("the recording cannot be opened: {error}"),
            )),
        };
        // Before the answer: a self-test waits until its request is let go.
        drop(waiting);
        let _ = answer.send(result);
    }
}

/// Sends events straight to the client.
struct ToClient<'a>(&'a Waiting);

impl job::Report for ToClient<'_> {
    fn progress(&mut self, audio: Duration) -> ControlFlow<()> {
        self.0.account.progress().heard(audio);
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

    fn is_wanted(&self) -> bool {
        !self.0.events.is_closed()
    }
}
