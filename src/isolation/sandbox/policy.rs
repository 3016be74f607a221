//! Reads the policy files: which system call is allowed under which conditions, at each stage of a
//! zygote's life.

use std::collections::BTreeMap;

use serde::Deserialize;
use syscalls::Sysno;

use super::constants;
use crate::isolation::Profile;

/// The stage of a process. Each stage is allowed a part of the calls of the previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// A zygote that loads its model.
    Load,
    /// A zygote that forks jobs.
    Fork,
    /// A job, which serves requests.
    Job,
}

impl Stage {
    /// Every stage in the order of a process's life.
    pub const ALL: [Self; 3] = [Self::Load, Self::Fork, Self::Job];

    /// Policy files for a profile at this stage, in addition to those of the later stages. With
    /// `standby`, each job has a program that it can start.
    fn files(self, profile: Profile, standby: bool) -> Vec<File> {
        let mut files = self.files_alone(profile);
        match (profile, self) {
            _ if !standby => {}
            // A forked job makes a standby, so it must be allowed all that the standby may do. Its
            // own files come first, because they allow calls that the standby's only answer.
            (Profile::Library, Self::Fork) => {
                files.push(PROGRAM_START);
                files.extend(OF_STANDBY);
            }
            (Profile::Network, Self::Fork) => {
                files.extend([PROGRAM_START, NETWORK]);
                files.extend(OF_STANDBY);
            }
            (_, Self::Job) => files.insert(0, STANDBY_HOST),
            _ => {}
        }
        files
    }

    fn files_alone(self, profile: Profile) -> Vec<File> {
        match (profile, self) {
            (Profile::Library | Profile::Network, Self::Load) => vec![LOAD],
            (Profile::Library | Profile::Network, Self::Fork) => vec![FORK],
            (Profile::Library, Self::Job) => vec![JOB],
            (Profile::Network, Self::Job) => vec![JOB, NETWORK, NETWORK_REFUSED],
            // The job that starts a program must be allowed everything that the program may do. The
            // zygote's own files come first, because they allow calls that the program's files only
            // answer.
            (Profile::Program { network, jit }, Self::Load) => {
                let own = [FORK, PROGRAM_START, LOAD];
                let signals = true;
                own.into_iter()
                    .chain(of_program(network, jit, signals))
                    .collect()
            }
            (Profile::Program { .. }, Self::Fork) => Vec::new(),
            (Profile::Program { .. }, Self::Job) => vec![PROGRAM_HOST, JOB],
        }
    }
}

/// Policy files of a program: first those that allow calls, then those that answer them.
fn of_program(network: bool, jit: bool, signals: bool) -> impl Iterator<Item = File> {
    let extras = [
        (network, PROGRAM_NETWORK),
        (jit, PROGRAM_JIT),
        (signals, PROGRAM_SIGNALS),
    ];
    let extras = extras.into_iter().filter(|extra| extra.0);
    let files = extras.map(|extra| extra.1);
    files.chain([LOAD, PROGRAM, PROGRAM_REFUSED])
}

/// Policy files of a standby, in the same order.
const OF_STANDBY: [File; 5] = [LOAD, STANDBY, STANDBY_REFUSED, PROGRAM, PROGRAM_REFUSED];

/// A policy file: name and contents.
type File = (&'static str, &'static str);

