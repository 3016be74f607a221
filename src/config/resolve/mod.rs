//! Resolves the file as written to a configuration in which every value is possible.

mod model;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use self::model::General;
use super::{
    access,
    error::{ConfigError, Problem},
    file::File,
    found::{self, Found},
    identity::Numbers,
    resolved::{Config, Model},
    source::Source,
};
use crate::{names::valid_name, problems::Problems};

/// Check every rule, resolve every reference, and add the models that are in `directory`.
pub(super) fn resolve(
    mut file: File,
    source: &Source<'_>,
    directory: Option<&Path>,
) -> Result<Config, ConfigError> {
    let mut problems = Problems::default();
    file.jobs = file.jobs.on_this_machine();
    file.check(&mut problems);
    let clients = problems.within(&["clients"], |problems| {
        access::resolve(&file.clients, source.credentials(), problems)
    });
    let general = General {
        file: &file,
        source,
    };
    let mut models: Vec<Model> = file
        .models
        .iter()
        .map(|(name, table)| general.model(name, table, &mut problems))
        .collect();
    let (found, mut remarks) = match directory {
        Some(directory) => found(directory, &models, general, &mut problems),
        None => (Vec::new(), Vec::new()),
    };
    remarks.extend(clients.remarks(&Numbers::of_users(), &Numbers::of_groups()));
    let default_model = default_model(&file.default_model, &models, &found);
    models.extend(found);
    models.sort_by(|a, b| a.name.cmp(&b.name));
    if models.is_empty() {
        problems.add("models", "at least one model must be configured");
    }
    names(&mut models, &file.aliases, &mut problems);
    check_default(&default_model, &models, &mut problems);

    let warned = |model: &Model| {
        let remark = model.engine.remark()?;
        Some(format!("the model `{}`: {remark}", model.name))
    };
    remarks.extend(models.iter().filter_map(warned));

    let problems = placed(problems, source);
    if !problems.is_empty() {
        return Err(ConfigError::Invalid(problems));
    }
    Ok(Config {
        default_model,
        service: file.service,
        http: file.http,
        isolation: file.isolation,
        jobs: file.jobs,
        memory: file.memory,
        clients,
        zygote: file.zygote,
        health: file.health,
        breaker: file.breaker,
        models,
        pullable: BTreeSet::new(),
        remarks,
    })
}

/// The problems, each with its place. If several models have the same problem from a general table,
/// it is reported once.
fn placed(problems: Problems, source: &Source<'_>) -> Vec<Problem> {
    let mut all = Vec::new();
    for mistake in problems.into_mistakes() {
        let key: Vec<&str> = mistake.key.iter().map(String::as_str).collect();
        let problem = source.problem(&key, mistake.what);
        if !all.contains(&problem) {
            all.push(problem);
        }
    }
    all
}

/// The models in `directory` that are not among `configured`, and remarks about the other entries.
fn found(
    directory: &Path,
    configured: &[Model],
    general: General<'_>,
    problems: &mut Problems,
) -> (Vec<Model>, Vec<String>) {
    let names = configured
        .iter()
        .flat_map(|model| [&model.name].into_iter().chain(&model.aliases));
    let taken = names
        .chain(general.file.aliases.keys())
        .map(String::as_str)
        .collect();
    let used: Vec<PathBuf> = configured
        .iter()
        .flat_map(|model| model.engine.needs().reach.files)
        .collect();
    let Found {
        models: tables,
        mut remarks,
    } = found::look(directory, &taken, &used);
    let mut models = Vec::new();
    for (name, table) in tables {
        let mut own = Problems::default();
        let model = general.model(&name, &table, &mut own);
        let is_general = |table: &str| ["limits", "spares", "recycle"].contains(&table);
        let mut trouble = None;
        for mistake in own.into_mistakes() {
            match mistake.key.get(2) {
                Some(table) if is_general(table) => problems.take_over(mistake),
                // The administrator did not configure this model, so its mistake must not refuse
                // the configuration.
                _ => trouble = Some(mistake.what),
            }
        }
        match trouble {
            None => models.push(model),
            Some(what) => remarks.push(format!("the model `{name}` is not served: {what}")),
        }
    }
    (models, remarks)
}

/// The name of the default model. Configured models come first: if exactly one is configured,
/// models put into the directory do not change the default.
fn default_model(named: &str, configured: &[Model], found: &[Model]) -> String {
    match (named, configured, found) {
        ("", [only], _) | ("", [], [only]) => only.name.clone(),
        ("", ..) => "default".into(),
        (name, ..) => name.into(),
    }
}

fn check_default(name: &String, models: &[Model], problems: &mut Problems) {
    let is_it = |model: &Model| model.name == *name || model.aliases.contains(name);
    if !models.is_empty() && !models.iter().any(is_it) {
        let list: Vec<&str> = models.iter().map(|m| m.name.as_str()).collect();
        let what = format!(
            "there is no model `{name}`; configured: {}",
            list.join(", ")
        );
        problems.add("default_model", what);
    }
}

/// Give each model its aliases. Names and aliases share one namespace, so no two may be equal.
fn names(models: &mut [Model], aliases: &BTreeMap<String, String>, problems: &mut Problems) {
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
                problems.within(&["models", &model.name], |problems| {
                    problems.add("aliases", what);
                });
            }
        }
    }
    problems.within(&["aliases"], |problems| {
        for (alias, name) in aliases {
            match models.iter_mut().find(|model| model.name == *name) {
                Some(model) => {
                    if let Err(what) = take(alias, name) {
                        problems.add(alias, what);
                    }
                    model.aliases.push(alias.clone());
                }
                None => problems.add(alias, format!("there is no model `{name}`")),
            }
        }
    });
}
