//! Loads the configuration from the file and the environment.

use std::{ffi::OsStr, io, path::Path};

use super::{
    clients::Clients, error::ConfigError, found, mode::Mode, resolve::resolve, resolved::Config,
    source::Source,
};
use crate::catalogue::{self, Catalogue};

/// The file that is read if none is named.
pub const DEFAULT_PATH: &str = "/etc/stt-isolated/stt-isolated.toml";

impl Config {
    /// Read, merge and validate the file at `path` and the variables of `environment`. If no file
    /// is named, [`DEFAULT_PATH`] is read; if that does not exist, the defaults apply.
    ///
    /// # Errors
    /// Every mistake with file, line and key.
    pub fn load(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let (file, text) = read(path)?;
        let environment: Vec<_> = environment.collect();
        let places = environment
            .iter()
            .find_map(|(name, value)| (name == catalogue::VARIABLE).then(|| OsStr::new(value)));
        let catalogue = Catalogue::read(&catalogue::places(places));
        let mut config = Self::of(file, &text, environment.into_iter())?;
        config.remarks.extend_from_slice(catalogue.remarks());
        config.pullable = catalogue
            .entries()
            .map(|entry| entry.name.clone())
            .collect();
        Ok(config)
    }

    /// The configuration with `text` as read from `file`, and with the variables of `environment`.
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

    /// Like [`Self::load`], but with only one model: the file or folder `model`. It is configured
    /// as from the models directory, but in mode `process` and without a spare.
    ///
    /// # Errors
    /// As [`Self::load`]; or `model` is not a model.
    pub fn load_one(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        model: &Path,
    ) -> Result<Self, ConfigError> {
        /// The model's name for the time of the check.
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
        // Nobody asks, and the keys may be out of reach here.
        settings.clients = Clients::default();
        let mut config = resolve(settings, &source, None)?;
        for model in &mut config.models {
            model.mode = Mode::Process;
            (model.spares.min, model.spares.max) = (0, 0);
        }
        Ok(config)
    }
}

/// The file at `path` and its text. If no file is named, [`DEFAULT_PATH`] is read, and it may be
/// missing.
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