const LOAD: File = ("zygote-load.toml", include_str!("policy/zygote-load.toml"));
const FORK: File = ("zygote-fork.toml", include_str!("policy/zygote-fork.toml"));
const PROGRAM: File = ("program.toml", include_str!("policy/program.toml"));
const PROGRAM_SIGNALS: File = (
    "program-signals.toml",
    include_str!("policy/program-signals.toml"),
);
const PROGRAM_NETWORK: File = (
    "program-network.toml",
    include_str!("policy/program-network.toml"),
);
const PROGRAM_JIT: File = ("program-jit.toml", include_str!("policy/program-jit.toml"));
const PROGRAM_REFUSED: File = (
    "program-refused.toml",
    include_str!("policy/program-refused.toml"),
);
const PROGRAM_START: File = (
    "program-start.toml",
    include_str!("policy/program-start.toml"),
);
const PROGRAM_HOST: File = (
    "program-host.toml",
    include_str!("policy/program-host.toml"),
);
const STANDBY: File = ("standby.toml", include_str!("policy/standby.toml"));
const STANDBY_REFUSED: File = (
    "standby-refused.toml",
    include_str!("policy/standby-refused.toml"),
);
const STANDBY_HOST: File = (
    "standby-host.toml",
    include_str!("policy/standby-host.toml"),
);
const JOB: File = ("job.toml", include_str!("policy/job.toml"));
const NETWORK: File = ("network.toml", include_str!("policy/network.toml"));
const NETWORK_REFUSED: File = (
    "network-refused.toml",
    include_str!("policy/network-refused.toml"),
);

/// An impossible statement in a policy file. The files are part of the binary, so this is a mistake
/// in the build.
#[derive(Debug, thiserror::Error)]
#[error("the policy {file} of this build is wrong: {what}; install another build of stt-isolated")]
pub struct PolicyError {
    file: &'static str,
    what: String,
}

/// The treatment of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The kernel runs the call.
    Allow,
    /// The call is not run and returns this error.
    Errno(u16),
    /// The call is a violation.
    Trap,
}

/// One rule by which a system call is allowed or answered: all its conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
}

/// A condition on one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// Number of the argument, from 0.
    pub(super) argument: u8,
    /// True if the upper 32 bits must be zero, except where `mask` hides them.
    pub(super) wide: bool,
    /// Bits that are compared; `None` for all.
    pub(super) mask: Option<u32>,
    /// Values to compare with.
    pub(super) values: Vec<u32>,
    /// True if the argument must be one of the values; false if it must be none of them.
    pub(super) equal: bool,
}

/// For each system call number its rules. The first rule that matches decides. A call that is not
/// listed, or matches no rule, is a violation.
pub(super) type Rules = BTreeMap<u32, Vec<Rule>>;

/// All policies of one profile.
#[derive(Debug)]
pub(super) struct Policy {
    /// For each stage the rules of its own files.
    stages: [Rules; 3],
}

impl Policy {
    /// Read the policies of this build for processes of this profile. With `standby`, each job has
    /// a program that it can start.
    pub(super) fn load(profile: Profile, standby: bool) -> Result<Self, PolicyError> {
        let mut stages = [Rules::new(), Rules::new(), Rules::new()];
        for (stage, all) in Stage::ALL.into_iter().zip(&mut stages) {
            *all = read(stage.files(profile, standby))?;
        }
        Ok(Self { stages })
    }

    /// Rules for a standby.
    pub(super) fn of_standby() -> Result<Rules, PolicyError> {
        read(OF_STANDBY)
    }

    /// Rules for the program of an engine "exec". `signals` is true if Landlock keeps its signals
    /// in.
    pub(super) fn of_program(
        network: bool,
        jit: bool,
        signals: bool,
    ) -> Result<Rules, PolicyError> {
        read(of_program(network, jit, signals))
    }

    /// All rules of `stage`, with those of the later stages.
    pub(super) fn rules(&self, stage: Stage) -> Rules {
        let mut all = Rules::new();
        // The file of the earlier stage comes first: it may allow a call that a later one only
        // answers (clone3).
        for (of, rules) in Stage::ALL.iter().zip(&self.stages) {
            if *of >= stage {
                for (call, rules) in rules {
                    all.entry(*call).or_default().extend(rules.iter().cloned());
                }
            }
        }
        all
    }

    /// The difference between two stages: every call whose rules change, with the rules that remain
    /// (an empty list if it becomes forbidden).
    pub(super) fn changes(&self, before: Stage, now: Stage) -> Rules {
        let before = self.rules(before);
        let now = self.rules(now);
        let mut changes = Rules::new();
        for (call, rules) in before {
            let rest = now.get(&call).cloned().unwrap_or_default();
            if rest != rules {
                changes.insert(call, rest);
            }
        }
        changes
    }
}

