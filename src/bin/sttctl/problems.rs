//! Lists the service's problems, the most urgent first.

use crate::stats::Stats;

/// One sentence for each model that cannot serve.
pub fn of_models(stats: &Stats) -> impl Iterator<Item = String> {
    let bad = stats.models.iter().filter(|(_, model)| !model.is_ready());
    bad.map(|(name, model)| {
        let health = &model.health;
        match &model.reason {
            Some(reason) => format!("model {name} is not ready ({health}): {reason}"),
            None => format!("model {name} is not ready ({health})"),
        }
    })
}

/// One sentence for each problem; empty if all is well.
pub fn of(stats: &Stats) -> Vec<String> {
    let mut problems = Vec::new();
    problems.extend(of_models(stats));
    if stats.models.is_empty() {
        problems.push("there is no model".into());
    }
    let queued = stats.total.queued;
    if let Some(most) = stats.bounds.max_queued
        && most > 0
        && queued >= most
    {
        problems.push(format!(
            "the queue is full ({queued} wait): further requests are refused"
        ));
    }
    let isolation = &stats.isolation;
    if isolation.confined == Some(false) && isolation.warnings.is_empty() {
        problems.push("jobs are not confined by cgroups".into());
    }
    problems.extend(isolation.warnings.iter().map(ToString::to_string));
    problems
}
