//! The life of the service from configuration to exit.

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{error::ServeError, log, notify, privileges, sockets::Sockets};
use crate::{
    api::{
        Connections,
        http::{self, App},
    },
    config::{Config, Mode},
    dispatch::{Dispatcher, Health},
    isolation::{Probe, cgroup::Tree},
};

/// How often the status line is renewed, if its numbers changed.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);

/// What an answer in flight may still need after its job is done, on top of `service.drain_timeout`.
const LAST_BYTES: Duration = Duration::from_secs(5);

/// Run until a signal ends it. Must be called while the process has one thread. Root is refused without `allow_root`.
///
/// # Errors
/// The service cannot start; a signal is no error.
pub fn serve(config: Config, allow_root: bool) -> Result<(), ServeError> {
    privileges::give_up(allow_root)?;
    log::start(config.service.log_level);
    // One thread runs everything: zygotes must be made by a thread that lives for ever, and nothing here computes.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(run(config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn run(config: Config) -> Result<(), ServeError> {
    let config = Arc::new(config);
    // First of all, so that no signal finds its default action.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let sockets = Sockets::take()?;
    let tree = confinement(&config)?;
    let probe = Probe::run(tree.as_deref())?;
    tracing::info!("{probe}");
    let dispatcher = Dispatcher::start(config.clone(), tree, probe);
    let (stop, stopping) = watch::channel(false);
    let connections = Connections::new(config.http.max_connections);
    let app = App {
        dispatcher: dispatcher.clone(),
        spool_directory: Arc::new(spool_directory(&config)),
        connections: connections.clone(),
    };
    let router = http::router(app);
    let drain = config.service.drain_timeout + LAST_BYTES;
    let mut servers = JoinSet::new();
    // Clients are heard while models still load: their requests wait in the queue instead of being turned away.
    for listener in sockets.http {
        let serving = http::serve(
            listener,
            router.clone(),
            dispatcher.clone(),
            config.http.clone(),
            connections.clone(),
            stopping.clone(),
            drain,
        );
        servers.spawn(serving);
    }
    notify::status("loading models");
    let mut started = false;
    let mut health = dispatcher.health_changes();
    let mut status = interval(STATUS_INTERVAL);
    status.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watchdog = interval(notify::watchdog_interval().unwrap_or(Duration::from_secs(3600)));
    watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                notify::reloading();
                tracing::warn!("the configuration is read only at the start; restart the service to apply changes");
                notify::ready();
            }
            _ = health.changed(), if !started => {
                started = all_tried(&dispatcher)?;
                if started {
                    let mode = config.isolation.mode.name();
                    let confined = if dispatcher.is_confined() { "each confined by a cgroup" } else { "UNCONFINED" };
                    tracing::info!(mode, confined = dispatcher.is_confined(), "ready; isolation by {mode}, {confined}");
                    notify::ready();
                }
            }
            _ = watchdog.tick() => notify::watchdog(),
            _ = status.tick(), if started => {
                let counts = dispatcher.counts();
                if last.replace(counts) != Some(counts) {
                    notify::numbers(counts);
                }
            }
        }
    }
    tracing::info!("stopping: requests at hand are finished, no new ones taken");
    notify::stopping(drain);
    dispatcher.close();
    stop.send_replace(true);
    let finish = async { while servers.join_next().await.is_some() {} };
    if timeout(drain, finish).await.is_err() {
        tracing::warn!("some requests did not end in time; their jobs are killed");
    }
    notify::finish();
    Ok(())
}

/// The cgroup tree for the jobs, or the decision to do without.
fn confinement(config: &Config) -> Result<Option<Arc<Tree>>, ServeError> {
    if config.isolation.mode == Mode::Thread {
        tracing::warn!(
            "isolation.mode = \"thread\": the engine runs inside the service, which it can leak into, crash and hang; \
             for comparison only"
        );
        return Ok(None);
    }
    match Tree::take_over() {
        Ok(tree) => Ok(Some(Arc::new(tree))),
        Err(error) if config.isolation.require_cgroup => Err(error.into()),
        Err(error) => {
            tracing::warn!(
                "jobs run WITHOUT memory limits (isolation.require_cgroup = false): {error}"
            );
            Ok(None)
        }
    }
}

/// Whether every model has had its self-test, or failed before it.
fn all_tried(dispatcher: &Dispatcher) -> Result<bool, ServeError> {
    let health = dispatcher.health();
    if health.iter().any(|(_, health)| *health == Health::Starting) {
        return Ok(false);
    }
    let failures: Vec<String> = health
        .iter()
        .filter_map(|(name, health)| match health {
            Health::Failed(reason) => Some(format!("{name}: {reason}")),
            _ => None,
        })
        .collect();
    if failures.len() == health.len() {
        return Err(ServeError::NoModel(failures.join("\n")));
    }
    Ok(true)
}

fn spool_directory(config: &Config) -> PathBuf {
    if !config.http.spool_directory.as_os_str().is_empty() {
        return config.http.spool_directory.clone();
    }
    // systemd.exec(5): the folders of CacheDirectory=, separated by colons.
    let cache = env::var_os("CACHE_DIRECTORY").and_then(|value| env::split_paths(&value).next());
    cache.unwrap_or_else(env::temp_dir)
}
