//! From the file and the environment to a configuration.

use std::{io, path::Path};

use super::{
    error::ConfigError, found, mode::Mode, resolve::resolve, resolved::Config, source::Source,
};

/// The file that is read when none is named.
pub const DEFAULT_PATH: &str = "/etc/stt-isolated/stt-isolated.toml";

impl Config {
    /// Read, merge and validate: the file at `path`, or [`DEFAULT_PATH`] where none is named (whose absence is
    /// no mistake: the defaults serve), under the variables of `environment`.
    ///
    /// # Errors
    /// Every mistake with file, line and key.
    pub fn load(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let (file, text) = read(path)?;
        Self::of(file, &text, environment)
    }

    /// The configuration that was read from `file`, under the variables of `environment`.
    pub(super) fn of(
        file: &Path,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let source = Source::new(file, text, environment);
        let settings = source.parse()?;
        let directory = match &settings.models_directory {
            unset if unset.as_os_str().is_empty() => source.state().join("models"),
            directory => directory.clone(),
        };
        resolve(settings, &source, Some(&directory))
    }

    /// As [`Self::load`], but with no other model than the one in the file or folder `model`, as it would be served from
    /// the models directory: in a process, and with no spare.
    ///
    /// # Errors
    /// As [`Self::load`]; or it is no model.
    pub fn load_one(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        model: &Path,
    ) -> Result<Self, ConfigError> {
        /// What it is called meanwhile.
        const NAME: &str = "model";
        let no_model = |reason: String| ConfigError::NoModel {
            path: model.into(),
            reason,
        };
        let kind = std::fs::metadata(model).map_err(|error| no_model(error.to_string()))?;
        let table = found::settings(model, kind.file_type()).map_err(no_model)?;
        let (file, text) = read(path)?;
        let source = Source::new(file, &text, environment);
        let mut settings = source.parse()?;
        settings.models = [(NAME.into(), table)].into();
        settings.default_model = NAME.into();
        settings.aliases.clear();
        let mut config = resolve(settings, &source, None)?;
        for model in &mut config.models {
            model.mode = Mode::Process;
            (model.spares.min, model.spares.max) = (0, 0);
        }
        Ok(config)
    }
}

/// The file at `path`, or at [`DEFAULT_PATH`] where none is named, which may be missing; and its text.
fn read(path: Option<&Path>) -> Result<(&Path, String), ConfigError> {
    let file = path.unwrap_or(Path::new(DEFAULT_PATH));
    match std::fs::read_to_string(file) {
        Ok(text) => Ok((file, text)),
        Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => {
            Ok((file, String::new()))
        }
        Err(source) => Err(ConfigError::Read {
            path: file.into(),
            source,
        }),
    }
}
