//! Settings of the engine `exec`: a program, what it may reach, and what it says of itself.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{config::mode::Mode, engine::Capabilities, language::is_language_code};

/// Most arguments, paths and variables.
const MAX_STRINGS: usize = 256;

/// Most bytes of all of them together: they go to the zygote as one message.
const MAX_BYTES: usize = 32 * 1024;

/// Variables that the service sets itself.
const OWN_VARIABLES: [&str; 2] = ["TMPDIR", "HOME"];

/// `[models.NAME.exec]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecSettings {
    /// The program, by its absolute path, and its arguments.
    pub command: Vec<String>,
    /// Files and folders that it can read and execute, beside the system's own and those that `command` names.
    pub read: Vec<PathBuf>,
    /// Variables of its environment, beside PATH, LANG, TMPDIR and HOME.
    pub environment: BTreeMap<String, String>,
    /// Whether it can reach other machines.
    pub network: bool,
    /// Whether it can make memory executable: for libraries that write code at run time.
    pub jit: bool,
    /// ISO 639-1 codes of the languages that it can transcribe; empty: whatever a request names.
    pub languages: Vec<String>,
    /// What a request may ask of it beside a transcript.
    pub capabilities: Vec<Capability>,
}

/// What a program can say that it is capable of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// See [`Capabilities::words`].
    Words,
    /// See [`Capabilities::logprobs`].
    Logprobs,
    /// See [`Capabilities::prompt`].
    Prompt,
    /// See [`Capabilities::keywords`].
    Keywords,
    /// See [`Capabilities::temperature`].
    Temperature,
    /// See [`Capabilities::translation`].
    Translation,
}

impl ExecSettings {
    /// What the program says that it is capable of.
    pub fn capabilities(&self) -> Capabilities {
        let has = |capability| self.capabilities.contains(&capability);
        Capabilities {
            words: has(Capability::Words),
            logprobs: has(Capability::Logprobs),
            prompt: has(Capability::Prompt),
            keywords: has(Capability::Keywords),
            temperature: has(Capability::Temperature),
            translation: has(Capability::Translation),
        }
    }

    /// All files and folders that these settings name.
    pub fn files(&self) -> Vec<PathBuf> {
        let named = self.command.iter().map(Path::new);
        let named = named.filter(|path| path.is_absolute()).map(PathBuf::from);
        named.chain(self.read.iter().cloned()).collect()
    }

    /// Whether it can transcribe this language, by its code without a region.
    pub fn speaks(&self, code: &str) -> bool {
        let mut languages = self.languages.iter();
        self.languages.is_empty() || languages.any(|known| known.eq_ignore_ascii_case(code))
    }
}

/// Check every rule that types cannot say.
pub(crate) fn validate(
    settings: &ExecSettings,
    mode: Mode,
    wrong: &mut impl FnMut(&[&str], String),
) {
    match mode {
        Mode::Process => {}
        Mode::Hybrid => wrong(
            &["mode"],
            "a program of engine \"exec\" serves one request and ends; set mode = \"process\" for this model".into(),
        ),
        Mode::Thread => wrong(
            &["mode"],
            "a program of engine \"exec\" is a process and cannot run in a thread of the service; set mode = \
             \"process\" for this model"
                .into(),
        ),
    }
    command(&settings.command, wrong);
    for path in &settings.read {
        let what = match (path.is_absolute(), path.exists()) {
            (false, _) => "is no absolute path",
            (true, false) => "does not exist",
            (true, true) => continue,
        };
        wrong(&["exec", "read"], format!("{} {what}", path.display()));
    }
    for (name, value) in &settings.environment {
        let key = ["exec", "environment"];
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            wrong(
                &key,
                format!("`{name}` cannot be a variable's name or has a value that none can have"),
            );
        } else if OWN_VARIABLES.contains(&name.as_str()) {
            wrong(
                &key,
                format!("{name} is the program's own scratch directory, and set by the service"),
            );
        }
    }
    let variables = settings.environment.iter();
    let sizes = variables.map(|(name, value)| name.len() + value.len());
    let sizes = sizes.chain(settings.command.iter().map(String::len));
    let sizes = sizes.chain(settings.read.iter().map(|path| path.as_os_str().len()));
    if sizes.clone().count() > MAX_STRINGS || sizes.sum::<usize>() > MAX_BYTES {
        let what = format!(
            "arguments, paths and variables can be at most {MAX_STRINGS}, of {MAX_BYTES} bytes together"
        );
        wrong(&["exec"], what);
    }
    for code in &settings.languages {
        if !is_language_code(code) {
            let what = format!("`{code}` is no ISO 639 code (\"en\")");
            wrong(&["exec", "languages"], what);
        }
    }
}

fn command(command: &[String], wrong: &mut impl FnMut(&[&str], String)) {
    let key = ["exec", "command"];
    let Some(program) = command.first() else {
        let what = "the program must be named ([\"/usr/bin/python3\", \"/path/program.py\"])";
        return wrong(&key, what.into());
    };
    let path = Path::new(program);
    let about = path.metadata();
    let executable =
        |about: &std::fs::Metadata| about.is_file() && about.permissions().mode() & 0o111 != 0;
    if !path.is_absolute() {
        wrong(
            &key,
            format!(
                "{program} is no absolute path; write where the program is (\"/usr/bin/python3\")"
            ),
        );
    } else if !about.as_ref().is_ok_and(executable) {
        let what = match about {
            Ok(_) => "is no executable file".into(),
            Err(error) => format!("cannot be run: {error}"),
        };
        wrong(&key, format!("{program} {what}"));
    }
    if command.iter().any(|argument| argument.contains('\0')) {
        wrong(&key, "an argument cannot have a zero byte".into());
    }
}
