//! The table of one model, `[models.NAME]`, with the tables of all engines in it.

use std::{fs::FileType, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    hints::Hints, limits::LimitsOverride, mode::Mode, recycle::RecycleOverride,
    spares::SparesOverride, speakers::Speakers,
};
use crate::{
    engine::{self, Circumstances, EngineConfig, EngineKind, EngineSettings},
    problems::Problems,
};

/// Everything that depends on the list of engines: the table of a model, with one optional table
/// for each engine, and the steps from there to an engine's settings.
macro_rules! model_table {
    ($(
        $(#[doc = $doc:literal])* $(#[cfg($cfg:meta)])?
        $kind:ident: $name:ident::$settings:ident,
    )*) => {
        /// The table `[models.NAME]`: one model.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct ModelTable {
            /// The engine that runs this model.
            pub engine: EngineKind,
            /// Other names that clients may use for this model (`whisper-1`).
            #[serde(default)]
            pub aliases: Vec<String>,
            /// Treatment of hints that it cannot use.
            #[serde(default)]
            pub hints: Hints,
            /// How speakers are told apart in requests that do not say it.
            #[serde(default)]
            pub speakers: Speakers,
            /// How its requests are served, if not by `isolation.mode`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub mode: Option<Mode>,
            /// Keys that override the table `[limits]` for this model.
            #[serde(default)]
            pub limits: LimitsOverride,
            /// Keys that override the table `[spares]` for this model.
            #[serde(default)]
            pub spares: SparesOverride,
            /// Keys that override the table `[recycle]` for this model.
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
            /// The settings of the model's engine, with all rules checked.
            pub(super) fn settings(
                &self,
                around: &Circumstances<'_>,
                problems: &mut Problems,
            ) -> EngineSettings {
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

            /// The model at `path`, which is a file or folder of this kind, with the defaults for
            /// everything else.
            ///
            /// # Errors
            /// The reason why no engine can use it as a model.
            pub(super) fn find(path: &Path, kind: FileType) -> Result<Self, String> {
                let mut reason: Option<String> = None;
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
                        Some(Err(why)) => {
                            reason = Some(match reason {
                                Some(before) => format!("{before}; {why}"),
                                None => why,
                            });
                        }
                        None => {}
                    }
                )*
                Err(reason.unwrap_or_else(|| "this build has no engine for it".into()))
            }
        }
    };
}
engine::list::engines!(model_table);
