//! The cgroup tree for the jobs: taken over at the start, done without, or refused.

use std::sync::Arc;

use super::error::ServeError;
use crate::{
    config::{Config, Mode},
    events,
    isolation::cgroup::Tree,
};

/// What became of the cgroup tree. It can be taken over only at the start, before anything else runs.
#[derive(Clone, Debug)]
pub(super) enum Confinement {
    /// Jobs are confined by it.
    Tree(Arc<Tree>),
    /// There is none, and the configuration allowed that.
    None,
    /// No model needed one.
    NotTried,
}

impl Confinement {
    /// What `config` wants, as far as it can be had.
    pub(super) fn take(config: &Config) -> Result<Self, ServeError> {
        if with_processes(config).next().is_none() {
            return Ok(Self::NotTried);
        }
        match Tree::take_over() {
            Ok(tree) => Ok(Self::Tree(Arc::new(tree))),
            Err(error) if config.isolation.require_cgroup => Err(error.into()),
            Err(error) => {
                tracing::warn!(
                    target: events::UNCONFINED,
                    "jobs run WITHOUT memory limits (isolation.require_cgroup = false): {error}"
                );
                Ok(Self::None)
            }
        }
    }

    pub(super) fn tree(&self) -> Option<Arc<Tree>> {
        match self {
            Self::Tree(tree) => Some(tree.clone()),
            Self::None | Self::NotTried => None,
        }
    }

    /// Why `config` cannot be brought into force while the service runs, if it cannot.
    pub(super) fn objection(&self, config: &Config) -> Option<String> {
        let name = with_processes(config).next()?;
        match self {
            Self::Tree(_) => None,
            Self::None if config.isolation.require_cgroup => Some(
                "isolation.require_cgroup: the service was started without memory limits for its jobs; restart it \
                 to have them"
                    .into(),
            ),
            Self::None => None,
            Self::NotTried => Some(format!(
                "models.{name}: it is to run in processes, and the service was started with threads only; restart it \
                 to have its jobs confined"
            )),
        }
    }
}

/// The models that run in processes.
fn with_processes(config: &Config) -> impl Iterator<Item = &str> {
    let models = config.models.iter();
    models
        .filter(|model| model.mode != Mode::Thread)
        .map(|model| model.name.as_str())
}

/// What the models' requests are isolated by, in words.
pub(super) fn describe(config: &Config, confinement: &Confinement) -> String {
    let confined = match confinement {
        Confinement::Tree(_) => ", each confined by a cgroup",
        Confinement::None | Confinement::NotTried => ", UNCONFINED",
    };
    let modes = [Mode::Process, Mode::Hybrid, Mode::Thread];
    let parts: Vec<String> = modes
        .into_iter()
        .filter_map(|mode| {
            let models = config.models.iter().filter(|model| model.mode == mode);
            let names: Vec<&str> = models.map(|model| model.name.as_str()).collect();
            let confined = match mode {
                Mode::Process | Mode::Hybrid => confined,
                Mode::Thread => ", UNCONFINED",
            };
            match names.len() {
                0 => None,
                all if all == config.models.len() => Some(format!("{}{confined}", mode.name())),
                _ => Some(format!("{}{confined} ({})", mode.name(), names.join(", "))),
            }
        })
        .collect();
    parts.join("; ")
}
