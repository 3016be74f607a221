//! The engine on a thread of the service itself (mode `thread`): for comparison, and unconfined.

use std::{
    fs::File,
    ops::ControlFlow,
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    config::Model,
    dispatch::{
        request::events::RequestEvent,
        state::{accepted::Accepted, pool_id::PoolId},
    },
    engine::EngineSettings,
    job::{self, wire::Order},
    request::{Code, Failure, Figures},
    transcript::{Hypothesis, Segment},
};

/// Why a thread serves no more: only a panic ends it, and that ends the service.
pub const GONE: &str = "the engine's thread ended";

/// A request on its way to the thread, and the place for its answer.
struct ThreadOrder {
    request: Arc<Accepted>,
    max_audio: Duration,
    answer: oneshot::Sender<Result<Figures, Failure>>,
}

/// A thread that has loaded a model. It ends when this is dropped, after the request at hand.
pub struct EngineThread {
    orders: mpsc::Sender<ThreadOrder>,
}

impl EngineThread {
    /// Load `model` into the service, on a thread of its own, and have it prove itself.
    ///
    /// # Errors
    /// The model cannot be loaded, or its self-test fails; the reason.
    pub async fn start(model: &Model) -> Result<Self, String> {
        let settings = model.engine.clone();
        let (orders, receiver) = mpsc::channel();
        let (loaded, is_loaded) = oneshot::channel();
        std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || work(&settings, loaded, &receiver))
            .map_err(|error| error.to_string())?;
        is_loaded.await.unwrap_or_else(|_| Err(GONE.into()))?;
        let thread = Self { orders };
        let test = thread.self_test(model).await;
        test.map_err(|reason| format!("the self-test failed: {reason}"))?;
        Ok(thread)
    }

    /// Transcribe one request. `None`: the thread is gone.
    pub async fn transcribe(
        &self,
        request: Arc<Accepted>,
        model: &Model,
    ) -> Option<Result<Figures, Failure>> {
        let (answer, receiver) = oneshot::channel();
        let order = ThreadOrder {
            request,
            max_audio: model.limits.max_audio,
            answer,
        };
        self.orders.send(order).ok()?;
        receiver.await.ok()
    }

    async fn self_test(&self, model: &Model) -> Result<(), String> {
        let (request, mut events) = Accepted::self_test(PoolId::NONE, model.limits)?;
        let drain = tokio::spawn(async move { while events.recv().await.is_some() {} });
        // The drain ends when the request is let go.
        let result = self.transcribe(Arc::new(request), model).await;
        let _ = drain.await;
        match result {
            Some(Ok(_)) => Ok(()),
            Some(Err(failure)) => Err(failure.message),
            None => Err(GONE.into()),
        }
    }
}

/// The thread itself: load once, then serve the orders.
fn work(
    settings: &EngineSettings,
    loaded: oneshot::Sender<Result<(), String>>,
    orders: &mpsc::Receiver<ThreadOrder>,
) {
    let mut model = match settings.load(None) {
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
        request,
        max_audio,
        answer,
    }) = orders.recv()
    {
        let order = Order {
            id: request.id,
            max_audio,
            ask: request.ask.clone(),
        };
        let result = match request.recording.try_clone() {
            Ok(recording) => {
                let recording = Arc::new(File::from(recording));
                let mut report = ToClient(request.as_ref());
                job::transcribe(&mut model, &order, recording, &mut report, &mut None)
            }
            Err(error) => Err(Failure::new(
                Code::EngineFailed,
                format!("the recording cannot be opened: {error}"),
            )),
        };
        // Before the answer: a self-test waits until its request is let go.
        drop(request);
        let _ = answer.send(result);
    }
}

/// Sends events straight to the client.
struct ToClient<'a>(&'a Accepted);

impl job::Report for ToClient<'_> {
    fn progress(&mut self, audio: Duration) -> ControlFlow<()> {
        self.0.account.progress().read(audio);
        if self.is_wanted() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    fn heard(&mut self, audio: Duration, total: Option<Duration>) -> ControlFlow<()> {
        self.0.account.progress().heard(audio, total);
        ControlFlow::Continue(())
    }

    fn channels(&mut self, channels: &[u16]) -> ControlFlow<()> {
        self.tell(RequestEvent::Channels(channels.to_vec()))
    }

    fn segment(&mut self, segment: Segment) -> ControlFlow<()> {
        self.tell(RequestEvent::Segment(segment))
    }

    fn hypothesis(&mut self, hypothesis: Hypothesis) -> ControlFlow<()> {
        // Another guess comes soon, and nobody waits for a client that does not read.
        if hypothesis.committed.is_empty() {
            let _ = self.0.events.try_send(RequestEvent::Hypothesis(hypothesis));
            return ControlFlow::Continue(());
        }
        self.tell(RequestEvent::Hypothesis(hypothesis))
    }

    fn is_wanted(&self) -> bool {
        !self.0.events.is_closed()
    }
}

impl ToClient<'_> {
    fn tell(&self, event: RequestEvent) -> ControlFlow<()> {
        match self.0.events.blocking_send(event) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
