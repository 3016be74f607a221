//! From what is written to what is possible: every rule that types cannot say.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

#[cfg(feature = "whisper")]
use super::whisper::WhisperSettings;
use super::{
    AzureSettings, Config, ConfigError, Model, access, exec,
    found::{self, Found},
    model::{EngineKind, EngineSettings, Limits, Mode, ModelTable, PocketsphinxSettings},
    schema::File,
    source::Source,
    stamp::Stamp,
    units::{ByteSize, Lifetime, MemoryBudget},
    vosk::VoskSettings,
};

/// Longest model name; it becomes part of a cgroup's name and of log lines.
const MAX_NAME: usize = 64;

/// A job needs this much for its own stacks, heap and decoder before it has heard a word.
pub const MIN_JOB_MEMORY: ByteSize = ByteSize::mib(16);

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
    let (found, remarks) = match directory {
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

/// Shortest `service.idle_exit`.
const MIN_IDLE: Duration = Duration::from_secs(3);

/// Longest time that any key may have: far beyond any use, and far below what a clock can count.
const MAX_TIME: Duration = Duration::from_secs(30 * 24 * 3600);

fn bounded(time: Duration, key: &[&str], wrong: &mut impl FnMut(&[&str], String)) {
    if time.is_zero() {
        wrong(key, "must be more than 0".into());
    } else if time > MAX_TIME {
        wrong(key, "at most 30 days make sense".into());
    }
}

fn model(
    name: &str,
    table: &ModelTable,
    file: &File,
    at_once: usize,
    source: &Source<'_>,
    wrong: &mut impl FnMut(&[&str], String),
) -> Model {
    let limits = table.limits.over(file.limits);
    let spares = table.spares.over(file.spares);
    let recycle = table.recycle.over(file.recycle);
    let mode = match (source.process_isolation(), table.mode) {
        // The switch is for the whole service.
        (Some(false), _) => Mode::Thread,
        (Some(true), Some(Mode::Thread)) => Mode::Process,
        (_, own) => own.unwrap_or(file.isolation.mode),
    };
    let mut wrong = |key: &[&str], what: String| {
        let path: Vec<&str> = ["models", name].iter().chain(key).copied().collect();
        wrong(&path, what);
    };
    if let Err(what) = valid_name(name) {
        wrong(&[], what);
    }
    if limits.memory < MIN_JOB_MEMORY {
        wrong(
            &["limits", "memory"],
            format!("a job needs at least {MIN_JOB_MEMORY}"),
        );
    }
    if let MemoryBudget::Size(budget) = file.memory.budget
        && limits.memory > budget
        && mode != Mode::Thread
    {
        let what = format!("{} is more than memory.budget, {budget}", limits.memory);
        wrong(&["limits", "memory"], what);
    }
    if limits.pids == 0 {
        wrong(&["limits", "pids"], "must be at least 1".into());
    }
    bounded(limits.max_audio, &["limits", "max_audio"], &mut wrong);
    bounded(limits.deadline, &["limits", "deadline"], &mut wrong);
    bounded(limits.cpu_time, &["limits", "cpu_time"], &mut wrong);
    bounded(limits.stall, &["limits", "stall"], &mut wrong);
    let factors = [
        (
            "deadline_per_audio_second",
            limits.deadline_per_audio_second,
        ),
        (
            "cpu_time_per_audio_second",
            limits.cpu_time_per_audio_second,
        ),
        ("cpus", limits.cpus),
    ];
    for (key, factor) in factors {
        if !(0.0..=1000.0).contains(&factor) {
            wrong(&["limits", key], "must be between 0 and 1000".into());
        }
    }
    // Below a hundredth the kernel's period of 100 ms leaves less than the 1 ms that it accepts.
    if limits.cpus > 0.0 && limits.cpus < 0.01 {
        wrong(&["limits", "cpus"], "must be 0 or at least 0.01".into());
    }
    if !(1..=10_000).contains(&limits.cpu_weight) {
        wrong(
            &["limits", "cpu_weight"],
            "must be between 1 and 10000".into(),
        );
    }
    if spares.min > spares.max {
        let what = format!(
            "spares.min is {}, spares.max is {}: min cannot be above max",
            spares.min, spares.max
        );
        wrong(&["spares", "min"], what);
    }
    if spares.max > 256 {
        wrong(&["spares", "max"], "at most 256 spares can wait".into());
    }
    if spares.refill_delay > MAX_TIME {
        let what = "at most 30 days make sense".into();
        wrong(&["spares", "refill_delay"], what);
    }
    if let Lifetime::Limited(ttl) = spares.ttl {
        bounded(ttl, &["spares", "ttl"], &mut wrong);
    }
    if recycle.max_requests == 0 {
        wrong(&["recycle", "max_requests"], "must be at least 1".into());
    }
    bounded(recycle.max_age, &["recycle", "max_age"], &mut wrong);
    let engine = engine(
        table,
        mode,
        &limits,
        at_once,
        source.credentials(),
        &mut wrong,
    );
    Model {
        name: name.into(),
        aliases: table.aliases.clone(),
        mode,
        files: engine.files().iter().map(|file| Stamp::of(file)).collect(),
        engine,
        limits,
        spares,
        recycle,
    }
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

#[cfg_attr(not(feature = "whisper"), allow(unused_variables))]
fn engine(
    table: &ModelTable,
    mode: Mode,
    limits: &Limits,
    at_once: usize,
    credentials: Option<&Path>,
    wrong: &mut impl FnMut(&[&str], String),
) -> EngineSettings {
    let tables = [
        (
            "pocketsphinx",
            table.pocketsphinx.is_some(),
            EngineKind::Pocketsphinx,
        ),
        ("vosk", table.vosk.is_some(), EngineKind::Vosk),
        ("exec", table.exec.is_some(), EngineKind::Exec),
        #[cfg(feature = "whisper")]
        ("whisper", table.whisper.is_some(), EngineKind::Whisper),
        ("azure", table.azure.is_some(), EngineKind::Azure),
        #[cfg(feature = "fault-engine")]
        ("fault", table.fault.is_some(), EngineKind::Fault),
    ];
    for (name, is_there, engine) in tables {
        if is_there && table.engine != engine {
            let what = format!("this table is for engine = \"{name}\" only");
            wrong(&[name], what);
        }
    }
    match table.engine {
        EngineKind::Pocketsphinx => {
            let settings = table.pocketsphinx.clone().unwrap_or_default();
            pocketsphinx(&settings, wrong);
            EngineSettings::Pocketsphinx(settings)
        }
        EngineKind::Vosk => {
            let settings = table.vosk.clone().unwrap_or_default();
            vosk(&settings, wrong);
            EngineSettings::Vosk(settings)
        }
        EngineKind::Exec => {
            let settings = table.exec.clone().unwrap_or_default();
            exec::validate(&settings, mode, wrong);
            EngineSettings::Exec(settings)
        }
        #[cfg(feature = "whisper")]
        EngineKind::Whisper => {
            let settings = table.whisper.clone().unwrap_or_default();
            EngineSettings::Whisper(whisper(settings, limits, at_once, wrong))
        }
        EngineKind::Azure => {
            let table = table.azure.clone().unwrap_or_default();
            let mut in_table = |key: &str, what| wrong(&["azure", key], what);
            let settings = AzureSettings::new(&table, credentials, &mut in_table);
            azure(&settings, limits, mode, wrong);
            EngineSettings::Azure(Box::new(settings))
        }
        #[cfg(feature = "fault-engine")]
        EngineKind::Null => EngineSettings::Null,
        #[cfg(feature = "fault-engine")]
        EngineKind::Fault => EngineSettings::Fault(table.fault.clone().unwrap_or_default()),
    }
}

fn azure(
    settings: &AzureSettings,
    limits: &Limits,
    mode: Mode,
    wrong: &mut impl FnMut(&[&str], String),
) {
    if mode == Mode::Thread {
        let what = "the engine \"azure\" is not run in mode \"thread\": the key would lie in the service's own memory, \
                    and a library that hangs for minutes can only be ended with its process";
        wrong(&["mode"], what.into());
    }
    bounded(
        settings.response_timeout,
        &["azure", "response_timeout"],
        wrong,
    );
    if settings.response_timeout >= limits.stall {
        let what = format!(
            "must be less than limits.stall, {:?}, after which the job is taken for hung",
            limits.stall
        );
        wrong(&["azure", "response_timeout"], what);
    }
    if settings.upload_burst > MAX_TIME {
        wrong(
            &["azure", "upload_burst"],
            "at most 30 days make sense".into(),
        );
    }
    if let Some(file) = &settings.ca_file
        && !(file.is_absolute() && file.is_file())
    {
        let what = format!(
            "there is no file {}; its path must be absolute",
            file.display()
        );
        wrong(&["azure", "ca_file"], what);
    }
}

fn pocketsphinx(settings: &PocketsphinxSettings, wrong: &mut impl FnMut(&[&str], String)) {
    let default = PocketsphinxSettings::default();
    let files = [
        (
            "acoustic_model",
            &settings.acoustic_model,
            &default.acoustic_model,
        ),
        (
            "language_model",
            &settings.language_model,
            &default.language_model,
        ),
        ("dictionary", &settings.dictionary, &default.dictionary),
    ];
    for (key, path, default) in files {
        if !path.exists() {
            let remedy = if path == default {
                "; install the Debian package pocketsphinx-en-us"
            } else {
                ""
            };
            let what = format!("{} does not exist{remedy}", path.display());
            wrong(&["pocketsphinx", key], what);
        }
    }
    language(&settings.language, &["pocketsphinx", "language"], wrong);
}

fn language(code: &str, key: &[&str], wrong: &mut impl FnMut(&[&str], String)) {
    if code.len() != 2 || !code.bytes().all(|b| b.is_ascii_lowercase()) {
        wrong(key, format!("`{code}` is no ISO 639-1 code (\"en\")"));
    }
}

fn vosk(settings: &VoskSettings, wrong: &mut impl FnMut(&[&str], String)) {
    let folder = &settings.model;
    if folder.as_os_str().is_empty() {
        let what = "the model's folder must be named (\"/var/lib/stt-isolated/models/vosk-model-small-en-us-0.15\")";
        wrong(&["vosk", "model"], what.into());
    } else if !folder.is_dir() {
        let what = format!("there is no folder {}", folder.display());
        wrong(&["vosk", "model"], what);
    }
    if settings.library.as_os_str().is_empty() {
        let what = "must be the path of libvosk.so, or a name by which the dynamic linker finds it";
        wrong(&["vosk", "library"], what.into());
    }
    if !settings.language.is_empty() {
        language(&settings.language, &["vosk", "language"], wrong);
    }
}

/// Most beginnings of a text that whisper.cpp can follow at once.
#[cfg(feature = "whisper")]
const MAX_BEAM: u32 = 8;

#[cfg(feature = "whisper")]
fn whisper(
    mut settings: WhisperSettings,
    limits: &Limits,
    at_once: usize,
    wrong: &mut impl FnMut(&[&str], String),
) -> WhisperSettings {
    let file = &settings.file;
    if file.as_os_str().is_empty() {
        let what = "the model's file must be named (\"/var/lib/stt-isolated/ggml-small.bin\")";
        wrong(&["whisper", "file"], what.into());
    } else if !file.is_file() {
        let what = format!("there is no file {}", file.display());
        wrong(&["whisper", "file"], what);
    }
    settings.look_at_file();
    if settings.threads == 0 {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        settings.threads = whisper_threads(cpus, at_once, limits);
    } else if settings.threads > limits.pids {
        let what = format!(
            "{} threads are more than limits.pids, {}, allows",
            settings.threads, limits.pids
        );
        wrong(&["whisper", "threads"], what);
    }
    if !settings.language.is_empty() && !settings.speaks(&settings.language) {
        let what = format!(
            "the model does not know the language `{}`",
            settings.language
        );
        wrong(&["whisper", "language"], what);
    }
    if !(1..=MAX_BEAM).contains(&settings.beam_size) {
        let what = format!("must be between 1 and {MAX_BEAM}");
        wrong(&["whisper", "beam_size"], what);
    }
    settings
}

/// Threads of a job where its settings do not say how many. They spin while they wait for each other, so all jobs that
/// may run together have no more of them than there are CPUs; nor has one more than it may keep busy.
#[cfg(feature = "whisper")]
fn whisper_threads(cpus: usize, at_once: usize, limits: &Limits) -> u32 {
    let share = u32::try_from(cpus / at_once.max(1)).unwrap_or(u32::MAX);
    // Between 0.01 and 1000, or it is refused anyhow.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let limit = match limits.cpus {
        0.0 => u32::MAX,
        limit => limit.ceil() as u32,
    };
    share.min(limit).clamp(1, limits.pids.max(1))
}

/// A name goes into URLs, headers, file names of the cgroup tree and the journal: no character may need escaping there.
pub(super) fn valid_name(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty()
        || name.len() > MAX_NAME
        || !name.bytes().all(allowed)
        || name.starts_with('.')
    {
        return Err(format!(
            "`{name}` is no model name: use 1 to {MAX_NAME} letters, digits, `_`, `-` and `.`, not starting with `.`"
        ));
    }
    Ok(())
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
