//! The sources of settings, file and environment, and the line or variable of each mistake.

use std::{
    env,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    error::{ConfigError, Problem},
    file::File,
};
use crate::catalogue;

/// Folder of the service's state if systemd does not set `STATE_DIRECTORY`.
pub const DEFAULT_STATE: &str = "/var/lib/stt-isolated";

/// Every variable with this prefix sets one key. For example, `STT_ISOLATED_JOBS__MAX_RUNNING=8`
/// sets `jobs.max_running`.
const PREFIX: &str = "STT_ISOLATED_";

/// Variables that are not keys of the daemon: the client's default socket, its key and its mirror,
/// and the places of the catalogue.
const OTHER_VARIABLES: [&str; 4] = [
    "STT_ISOLATED_SOCKET",
    "STT_ISOLATED_KEY_FILE",
    "STT_ISOLATED_MIRROR",
    catalogue::VARIABLE,
];

/// The folders of `StateDirectory=`, separated by colons (systemd.exec(5)).
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// The variable by which users of this project switch process isolation: `true` means mode
/// `process`, `false` means `thread`.
const PROCESS_ISOLATION: &str = "USE_PROCESS_ISOLATION";

/// The folder in which systemd puts the credentials of LoadCredential= (systemd.exec(5)).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The text of a configuration file and the variables that override it, kept to find the place of a
/// mistake.
pub(super) struct Source<'a> {
    /// Name of the file, for messages.
    path: &'a Path,
    text: &'a str,
    variables: Vec<Variable>,
    /// The first folder of systemd's `StateDirectory=`. Systemd sets it, so it is not a setting.
    state: Option<PathBuf>,
    /// Folder of the service's credentials, as set by systemd.
    credentials: Option<PathBuf>,
}

/// One environment variable that sets a key.
struct Variable {
    name: String,
    value: String,
    key: Vec<String>,
}

impl<'a> Source<'a> {
    /// `text` as read from `path`, and those variables of `environment` that set something here.
    pub(super) fn new(
        path: &'a Path,
        text: &'a str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Self {
        let mut state = None;
        let mut credentials = None;
        let mut variables: Vec<Variable> = environment
            .filter_map(|(name, value)| {
                if name == STATE_DIRECTORY {
                    state = env::split_paths(&value).next();
                    return None;
                }
                if name == CREDENTIALS {
                    credentials = Some(PathBuf::from(value));
                    return None;
                }
                if name == PROCESS_ISOLATION {
                    let key = vec!["isolation".into(), "mode".into()];
                    return Some(Variable { name, value, key });
                }
                let key = name
                    .strip_prefix(PREFIX)
                    .filter(|_| !OTHER_VARIABLES.contains(&&*name))?
                    .split("__")
                    .map(str::to_ascii_lowercase)
                    .collect();
                Some(Variable { name, value, key })
            })
            .collect();
        // The switch is the more general of the two ways to set `isolation.mode`, so the exact key
        // wins.
        variables.sort_by(|a, b| {
            (a.name != PROCESS_ISOLATION, &a.name).cmp(&(b.name != PROCESS_ISOLATION, &b.name))
        });
        Self {
            path,
            text,
            variables,
            state,
            credentials,
        }
    }

    /// The folder of the service's state.
    pub(super) fn state(&self) -> &Path {
        self.state.as_deref().unwrap_or(Path::new(DEFAULT_STATE))
    }

    /// Systemd's folder of the service's credentials, if it has any.
    pub(super) fn credentials(&self) -> Option<&Path> {
        self.credentials.as_deref()
    }

    /// The settings of file and environment together, with types and names checked.
    pub(super) fn parse(&self) -> Result<File, ConfigError> {
        let file: File = toml::from_str(self.text).map_err(|error| self.in_file(&error))?;
        if self.variables.is_empty() {
            return Ok(file);
        }
        // The file alone was correct, so a failure from here on is the mistake of the last
        // variable.
        let mut table: Table = toml::from_str(self.text).map_err(|error| self.in_file(&error))?;
        let mut merged = file;
        for variable in &self.variables {
            let problem = |what: String| {
                ConfigError::Invalid(vec![Problem {
                    place: format!("environment variable {}", variable.name),
                    key: Some(variable.key.join(".")),
                    what,
                }])
            };
            set(
                &mut table,
                &variable.key,
                variable.toml_value().map_err(problem)?,
            )
            .map_err(problem)?;
            merged = File::deserialize(table.clone())
                .map_err(|error| problem(error.message().to_owned()))?;
        }
        Ok(merged)
    }

