//! One model: its own table `[models.NAME]`, and that table over the general ones.

use std::{fs::FileType, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    file::File,
    limits::{Limits, LimitsOverride},
    mode::Mode,
    names::valid_name,
    recycle::RecycleOverride,
    resolved::Model,
    source::Source,
    spares::SparesOverride,
    stamp::Stamp,
};
use crate::{
    engine::{self, Circumstances, EngineConfig, EngineKind, EngineSettings},
    problems::Problems,
};

/// Everything that depends on which engines there are: the table of a model, with one optional table
/// for each engine, and the ways from there to an engine's settings.
macro_rules! model_table {
    ($($(#[doc = $doc:literal])* $(#[cfg($cfg:meta)])? $kind:ident: $name:ident::$settings:ident,)*) => {
        /// `[models.NAME]`
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct ModelTable {
            /// The engine that runs this model.
            pub engine: EngineKind,
            /// Other names that clients may use for this model (`whisper-1`).
            #[serde(default)]
            pub aliases: Vec<String>,
            /// What serves its requests, where that differs from `isolation.mode`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub mode: Option<Mode>,
            /// What differs from the table `[limits]` for this model.
            #[serde(default)]
            pub limits: LimitsOverride,
            /// What differs from the table `[spares]` for this model.
            #[serde(default)]
            pub spares: SparesOverride,
            /// What differs from the table `[recycle]` for this model.
            #[serde(default)]
            pub recycle: RecycleOverride,
            $(
                #[doc = concat!("Settings of the engine `", stringify!($name), "`.")]
                $(#[cfg($cfg)])?
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $name: Option<<engine::$name::$settings as EngineConfig>::Table>,
            )*
        }

        impl ModelTable {
            /// The settings of the model's engine, all rules checked.
            fn engine(&self, around: &Circumstances<'_>, problems: &mut Problems) -> EngineSettings {
                $(
                    $(#[cfg($cfg)])?
                    if self.$name.is_some() && self.engine != EngineKind::$kind {
                        let name = stringify!($name);
                        let what = format!("this table is for engine = \"{name}\" only");
                        problems.add(name, what);
                    }
                )*
                match self.engine {
                    $(
                        $(#[cfg($cfg)])?
                        EngineKind::$kind => problems.within(&[stringify!($name)], |problems| {
                            let table = self.$name.clone().unwrap_or_default();
                            EngineSettings::$kind(EngineConfig::resolve(table, around, problems))
                        }),
                    )*
                }
            }

            /// The model at `path`, a file or a folder of this kind, with everything else as it is by
            /// default.
            ///
            /// # Errors
            /// It is not a model for any engine; the reason.
            pub(super) fn find(path: &Path, kind: FileType) -> Result<Self, String> {
                let mut reason = None;
                $(
                    $(#[cfg($cfg)])?
                    match engine::$name::$settings::find(path, kind) {
                        Some(Ok(table)) => {
                            return Ok(Self {
                                engine: EngineKind::$kind,
                                $name: Some(table),
                                ..Self::default()
                            });
                        }
                        Some(Err(why)) => reason = reason.or(Some(why)),
                        None => {}
                    }
                )*
                Err(reason.unwrap_or_else(|| "this build has no engine for it".into()))
            }
        }
    };
}
engine::list::engines!(model_table);

/// The settings around the models' own tables. `jobs.max_running` is at least 1.
#[derive(Clone, Copy)]
pub(super) struct General<'a> {
    /// The file, for its general tables.
    pub(super) file: &'a File,
    /// The environment around it.
    pub(super) source: &'a Source<'a>,
}

impl General<'_> {
    /// The model `name` as `table` and the general tables have it, all rules checked.
    pub(super) fn model(self, name: &str, table: &ModelTable, problems: &mut Problems) -> Model {
        problems.within(&["models", name], |problems| {
            self.resolve(name, table, problems)
        })
    }

    fn resolve(self, name: &str, table: &ModelTable, problems: &mut Problems) -> Model {
        let file = self.file;
        let limits = table.limits.over(file.limits);
        let spares = table.spares.over(file.spares);
        let recycle = table.recycle.over(file.recycle);
        let mode = self.mode(table);
        if let Err(what) = valid_name(name) {
            problems.here(what);
        }
        let budget = file.memory.budget;
        problems.within(&["limits"], |problems| limits.check(mode, budget, problems));
        problems.within(&["spares"], |problems| spares.check(problems));
        problems.within(&["recycle"], |problems| recycle.check(problems));
        let engine = table.engine(&self.circumstances(&limits), problems);
        let refusal = match mode {
            Mode::Process => None,
            Mode::Hybrid => engine.no_hybrid(),
            Mode::Thread => engine.no_thread(),
        };
        if let Some(what) = refusal {
            problems.add("mode", what);
        }
        let files = engine.needs().reach.files;
        Model {
            name: name.into(),
            aliases: table.aliases.clone(),
            mode,
            files: files.iter().map(|file| Stamp::of(file)).collect(),
            engine,
            limits,
            spares,
            recycle,
        }
    }

    fn mode(self, table: &ModelTable) -> Mode {
        match (self.source.process_isolation(), table.mode) {
            // The switch is for the whole service.
            (Some(false), _) => Mode::Thread,
            (Some(true), Some(Mode::Thread)) => Mode::Process,
            (_, own) => own.unwrap_or(self.file.isolation.mode),
        }
    }

    fn circumstances(&self, limits: &Limits) -> Circumstances<'_> {
        Circumstances {
            jobs: self.file.jobs.max_running,
            pids: limits.pids,
            cpus: limits.cpus,
            stall: limits.stall,
            credentials: self.source.credentials(),
        }
    }
}
