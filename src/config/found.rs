//! The models directory: which of its files and folders are models, by name and kind alone. No file
//! is opened here.

use std::{
    collections::BTreeSet,
    fs::{self, FileType},
    io,
    path::{Path, PathBuf},
};

use super::model::ModelTable;
use crate::names::valid_name;

/// Most entries that are examined. A directory of models has far fewer.
const MAX_ENTRIES: usize = 1000;

/// Largest number of models that are served from the directory, because each has a zygote that
/// holds it in memory.
const MAX_MODELS: usize = 64;

/// Largest number of entries that are not models and are named one by one.
const MAX_REMARKS: usize = 16;

/// The result of looking into the directory.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Models, ordered by name, each with the defaults for everything else.
    pub(super) models: Vec<(String, ModelTable)>,
    /// Whole sentences that say which entries are not served, and why.
    pub(super) remarks: Vec<String>,
}

/// Look into `directory`; hidden entries (`.…`) are ignored. `taken` has the names, and `used` the
/// files, that the configuration itself has already.
pub(super) fn look(directory: &Path, taken: &BTreeSet<&str>, used: &[PathBuf]) -> Found {
    let mut found = Found::default();
    let place = directory.display();
    let (entries, all) = match entries(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return found,
        Err(error) => {
            let remark = format!("the models directory {place} cannot be read: {error}");
            found.remarks.push(remark);
            return found;
        }
    };
    if !all {
        found.remarks.push(format!(
            "the models directory {place} has more than {MAX_ENTRIES} entries: not all of them were looked at"
        ));
    }
    let used: Vec<PathBuf> = used
        .iter()
        .filter_map(|path| fs::canonicalize(path).ok())
        .collect();
    let mut left_out = 0;
    for (path, kind) in entries {
        let reason = match model(&path, kind) {
            Ok((name, _)) if taken.contains(name.as_str()) => {
                format!("the configuration has `{name}` itself, and comes first")
            }
            Ok(_) if fs::canonicalize(&path).is_ok_and(|path| used.contains(&path)) => {
                "the configuration serves it under another name".into()
            }
            Ok((name, _)) if found.models.iter().any(|(other, _)| *other == name) => {
                format!("there is another model `{name}`")
            }
            Ok(_) if found.models.len() == MAX_MODELS => {
                format!("no more than {MAX_MODELS} models are served from there")
            }
            Ok(model) => {
                found.models.push(model);
                continue;
            }
            Err(reason) => reason,
        };
        left_out += 1;
        if left_out <= MAX_REMARKS {
            // Anybody may have chosen this name, so none of its characters may disturb the log.
            let name = path.file_name().unwrap_or_default();
            let remark =
                format!("{name:?} in the models directory {place} is not served: {reason}");
            found.remarks.push(remark);
        }
    }
    if left_out > MAX_REMARKS {
        let more = left_out - MAX_REMARKS;
        let remark = format!("{more} more entries of the models directory {place} are not served");
        found.remarks.push(remark);
    }
    found
}

/// The entries that are not hidden, ordered by name, and whether these are all of them.
fn entries(directory: &Path) -> io::Result<(Vec<(PathBuf, FileType)>, bool)> {
    let mut entries: Vec<(PathBuf, FileType)> = Vec::new();
    let mut all = true;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entries.len() == MAX_ENTRIES {
            all = false;
            break;
        }
        // If the entry has just been removed, act as if it had never been there.
        if let Ok(kind) = entry.file_type() {
            entries.push((entry.path(), kind));
        }
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok((entries, all))
}

/// The settings of the model at `path`, with the defaults for everything else.
///
/// # Errors
/// The reason why it is not a model.
pub(super) fn settings(path: &Path, kind: FileType) -> Result<ModelTable, String> {
    if kind.is_dir() || kind.is_file() {
        ModelTable::find(path, kind)
    } else if kind.is_symlink() {
        Err("symbolic links are not followed".into())
    } else {
        Err("it is neither a file nor a folder".into())
    }
}

