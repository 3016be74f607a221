//! From what is written to what is possible: every rule that types cannot say.

mod engine;
mod model;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use self::model::model;
use super::{
    access,
    error::ConfigError,
    found::{self, Found},
    identity::Numbers,
    limits::MIN_JOB_MEMORY,
    memory::MemoryBudget,
    names::valid_name,
    resolved::{Config, Model},
    rules::{MAX_TIME, bounded},
    schema::File,
    source::Source,
};

/// Shortest `service.idle_exit`.
const MIN_IDLE: Duration = Duration::from_secs(3);

/// Check every rule and resolve what refers to something else; add the models that are in `directory`.
pub(super) fn validate(
    file: File,
    source: &Source<'_>,
    directory: Option<&Path>,
) -> Result<Config, ConfigError> {
    let mut problems = Vec::new();
    let mut wrong = |key: &[&str], what: String| {
        let problem = source.problem(key, what);
        // Several models may have the same from a general table.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    };

    let mut jobs = file.jobs.clone();
    if jobs.max_running == 0 {
        jobs.max_running = std::thread::available_parallelism().map_or(1, usize::from);
    }
    if jobs.max_running > 1024 {
        wrong(
            &["jobs", "max_running"],
            "at most 1024 jobs can run at once".into(),
        );
    }
    if jobs.max_queued == 0 {
        let what = "must be at least 1: every request waits for a moment";
        wrong(&["jobs", "max_queued"], what.into());
    }
    bounded(jobs.queue_timeout, &["jobs", "queue_timeout"], &mut wrong);
    let clients = access::resolve(&file.clients, &mut wrong);
    let drain = file.service.drain_timeout;
    if drain > MAX_TIME {
        wrong(
            &["service", "drain_timeout"],
            "at most 30 days make sense".into(),
        );
    }
    let may_be_zero = [
        (file.service.idle_exit, ["service", "idle_exit"]),
        (file.health.interval, ["health", "interval"]),
        (file.breaker.pause, ["breaker", "pause"]),
    ];
    for (time, key) in may_be_zero {
        if time > MAX_TIME {
            wrong(&key, "at most 30 days make sense".into());
        }
    }
    let idle = file.service.idle_exit;
    if !idle.is_zero() && idle < MIN_IDLE {
        wrong(
            &["service", "idle_exit"],
            "must be 0 or at least 3 s: systemd gives a service up that starts five times within ten seconds".into(),
        );
    }
    bounded(file.breaker.within, &["breaker", "within"], &mut wrong);
    if file.breaker.crashes > 10_000 {
        wrong(
            &["breaker", "crashes"],
            "at most 10000 crashes are counted".into(),
        );
    }
    if let MemoryBudget::Size(budget) = file.memory.budget
        && budget < MIN_JOB_MEMORY
    {
        wrong(
            &["memory", "budget"],
            format!("one job needs at least {MIN_JOB_MEMORY}"),
        );
    }
    if file.http.max_upload.bytes() == 0 {
        wrong(&["http", "max_upload"], "must be more than 0".into());
    }
    if file.http.max_connections == 0 {
        wrong(&["http", "max_connections"], "must be at least 1".into());
    }
    bounded(
        file.http.header_timeout,
        &["http", "header_timeout"],
        &mut wrong,
    );
    bounded(
        file.http.body_timeout,
        &["http", "body_timeout"],
        &mut wrong,
    );
    bounded(
        file.zygote.load_timeout,
        &["zygote", "load_timeout"],
        &mut wrong,
    );
    bounded(
        file.zygote.max_backoff,
        &["zygote", "max_backoff"],
        &mut wrong,
    );
    let directories: [(_, &[&str]); 2] = [
        (&file.http.spool_directory, &["http", "spool_directory"]),
        (&file.models_directory, &["models_directory"]),
    ];
    for (directory, key) in directories {
        if !directory.as_os_str().is_empty() && !directory.is_dir() {
            wrong(key, format!("{} is not a folder", directory.display()));
        }
    }

    let mut models: Vec<Model> = file
        .models
        .iter()
        .map(|(name, table)| model(name, table, &file, jobs.max_running, source, &mut wrong))
        .collect();
    let (found, mut remarks) = match directory {
        Some(directory) => found(
            directory,
            &models,
            &file,
            jobs.max_running,
            source,
            &mut wrong,
        ),
        None => (Vec::new(), Vec::new()),
    };
    // What the file says comes first: a model that somebody puts into the directory changes no other's name.
    let default_model = match (file.default_model.as_str(), &models[..], &found[..]) {
        ("", [only], _) | ("", [], [only]) => only.name.clone(),
        ("", ..) => "default".into(),
        (name, ..) => name.into(),
    };
    remarks.extend(clients.remarks(&Numbers::of_users(), &Numbers::of_groups()));
    models.extend(found);
    models.sort_by(|a, b| a.name.cmp(&b.name));
    if models.is_empty() {
        wrong(&["models"], "at least one model must be configured".into());
    }
    names(&mut models, &file.aliases, &mut wrong);
    let known =
        |model: &Model| model.name == default_model || model.aliases.contains(&default_model);
    if !models.is_empty() && !models.iter().any(known) {
        let list: Vec<&str> = models.iter().map(|m| m.name.as_str()).collect();
        let what = format!(
            "there is no model `{default_model}`; configured: {}",
            list.join(", ")
        );
        wrong(&["default_model"], what);
    }

    if !problems.is_empty() {
        return Err(ConfigError::invalid(problems));
    }
    Ok(Config {
        default_model,
        service: file.service,
        http: file.http,
        isolation: file.isolation,
        jobs,
        memory: file.memory,
        clients,
        zygote: file.zygote,
        health: file.health,
        breaker: file.breaker,
        models,
        remarks,
    })
}

/// The models in `directory` that `configured` does not have already, and what is to be said of the others.
fn found(
    directory: &Path,
    configured: &[Model],
    file: &File,
    at_once: usize,
    source: &Source<'_>,
    wrong: &mut impl FnMut(&[&str], String),
) -> (Vec<Model>, Vec<String>) {
    let names = configured
        .iter()
        .flat_map(|model| [&model.name].into_iter().chain(&model.aliases));
    let taken = names
        .chain(file.aliases.keys())
        .map(String::as_str)
        .collect();
    let used: Vec<PathBuf> = configured
        .iter()
        .flat_map(|model| model.engine.files())
        .collect();
    let Found {
        models: tables,
        mut remarks,
    } = found::look(directory, &taken, &used);
    let mut models = Vec::new();
    for (name, table) in tables {
        let mut trouble = None;
        let model = model(
            &name,
            &table,
            file,
            at_once,
            source,
            &mut |key, what| match key {
                ["models", _, "limits" | "spares" | "recycle", ..] => wrong(key, what),
                // It is in nobody's configuration: no reason to refuse that.
                _ => trouble = Some(what),
            },
        );
        match trouble {
            None => models.push(model),
            Some(what) => remarks.push(format!("the model `{name}` is not served: {what}")),
        }
    }
    (models, remarks)
}

/// Give each model its further names. Names and aliases share one space: no two may be the same.
fn names(
    models: &mut [Model],
    aliases: &BTreeMap<String, String>,
    wrong: &mut impl FnMut(&[&str], String),
) {
    let mut owner: BTreeMap<String, String> = models
        .iter()
        .map(|m| (m.name.clone(), m.name.clone()))
        .collect();
    let mut take = |alias: &str, model: &str| {
        valid_name(alias)?;
        match owner.insert(alias.into(), model.into()) {
            Some(other) => Err(format!("`{alias}` already names model `{other}`")),
            None => Ok(()),
        }
    };
    for model in &*models {
        for alias in &model.aliases {
            if let Err(what) = take(alias, &model.name) {
                wrong(&["models", &model.name, "aliases"], what);
            }
        }
    }
    for (alias, name) in aliases {
        let key = ["aliases", alias];
        match models.iter_mut().find(|model| model.name == *name) {
            Some(model) => {
                if let Err(what) = take(alias, name) {
                    wrong(&key, what);
                }
                model.aliases.push(alias.clone());
            }
            None => wrong(&key, format!("there is no model `{name}`")),
        }
    }
}
