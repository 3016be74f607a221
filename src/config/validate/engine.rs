//! One model's engine: the one table that is for it, by that engine's own rules.

use std::path::Path;

#[cfg(feature = "whisper")]
use crate::engine::whisper;
use crate::{
    config::{limits::Limits, mode::Mode, schema::ModelTable},
    engine::{
        EngineKind, EngineSettings,
        azure::{self, AzureSettings},
        exec, pocketsphinx, vosk,
    },
};

#[cfg_attr(not(feature = "whisper"), allow(unused_variables))]
/// The engine of `table` with its settings, all rules checked.
pub(super) fn engine(
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
            pocketsphinx::settings::validate(&settings, wrong);
            EngineSettings::Pocketsphinx(settings)
        }
        EngineKind::Vosk => {
            let settings = table.vosk.clone().unwrap_or_default();
            vosk::settings::validate(&settings, wrong);
            EngineSettings::Vosk(settings)
        }
        EngineKind::Exec => {
            let settings = table.exec.clone().unwrap_or_default();
            exec::settings::validate(&settings, mode, wrong);
            EngineSettings::Exec(settings)
        }
        #[cfg(feature = "whisper")]
        EngineKind::Whisper => {
            let settings = table.whisper.clone().unwrap_or_default();
            EngineSettings::Whisper(whisper::settings::resolve(settings, limits, at_once, wrong))
        }
        EngineKind::Azure => {
            let table = table.azure.clone().unwrap_or_default();
            let mut in_table = |key: &str, what| wrong(&["azure", key], what);
            let settings = AzureSettings::new(&table, credentials, &mut in_table);
            azure::settings::validate(&settings, limits, mode, wrong);
            EngineSettings::Azure(Box::new(settings))
        }
        #[cfg(feature = "fault-engine")]
        EngineKind::Null => EngineSettings::Null,
        #[cfg(feature = "fault-engine")]
        EngineKind::Fault => EngineSettings::Fault(table.fault.clone().unwrap_or_default()),
    }
}