/// The name and the settings of the model at `path`.
///
/// # Errors
/// The reason why it is not a model.
fn model(path: &Path, kind: FileType) -> Result<(String, ModelTable), String> {
    let table = settings(path, kind)?;
    // A folder's name may contain dots and has no extension.
    let name = if kind.is_dir() {
        path.file_name()
    } else {
        path.file_stem()
    };
    let name = name.unwrap_or_default().to_string_lossy();
    valid_name(&name)?;
    Ok((name.into_owned(), table))
}

#[cfg(test)]
mod tests {
    use std::os::unix::{ffi::OsStrExt as _, fs::symlink, net::UnixListener};

    use super::*;
    use crate::{
        config::Config,
        engine::{EngineSettings, vosk::VoskSettings},
    };

    /// The folders of a Vosk model.
    const VOSK: [&str; 3] = ["am", "conf", "graph"];

    /// The configuration `text` with this models directory.
    fn load(directory: &Path, text: &str) -> Config {
        let text = format!("models_directory = {directory:?}\n{text}");
        Config::of(Path::new("test.toml"), &text, std::iter::empty()).unwrap()
    }

    fn names(config: &Config) -> Vec<&str> {
        config
            .models
            .iter()
            .map(|model| model.name.as_str())
            .collect()
    }

    fn vosk_model(folder: &Path) {
        for part in VOSK {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
    }

    #[test]
    fn a_folder_for_vosk_is_a_model_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("vosk-model-small-de-0.15");
        vosk_model(&folder);
        let config = load(directory.path(), "limits.memory = \"300M\"");
        assert_eq!(names(&config), ["default", "vosk-model-small-de-0.15"]);
        assert_eq!(
            (config.default_model.as_str(), &config.remarks[..]),
            ("default", &[][..])
        );
        let model = &config.models[1];
        assert_eq!(
            model.engine,
            EngineSettings::Vosk(VoskSettings::of(folder.clone()))
        );
        // The model's languages are unknown, so any language may be requested.
        assert_eq!(model.engine.understands("xx-yy").as_deref(), Some("xx"));
        assert!(model.engine.languages().is_empty());
        assert_eq!(
            (model.limits, model.spares),
            (config.models[0].limits, config.models[0].spares)
        );
        // If nothing is configured, the model is the default one. It can also be named like any
        // other.
        assert_eq!(load(directory.path(), "[models]").default_model, model.name);
        let aliases = "default_model = \"vosk-model-small-de-0.15\"\naliases.german = \"vosk-model-small-de-0.15\"";
        let config = load(directory.path(), aliases);
        assert_eq!(config.model("german").unwrap().name, config.default_model);
    }