/// Combine these files. If two files have rules for a call, those of the earlier file come first.
fn read(files: impl IntoIterator<Item = File>) -> Result<Rules, PolicyError> {
    let mut all = Rules::new();
    for (file, text) in files {
        let rules = parse(text).map_err(|what| PolicyError { file, what })?;
        for (call, rules) in rules {
            all.entry(call).or_default().extend(rules);
        }
    }
    Ok(all)
}

/// A table of a policy file, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    why: String,
    #[serde(default)]
    when: Vec<Written>,
    errno: Option<String>,
}

/// A condition, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    int: Option<u8>,
    long: Option<u8>,
    mask: Option<Value>,
    is: Option<Values>,
    is_not: Option<Values>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Values {
    One(Value),
    Many(Vec<Value>),
}

/// A number, or names joined by `|`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    Number(u32),
    Names(String),
}

impl Value {
    fn resolve(&self) -> Result<u32, String> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Names(names) => names.split('|').try_fold(0, |bits, name| {
                let name = name.trim();
                let value = constants::value(name).ok_or(format!("{name} is no known constant"))?;
                Ok(bits | value)
            }),
        }
    }
}

impl Values {
    fn resolve(&self) -> Result<Vec<u32>, String> {
        match self {
            Self::One(value) => Ok(vec![value.resolve()?]),
            Self::Many(values) => values.iter().map(Value::resolve).collect(),
        }
    }
}

impl Written {
    fn resolve(&self) -> Result<Condition, String> {
        let (argument, wide) = match (self.int, self.long) {
            (Some(argument), None) => (argument, false),
            (None, Some(argument)) => (argument, true),
            _ => return Err("a condition needs either `int` or `long`".into()),
        };
        if argument > 5 {
            return Err("a system call has the arguments 0 to 5".into());
        }
        let (values, equal) = match (&self.is, &self.is_not) {
            (Some(values), None) => (values.resolve()?, true),
            // With 64 bits a stray upper bit would already make a difference, and the kernel might
            // ignore it.
            (None, Some(values)) if !wide => (values.resolve()?, false),
            _ => return Err("a condition needs either `is` or, with `int`, `is_not`".into()),
        };
        Ok(Condition {
            argument,
            wide,
            mask: self.mask.as_ref().map(Value::resolve).transpose()?,
            values,
            equal,
        })
    }
}

fn parse(text: &str) -> Result<Rules, String> {
    let entries: BTreeMap<String, Entry> = toml::from_str(text).map_err(|e| e.to_string())?;
    let mut rules = Rules::new();
    for (name, entry) in entries {
        let rule = rule(&entry).map_err(|what| format!("{name}: {what}"))?;
        match name.parse::<Sysno>() {
            Ok(call) => {
                rules.insert(number(call), vec![rule]);
            }
            // Machines differ: newer ones do not have `dup2`, and only x86 has `arch_prctl`.
            Err(()) if is_call_elsewhere(&name) => {}
            Err(()) => return Err(format!("{name} is no system call")),
        }
    }
    Ok(rules)
}

fn rule(entry: &Entry) -> Result<Rule, String> {
    if entry.why.is_empty() {
        return Err("`why` is empty".into());
    }
    let action = match &entry.errno {
        None => Action::Allow,
        Some(name) => {
            Action::Errno(constants::errno(name).ok_or(format!("{name} is no known error"))?)
        }
    };
    let conditions = entry.when.iter().map(Written::resolve);
    Ok(Rule {
        conditions: conditions.collect::<Result<_, _>>()?,
        action,
    })
}

/// Number of a system call; all are far below 2³¹.
pub(super) fn number(call: Sysno) -> u32 {
    u32::try_from(call.id()).unwrap_or(u32::MAX)
}

fn is_call_elsewhere(name: &str) -> bool {
    name.parse::<syscalls::x86_64::Sysno>().is_ok()
        || name.parse::<syscalls::aarch64::Sysno>().is_ok()
}
