//! The life of the service from configuration to exit.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    confinement::{self, Confinement},
    error::ServeError,
    log,
    network::Network,
    notify,
    pressure::Pressure,
    privileges,
    reload::{Load, Reload},
    signals::{Signals, Wish},
    sockets::Sockets,
    stop,
    watchdog::Watchdog,
};
use crate::{
    api::{App, Connections, Sessions, http, vosk, wyoming},
    config::Config,
    detector::Detector,
    dispatch::{Dispatcher, Health},
    events,
    isolation::{Probe, heap},
};

/// Interval at which the status line is renewed, if its numbers have changed.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);

/// Delay after which an idle service with work of its own checks again whether it is idle.
const IDLE_AGAIN: Duration = Duration::from_millis(500);

/// Run until a signal ends the service or it is idle for long enough. Call this while the process
/// has one thread. `load` reads the configuration again for a reload. Root is refused without
/// `allow_root`.
///
/// # Errors
/// The service cannot start; a signal is not an error.
pub fn serve(config: Config, load: &Load<'_>, allow_root: bool) -> Result<(), ServeError> {
    privileges::give_up(allow_root)?;
    privileges::open_more_files()?;
    heap::keep_little();
    let level = log::start(config.service.log_level);
    // One thread runs everything: zygotes must be made by a thread that never ends, and nothing
    // here computes.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(run(config, load, level));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn run(config: Config, load: &Load<'_>, level: log::Level) -> Result<(), ServeError> {
    config
        .remarks
        .iter()
        .for_each(|remark| tracing::warn!("{remark}"));
    let config = Arc::new(config);
    // Do this first, so that no signal has its default effect.
    let mut signals = Signals::catch()?;
    let sockets = Sockets::take()?;
    let network = Network::of(&sockets);
    network.tell(&config, None);
    let confinement = Confinement::take(&config)?;
    let tree = confinement.tree();
    let probe = Probe::run(tree.as_deref())?;
    tracing::info!("{probe}");
    let detector = Detector::new(tree.clone());
    let dispatcher = Dispatcher::start(config.clone(), tree, probe);
    let connections = Connections::new(config.http.max_connections);
    let (stop, stopping) = watch::channel(false);
    let app = App {
        dispatcher: dispatcher.clone(),
        connections: connections.clone(),
        sessions: Sessions::default(),
        detector,
    };
    let router = http::router(app.clone());
    let mut servers = JoinSet::new();
    // Accept clients while models still load: their requests wait in the queue and are not refused.
    for listener in sockets.http {
        let (app, router) = (app.clone(), router.clone());
        let serving = http::serve(listener, app, router, stopping.clone());
        servers.spawn(serving);
    }
    for listener in sockets.wyoming {
        servers.spawn(wyoming::serve(listener, app.clone(), stopping.clone()));
    }
    for listener in sockets.vosk {
        servers.spawn(vosk::serve(listener, app.clone(), stopping.clone()));
    }
    let reload = Reload {
        load,
        level,
        dispatcher: dispatcher.clone(),
        connections: connections.clone(),
        network,
        confinement,
        under_way: None,
    };
    notify::status("loading models");
    let mut watchdog = Watchdog::from_environment();
    until_told_to_stop(reload, &mut signals, &mut watchdog).await?;
    stop::drain(
        &dispatcher,
        &stop,
        &mut servers,
        &mut signals,
        &mut watchdog,
    )
    .await;
    notify::finish();
    Ok(())
}

/// Handle everything that happens between start and stop, except the clients.
async fn until_told_to_stop(
    mut reload: Reload<'_>,
    signals: &mut Signals,
    watchdog: &mut Watchdog,
) -> Result<(), ServeError> {
    let dispatcher = reload.dispatcher.clone();
    let connections = reload.connections.clone();
    let mut pressure = Pressure::from_environment();
    let mut health = dispatcher.health_changes();
    let mut status = interval(STATUS_INTERVAL);
    status.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Time when the service became ready.
    let mut ready = None;
    let mut last = None;
    // Numbers of finished requests and closed connections when the heap was last given back.
    let mut given_back = (0, 0);
    let mut idle_since = Instant::now();
    loop {
        let idle_exit = dispatcher.config().service.idle_exit;
        let mut reloaded = false;
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::Stop => {
                    tracing::info!(
                        target: events::SERVICE_STOPPING,
                        "stopping: requests at hand are finished, no new ones taken"
                    );
                    return Ok(());
                }
                Wish::Reload => reload.begin(ready.is_some()),
            },
            // Never an error, because the dispatcher owns the sender.
            _ = health.changed() => {
                if ready.is_none() && all_tried(&dispatcher)? {
                    idle_since = Instant::now();
                    ready = Some(idle_since);
                    let isolation = confinement::describe(&dispatcher.config(), &reload.confinement);
                    tracing::info!(
                        target: events::SERVICE_READY,
                        isolation,
                        confined = dispatcher.is_confined(),
                        "ready; isolation by {isolation}"
                    );
                    notify::ready();
                }
                reloaded = reload.look();
            }
            () = reload.overdue() => reloaded = reload.look(),
            () = connections.quiet_for(idle_exit, idle_since), if ready.is_some() && !idle_exit.is_zero() => {
                if dispatcher.is_idle() && reload.under_way.is_none() {
                    tracing::info!(
                        target: events::SERVICE_STOPPING,
                        "stopping: nobody was connected for {idle_exit:?} (service.idle_exit)"
                    );
                    return Ok(());
                }
                // The work is a model's self-test or a reload.
                idle_since = Instant::now() + IDLE_AGAIN - idle_exit;
            }
            () = pressure.told() => {
                dispatcher.relieve();
                pressure.log();
            }
            () = watchdog.due() => watchdog.ping(&dispatcher),
            _ = status.tick(), if ready.is_some() && reload.under_way.is_none() => {
                let counts = dispatcher.counts();
                let done = (counts.finished, connections.closed());
                if last.replace(counts) != Some(counts) {
                    notify::numbers(counts);
                } else if given_back != done && dispatcher.is_idle() {
                    given_back = done;
                    heap::give_back();
                }
            }
        }
        if reloaded && ready.is_some() {
            notify::ready();
            last = None;
        }
    }
}

/// True if every model has had its self-test, or failed before it.
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