    #[cfg(feature = "whisper")]
    #[test]
    fn a_file_of_whisper_cpp_is_a_model_and_changes_when_it_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tiny.en.bin");
        // A vocabulary of 51864 tokens: English only.
        fs::write(&file, b"lmgg\x98\xca\0\0").unwrap();
        let config = load(directory.path(), "");
        assert_eq!(names(&config), ["default", "tiny.en"]);
        assert_eq!(config.models[1].engine.language(), Some("en"));
        assert!(config.models[1].loads_like(&load(directory.path(), "").models[1]));
        let other = directory.path().join(".other");
        fs::write(&other, b"lmgg\x98\xca\0\0").unwrap();
        fs::rename(&other, &file).unwrap();
        assert!(!config.models[1].loads_like(&load(directory.path(), "").models[1]));
        // The model is served once: from its table, not also from the directory.
        let used = format!("[models.mine]\nengine = \"whisper\"\nwhisper.file = {file:?}");
        let config = load(directory.path(), &used);
        assert_eq!(names(&config), ["mine"]);
        assert!(
            config.remarks[0].contains("under another name"),
            "{:?}",
            config.remarks
        );
    }

    #[test]
    fn what_is_no_model_is_named_and_neither_opened_nor_followed() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for taken in ["default", "whisper-1"] {
            vosk_model(&at(taken));
        }
        vosk_model(&at("a b"));
        vosk_model(&at(".hidden"));
        fs::create_dir_all(at("half/am")).unwrap();
        symlink(at("default"), at("link")).unwrap();
        fs::create_dir(at("linked")).unwrap();
        for part in VOSK {
            symlink(at("default").join(part), at("linked").join(part)).unwrap();
        }
        nix::unistd::mkfifo(&at("fifo.bin"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket.bin")).unwrap();
        fs::write(at("model.gguf"), "GGUF").unwrap();
        fs::write(
            directory
                .path()
                .join(std::ffi::OsStr::from_bytes(b"\xff\x1b[2J\n")),
            "",
        )
        .unwrap();
        let config = load(directory.path(), "");
        assert_eq!(names(&config), ["default"]);
        let said = config.remarks.join("\n");
        let of_file = |reason| match cfg!(feature = "whisper") {
            true => reason,
            false => "no engine for it",
        };
        for (name, reason) in [
            ("\"default\"", "the configuration has `default` itself"),
            ("\"whisper-1\"", "the configuration has `whisper-1` itself"),
            ("\"a b\"", "`a b` is no model name"),
            ("\"half\"", "has the folders am, conf, graph"),
            ("\"linked\"", "has the folders am, conf, graph"),
            ("\"link\"", "symbolic links are not followed"),
            ("\"fifo.bin\"", "neither a file nor a folder"),
            ("\"socket.bin\"", "neither a file nor a folder"),
            ("\"model.gguf\"", of_file("not GGUF")),
            ("\"\\xFF\\u{1b}[2J\\n\"", of_file("ends in .bin")),
        ] {
            let line = said.lines().find(|line| line.starts_with(name));
            assert!(
                line.is_some_and(|line| line.contains(reason)),
                "{name}: {said}"
            );
        }
        assert_eq!(config.remarks.len(), 10, "{said}");
    }

    #[test]
    fn models_and_words_about_them_have_their_bounds() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..70 {
            vosk_model(&directory.path().join(format!("model-{number:02}")));
        }
        let config = load(directory.path(), "default_model = \"model-00\"\n[models]");
        assert_eq!(config.models.len(), MAX_MODELS);
        assert_eq!(config.models[MAX_MODELS - 1].name, "model-63");
        assert_eq!(config.remarks.len(), 6);
        for number in 0..2000 {
            fs::write(directory.path().join(format!("a{number}")), "").unwrap();
        }
        let config = load(directory.path(), "");
        assert!(config.remarks[0].contains("more than 1000 entries"));
        assert_eq!(config.remarks.len(), 1 + MAX_REMARKS + 1);
        // A mistake in the general tables is a mistake of the configuration itself.
        let text = format!(
            "models_directory = {:?}\n[models]\n[limits]\nmemory = \"1K\"",
            directory.path()
        );
        let error = Config::of(Path::new("t.toml"), &text, std::iter::empty()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("t.toml:4: limits.memory: a job needs"),
            "{error}"
        );
    }

    #[test]
    fn the_directory_is_systemds_unless_the_configuration_names_one() {
        let state = tempfile::tempdir().unwrap();
        vosk_model(&state.path().join("models/there"));
        let of = |text: &str, value: String| {
            let environment = [("STATE_DIRECTORY".to_owned(), value)];
            Config::of(Path::new("t.toml"), text, environment.into_iter())
        };
        let value = state.path().display().to_string();
        assert_eq!(names(&of("", value.clone()).unwrap()), ["default", "there"]);
        assert_eq!(
            names(&of("", format!("{value}:/other")).unwrap()),
            ["default", "there"]
        );
        // Without a directory there is nothing to report.
        let config = of("", format!("{value}/models")).unwrap();
        assert_eq!((names(&config), config.remarks.len()), (vec!["default"], 0));
        let error = of("models_directory = \"/no/where\"", value)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "t.toml:1: models_directory: /no/where is not a folder"
        );
    }
}
