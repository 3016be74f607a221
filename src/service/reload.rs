//! SIGHUP: applies another configuration without a restart and without losing a request.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{confinement::Confinement, log, network::Network, notify};
use crate::{
    api::Connections,
    config::{Config, ConfigError},
    dispatch::{Dispatcher, Health},
    events,
};

/// Time that a reload may take in addition to the loading time of a model (`zygote.load_timeout`).
/// A failed start is cleaned up within it.
const GRACE: Duration = Duration::from_secs(10);

/// Reads the configuration from the same place as at the start.
pub type Load<'a> = dyn Fn() -> Result<Config, ConfigError> + 'a;

/// Everything that a new configuration changes.
pub(super) struct Reload<'a> {
    pub(super) load: &'a Load<'a>,
    pub(super) level: log::Level,
    pub(super) dispatcher: Dispatcher,
    pub(super) connections: Connections,
    pub(super) network: Network,
    pub(super) confinement: Confinement,
    /// The current reload, while its models are still loading.
    pub(super) under_way: Option<UnderWay>,
}

/// A reload that is not finished.
pub(super) struct UnderWay {
    begin: Instant,
    /// Time by which it is finished in any case.
    end: Instant,
    changes: Changes,
}

/// Names of the models that a new configuration affects.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

impl Reload<'_> {
    /// Read the configuration and apply it, or keep the old one and log the reason. [`Self::look`]
    /// tells when the reload is over; this function may be called again before that. `ready` is
    /// true if systemd was told that the service is ready.
    pub(super) fn begin(&mut self, ready: bool) {
        let config = match (self.load)() {
            Ok(config) => config,
            Err(error) => {
                let lines = error.to_string();
                return self.refuse(ready, lines.lines());
            }
        };
        if let Some(objection) = self.confinement.objection(&config) {
            return self.refuse(ready, [objection.as_str()].into_iter());
        }
        let within = config.zygote.load_timeout + GRACE;
        if ready {
            notify::reloading(within);
            notify::status("reloading the configuration");
        }
        let old = self.dispatcher.config();
        let changes = Changes::between(&old, &config);
        // Do not repeat earlier remarks.
        let new = config
            .remarks
            .iter()
            .filter(|remark| !old.remarks.contains(remark));
        new.for_each(|remark| tracing::warn!("{remark}"));
        self.network.tell(&config, Some(&old));
        self.level.set(config.service.log_level);
        self.connections.set_most(config.http.max_connections);
        tracing::info!("reload: the new configuration is right and taken over");
        let begin = Instant::now();
        self.under_way = Some(UnderWay {
            begin,
            end: begin + within,
            changes,
        });
        self.dispatcher.reconfigure(Arc::new(config));
    }

    fn refuse<'a>(&self, ready: bool, reasons: impl Iterator<Item = &'a str>) {
        for reason in reasons {
            tracing::error!("reload: {reason}");
        }
        tracing::error!(
            target: events::RELOAD_REFUSED,
            "reload: the new configuration is refused, the old one stays in force"
        );
        // An earlier reload may still be running; its end is reported later.
        if ready && self.under_way.is_none() {
            notify::reloading(GRACE);
            notify::status("reload refused, the old configuration stays in force: see the log");
            notify::ready();
        }
    }

    /// Wait until a reload has taken as long as it may; forever if there is none.
    pub(super) async fn overdue(&self) {
        match &self.under_way {
            Some(reload) => tokio::time::sleep_until(reload.end).await,
            None => std::future::pending().await,
        }
    }

    /// True if a reload is over; its result is then logged.
    pub(super) fn look(&mut self) -> bool {
        let settled = self.dispatcher.is_settled();
        let over = |reload: &mut UnderWay| settled || Instant::now() >= reload.end;
        let Some(reload) = self.under_way.take_if(over) else {
            return false;
        };
        let config = self.dispatcher.config();
        let mut troubles: Vec<String> = self
            .dispatcher
            .rejected()
            .into_iter()
            .map(|(name, reason)| format!("{name} goes on with its old settings: {reason}"))
            .collect();
        for (name, health) in self.dispatcher.health() {
            match health {
                Health::Ready | Health::Tripped(_) => {}
                Health::Starting => troubles.push(format!("{name} is still loading")),
                Health::Failed(reason) => troubles.push(format!("{name} cannot serve: {reason}")),
            }
        }
        if !settled {
            let limit = config.zygote.load_timeout;
            troubles.push(format!("not all is done yet, after more than {limit:?}"));
        }
        let seconds = reload.begin.elapsed().as_secs_f64();
        let changes = reload.changes;
        if troubles.is_empty() {
            tracing::info!(
                target: events::SERVICE_RELOADED,
                "reload: done after {seconds:.2} s; {changes}"
            );
        } else {
            let troubles = troubles.join("; ");
            tracing::warn!(
                target: events::SERVICE_RELOADED,
                "reload: done after {seconds:.2} s; {changes}; BUT {troubles}"
            );
        }
        true
    }
}

impl Changes {
    fn between(old: &Config, new: &Config) -> Self {
        let mut changes = Self::default();
        for model in &new.models {
            match old.models.iter().find(|old| old.name == model.name) {
                None => changes.added.push(model.name.clone()),
                Some(old) if old != model => changes.changed.push(model.name.clone()),
                Some(_) => {}
            }
        }
        let gone = |old: &&crate::config::Model| !new.models.iter().any(|m| m.name == old.name);
        let removed = old.models.iter().filter(gone);
        changes.removed = removed.map(|model| model.name.clone()).collect();
        changes
    }
}

impl std::fmt::Display for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = [
            ("added", &self.added),
            ("changed", &self.changed),
            ("removed", &self.removed),
        ];
        let parts: Vec<String> = kinds
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect();
        if parts.is_empty() {
            return f.write_str("the models are as they were");
        }
        write!(f, "models {}", parts.join("; "))
    }
}
