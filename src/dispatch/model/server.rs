//! The server of a model's requests, which is a zygote or a thread, and its start.

use std::sync::Arc;

use tokio::time::Instant;

use super::{thread::EngineThread, zygote::Zygote};
use crate::{
    config::{Mode, Model},
    dispatch::state::shared::Shared,
    events,
};

/// A zygote or a thread that serves a model's requests.
pub enum ModelServer {
    /// A zygote that forks a job for each request, or for several.
    Zygote(Box<Zygote>),
    /// A thread of the service.
    Thread(EngineThread),
}

/// Why a server serves no more.
pub enum ServerEnd {
    /// It is of no use any more; the reason.
    Lost(String),
    /// A fresh one takes its place, with these settings.
    Replaced(ModelServer, Arc<Model>),
    /// The model was removed from the configuration, and no request waits for it any more.
    Removed,
}

impl ModelServer {
    /// Start what serves `model`, and have it prove itself.
    ///
    /// # Errors
    /// It cannot be started, or does not work; the reason.
    pub async fn start(shared: &Arc<Shared>, model: Arc<Model>) -> Result<Self, String> {
        let begin = Instant::now();
        let name = &model.name;
        let server = match model.mode {
            Mode::Thread => {
                tracing::warn!(
                    target: events::MODE_THREAD,
                    model = name,
                    "model {name}: mode \"thread\": its engine runs inside the service, \
                     which it can leak into, crash and hang"
                );
                Self::Thread(EngineThread::start(&model).await?)
            }
            Mode::Process | Mode::Hybrid => {
                check_memory(shared, &model)?;
                Self::Zygote(Box::new(Zygote::start(shared, &model).await?))
            }
        };
        tracing::info!(
            target: events::MODEL_READY,
            model = name,
            pid = server.pid(),
            "model {name}: ready after {:.2} s",
            begin.elapsed().as_secs_f64()
        );
        Ok(server)
    }

    fn pid(&self) -> i32 {
        match self {
            Self::Zygote(zygote) => zygote.pid(),
            Self::Thread(_) => std::process::id().cast_signed(),
        }
    }
}

/// Check that one job of `model` fits into the memory that all jobs may have together.
fn check_memory(shared: &Shared, model: &Model) -> Result<(), String> {
    let limit = model.limits.memory;
    match shared.schedule().budget.bound {
        Some(bound) if bound < limit.bytes() => Err(format!(
            "one of its jobs may need {limit} (limits.memory), and all jobs together may have \
             {} MiB (memory.budget, or MemoryMax= of the unit): raise that or lower the limit",
            bound >> 20
        )),
        _ => Ok(()),
    }
}