    /// The value of the switch for process isolation, if it is set and the exact key is not.
    pub(super) fn process_isolation(&self) -> Option<bool> {
        let last = self
            .variables
            .iter()
            .rfind(|v| v.key == ["isolation", "mode"])?;
        let is_switch = last.name == PROCESS_ISOLATION;
        last.switch().ok().filter(|_| is_switch)
    }

    /// A mistake in the value of `key`, with the line or the variable that set it. That is in the
    /// model's own table, or in the general table from which the model has the value.
    pub(super) fn problem(&self, key: &[&str], what: String) -> Problem {
        let general = match key {
            ["models", _, "limits" | "spares" | "recycle", _] => &key[2..],
            _ => key,
        };
        let file = self.path.display();
        let in_line = |line: usize| format!("{file}:{line}");
        let place_of = |key: &[&str]| {
            let variable = self.variables.iter().rfind(|v| begins_with(key, &v.key));
            match variable {
                Some(variable) => Some(format!("environment variable {}", variable.name)),
                None => match self.line_of(key) {
                    Some((line, true)) => Some(in_line(line)),
                    _ => None,
                },
            }
        };
        let nearest = |key| self.line_of(key).map(|(line, _)| in_line(line));
        let (key, place) = [key, general]
            .into_iter()
            .find_map(|key| Some((key, place_of(key)?)))
            .or_else(|| Some((general, nearest(general)?)))
            .or_else(|| Some((key, nearest(key)?)))
            .unwrap_or_else(|| (key, file.to_string()));
        Problem {
            place,
            key: Some(key.join(".")),
            what,
        }
    }

    fn in_file(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        ConfigError::Invalid(vec![Problem {
            place: format!("{}:{}", self.path.display(), self.line_at(span.start)),
            key: DeTable::parse(self.text)
                .ok()
                .and_then(|table| key_around(table.get_ref(), &span)),
            what: error.message().to_owned(),
        }])
    }

    fn line_at(&self, offset: usize) -> usize {
        1 + self.text[..offset.min(self.text.len())]
            .matches('\n')
            .count()
    }

    /// The line of `key`, or of the nearest table around it that the file has; and whether it is
    /// the line of `key` itself.
    fn line_of(&self, key: &[&str]) -> Option<(usize, bool)> {
        let document = DeTable::parse(self.text).ok()?;
        let mut table = document.get_ref();
        let mut found = None;
        for (index, part) in key.iter().enumerate() {
            let Some((name, value)) = table.get_key_value(*part) else {
                break;
            };
            found = Some((name.span().start, index + 1 == key.len()));
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        found.map(|(offset, own)| (self.line_at(offset), own))
    }
}

fn begins_with(key: &[&str], beginning: &[String]) -> bool {
    key.len() >= beginning.len() && key.iter().zip(beginning).all(|(a, b)| a == b)
}

impl Variable {
    fn switch(&self) -> Result<bool, String> {
        match self.value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            other => Err(format!("`{other}` is neither true nor false")),
        }
    }

    /// The value as TOML would read it. Anything that is not a TOML value is a string, so `512M`
    /// needs no quotes.
    fn toml_value(&self) -> Result<Value, String> {
        if self.name == PROCESS_ISOLATION {
            let mode = if self.switch()? { "process" } else { "thread" };
            return Ok(Value::String(mode.into()));
        }
        let parsed = toml::from_str::<Table>(&format!("value = {}", self.value));
        Ok(
            match parsed.ok().and_then(|mut table| table.remove("value")) {
                Some(value) => value,
                None => Value::String(self.value.clone()),
            },
        )
    }
}

fn set(table: &mut Table, key: &[String], value: Value) -> Result<(), String> {
    match key {
        [] => Ok(()),
        [last] => {
            table.insert(last.clone(), value);
            Ok(())
        }
        [first, rest @ ..] => {
            let inner = table
                .entry(first.clone())
                .or_insert_with(|| Value::Table(Table::new()));
            match inner {
                Value::Table(inner) => set(inner, rest, value),
                _ => Err(format!("`{first}` is a value, not a table")),
            }
        }
    }
}

/// The dotted key whose name or value contains `span`.
fn key_around(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let contains = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let mut widest = None;
    for (name, value) in table {
        let inner = match value.get_ref() {
            DeValue::Table(inner) => key_around(inner, span),
            _ => None,
        };
        if let Some(inner) = inner {
            return Some(format!("{}.{inner}", name.get_ref()));
        }
        if contains(name.span()) || contains(Spanned::span(value)) {
            widest = Some(name.get_ref().to_string());
        }
    }
    widest
}
