//! Decides at the start about the cgroup tree for the jobs: use it, do without it, or refuse to
//! start.

use std::sync::Arc;

use super::error::ServeError;
use crate::{
    config::{Config, Mode},
    events,
    isolation::cgroup::Tree,
};

/// State of the cgroup tree. The tree can be taken over only at the start, before anything else
/// runs.
#[derive(Clone, Debug)]
pub(super) enum Confinement {
    /// The tree confines the jobs.
    Tree(Arc<Tree>),
    /// Jobs run without a tree, as the configuration allows.
    None,
    /// No model needed a tree.
    NotTried,
}

impl Confinement {
    /// Take over the tree if `config` needs it; without a tree, fail if `config` requires one.
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

    /// The reason why `config` cannot be applied while the service runs, if there is one.
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

/// Names of the models that run in processes.
fn with_processes(config: &Config) -> impl Iterator<Item = &str> {
    let models = config.models.iter();
    models
        .filter(|model| model.mode != Mode::Thread)
        .map(|model| model.name.as_str())
}

/// One phrase on how the models' requests are isolated.
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
