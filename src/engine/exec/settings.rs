//! The engine `exec` as the configuration knows it: a program, what it may reach, and what it says
//! of itself.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    engine::{Capabilities, Circumstances, EngineConfig, EngineError, LoadedModel, cannot_run},
    isolation::{Needs, Preload, Profile, Reach},
    language::is_language_code,
    problems::Problems,
};

/// Most arguments, paths and variables.
const MAX_STRINGS: usize = 256;

/// Most bytes of all of them together: they go to the zygote as one message.
const MAX_BYTES: usize = 32 * 1024;

/// Variables that the service sets itself.
const OWN_VARIABLES: [&str; 2] = ["TMPDIR", "HOME"];

/// The table `[models.NAME.exec]` with its defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExecSettings {
    /// The program, by its absolute path, and its arguments.
    pub command: Vec<String>,
    /// Files and folders that it can read and execute, in addition to the system's and to those
    /// that `command` names.
    pub read: Vec<PathBuf>,
    /// Variables of its environment, in addition to PATH, LANG, TMPDIR and HOME.
    pub environment: BTreeMap<String, String>,
    /// Whether it can reach other machines.
    pub network: bool,
    /// Whether it can make memory executable: for libraries that write code at run time.
    pub jit: bool,
    /// ISO 639-1 codes of the languages that it can transcribe; empty: any language that a request
    /// names.
    pub languages: Vec<String>,
    /// Abilities that a request can ask for.
    pub capabilities: Vec<Capability>,
}

/// The abilities that a program can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// It tells the times of each word ([`Capabilities::words`]).
    Words,
    /// It tells how sure it is of each word ([`Capabilities::logprobs`]).
    Logprobs,
    /// It can be given a text that precedes the recording ([`Capabilities::prompt`]).
    Prompt,
    /// It can be told which words to expect ([`Capabilities::keywords`]).
    Keywords,
    /// It can choose among likely words by chance ([`Capabilities::temperature`]).
    Temperature,
    /// It can write in English what was said in another language ([`Capabilities::translation`]).
    Translation,
    /// It tells speakers apart by their voices ([`Capabilities::speakers`]).
    Speakers,
}

impl ExecSettings {
    /// All files and folders that these settings name.
    pub fn files(&self) -> Vec<PathBuf> {
        let named = self.command.iter().map(Path::new);
        let named = named.filter(|path| path.is_absolute()).map(PathBuf::from);
        named.chain(self.read.iter().cloned()).collect()
    }
}

impl EngineConfig for ExecSettings {
    type Table = Self;

    fn resolve(table: Self, _: &Circumstances<'_>, problems: &mut Problems) -> Self {
        command(&table.command, problems);
        for path in &table.read {
            let what = match (path.is_absolute(), path.exists()) {
                (false, _) => "is no absolute path",
                (true, false) => "does not exist",
                (true, true) => continue,
            };
            problems.add("read", format!("{} {what}", path.display()));
        }
        environment(&table.environment, problems);
        let variables = table.environment.iter();
        let sizes = variables.map(|(name, value)| name.len() + value.len());
        let sizes = sizes.chain(table.command.iter().map(String::len));
        let sizes = sizes.chain(table.read.iter().map(|path| path.as_os_str().len()));
        if sizes.clone().count() > MAX_STRINGS || sizes.sum::<usize>() > MAX_BYTES {
            problems.here(format!(
                "arguments, paths and variables can be at most {MAX_STRINGS}, of {MAX_BYTES} bytes \
                 together"
            ));
        }
        for code in &table.languages {
            if !is_language_code(code) {
                let what = format!("`{code}` is no ISO 639 code (\"en\")");
                problems.add("languages", what);
            }
        }
        table
    }

    fn load(&self, scratch: Option<&Path>) -> Result<LoadedModel, EngineError> {
        super::load(self, scratch)
    }

    fn needs(&self) -> Needs {
        Needs {
            preload: Preload::AfterFork,
            profile: Profile::Program {
                network: self.network,
                jit: self.jit,
            },
            reach: Reach {
                files: self.files(),
                ports: Vec::new(),
            },
            ..Needs::default()
        }
    }

    fn origin(&self) -> (&'static str, &'static str) {
        ("a program of this machine", "")
    }

    fn capabilities(&self) -> Capabilities {
        let has = |capability| self.capabilities.contains(&capability);
        Capabilities {
            words: has(Capability::Words),
            logprobs: has(Capability::Logprobs),
            prompt: has(Capability::Prompt),
            keywords: has(Capability::Keywords),
            choice: false,
            temperature: has(Capability::Temperature),
            translation: has(Capability::Translation),
            speakers: has(Capability::Speakers),
        }
    }

    fn languages(&self) -> Vec<&str> {
        self.languages.iter().map(String::as_str).collect()
    }

    fn no_hybrid(&self) -> Option<&'static str> {
        Some(
            "a program of engine \"exec\" serves one request and ends; set mode = \"process\" for \
             this model",
        )
    }

    fn no_thread(&self) -> Option<&'static str> {
        Some(
            "a program of engine \"exec\" is a process and cannot run in a thread of the service; \
             set mode = \"process\" for this model",
        )
    }
}

fn environment(variables: &BTreeMap<String, String>, problems: &mut Problems) {
    for (name, value) in variables {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            let what =
                format!("`{name}` cannot be a variable's name or has a value that none can have");
            problems.add("environment", what);
        } else if OWN_VARIABLES.contains(&name.as_str()) {
            let what =
                format!("{name} is the program's own scratch directory, and set by the service");
            problems.add("environment", what);
        }
    }
}

fn command(command: &[String], problems: &mut Problems) {
    const KEY: &str = "command";
    let Some(program) = command.first() else {
        let what = "the program must be named ([\"/usr/bin/python3\", \"/path/program.py\"])";
        return problems.add(KEY, what);
    };
    let path = Path::new(program);
    if let Some(reason) = cannot_run(path) {
        let way = match path.is_absolute() {
            true => "",
            false => "; write where the program is (\"/usr/bin/python3\")",
        };
        problems.add(KEY, format!("{reason}{way}"));
    }
    if command.iter().any(|argument| argument.contains('\0')) {
        problems.add(KEY, "an argument cannot have a zero byte");
    }
}
