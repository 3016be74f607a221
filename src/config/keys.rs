//! The table `[clients.keys]`, and the file that it names: who may ask over TCP.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::share::ShareOverride;
use crate::{
    problems::Problems,
    request::{Digest, KeyLine, KeyName},
};

/// Most keys. Each has its turns, and each request is compared with all of them.
const MAX_KEYS: usize = 1000;

/// Largest file, in bytes: room for the keys and far more comments.
const MAX_SIZE: u64 = 4 << 20;

/// Most mistakes in the file that are told one by one.
const MAX_TOLD: usize = 10;

/// Longest key of a client, in bytes; ours have 68. Longer ones are not even compared.
const MAX_KEY: usize = 512;

/// The table `[clients.keys]`: where the keys stand, and caps for some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeysTable {
    /// The file of the keys. At most one of this and `credential` is set; without both there are
    /// no keys.
    pub file: PathBuf,
    /// Name of the systemd credential that holds the same.
    pub credential: String,
    /// Caps for a key, by its name.
    pub caps: BTreeMap<String, ShareOverride>,
}

/// The keys that clients over TCP may show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    lines: Vec<KeyLine>,
    caps: BTreeMap<KeyName, ShareOverride>,
}

impl Keys {
    /// The name and the own caps of `key`; `None` if it is not among these.
    ///
    /// It takes as long for every key of the same length: the digests are compared bit by bit, and
    /// with all lines.
    pub fn find(&self, key: &[u8]) -> Option<(&KeyName, ShareOverride)> {
        let digest = Digest::of(key.get(..MAX_KEY).unwrap_or(key));
        let mut place = u32::MAX;
        for (number, line) in (0..u32::MAX).zip(&self.lines) {
            place.conditional_assign(&number, line.digest.0.ct_eq(&digest.0));
        }
        let line = self.lines.get(place as usize)?;
        // A key that was cut off must not pass for its beginning.
        let name = (key.len() <= MAX_KEY).then_some(&line.name)?;
        Some((name, self.caps.get(name).copied().unwrap_or_default()))
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// Warnings about caps for names that no key has.
    fn remarks(&self) -> Vec<String> {
        let known = |name: &KeyName| self.lines.iter().any(|line| line.name == *name);
        let strangers = self.caps.keys().filter(|name| !known(name));
        strangers
            .map(|name| format!("clients.keys.caps.{name}: no key has this name"))
            .collect()
    }
}

/// The keys that `table` tells of, `None` if it names no place; and warnings. `credentials` is
/// systemd's folder of the service's credentials. The present table of `problems` is `[clients]`.
pub(super) fn resolve(
    table: &KeysTable,
    credentials: Option<&Path>,
    problems: &mut Problems,
) -> (Option<Keys>, Vec<String>) {
    problems.within(&["keys"], |problems| {
        let mut caps = BTreeMap::new();
        for (name, of_name) in &table.caps {
            match KeyName::new(name) {
                Some(name) => drop(caps.insert(name, *of_name)),
                None => problems.within(&["caps"], |problems| {
                    problems.add(name, "no key can have this name");
                }),
            }
        }
        let named = !table.file.as_os_str().is_empty();
        let (key, path) = match (named, table.credential.as_str(), credentials) {
            (false, "", _) => return (None, Vec::new()),
            (true, "", _) => ("file", table.file.clone()),
            (false, name, _) if name.contains('/') || name.starts_with('.') => {
                problems.add("credential", "the name of a credential has no `/`, and no `.` in front");
                return (None, Vec::new());
            }
            (false, name, Some(folder)) => ("credential", folder.join(name)),
            // Only the service itself gets credentials, so `check-config` cannot look.
            (false, name, None) => {
                let remark = format!(
                    "clients.keys.credential: systemd passes no credentials here, so no key is known \
                     (LoadCredential={name}:… in the unit)"
                );
                return (Some(Keys::default()), vec![remark]);
            }
            (true, ..) => {
                problems.add("credential", "`file` names the keys already: set one of both");
                return (None, Vec::new());
            }
        };
        let lines = read(&path).and_then(|text| parse(&text));
        match lines {
            Ok(lines) => {
                let keys = Keys { lines, caps };
                let remarks = keys.remarks();
                (Some(keys), remarks)
            }
            Err(mistakes) => {
                for what in mistakes {
                    problems.add(key, format!("{}{what}", path.display()));
                }
                (None, Vec::new())
            }
        }
    })
}

/// The text of the file at `path`, if nobody but its owner may change it and no stranger read it.
///
/// # Errors
/// The end of a sentence that begins with the path.
fn read(path: &Path) -> Result<String, Vec<String>> {
    let fault = |error: io::Error| vec![format!(" cannot be read: {error}")];
    // Opening a FIFO must not wait.
    let options = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .to_owned();
    let file: File = options.open(path).map_err(fault)?;
    let state = file.metadata().map_err(fault)?;
    if !state.is_file() {
        return Err(vec![" is no file".into()]);
    }
    let mode = state.mode() & 0o777;
    let open_to = match mode {
        mode if mode & 0o007 != 0 => Some("everybody on this machine"),
        mode if mode & 0o020 != 0 => Some("its group, which may change it"),
        _ => None,
    };
    if let Some(whom) = open_to {
        return Err(vec![format!(
            " is open to {whom} (mode {mode:03o}): chmod 640 it, with the service's group"
        )]);
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(fault)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(vec![format!(" is larger than {} MiB", MAX_SIZE >> 20)]);
    }
    String::from_utf8(bytes).map_err(|_| vec![" is no text".into()])
}

/// The lines of the file that are neither empty nor comments.
///
/// # Errors
/// All mistakes, each the end of a sentence that begins with the path. None of them quotes the
/// file, because a key may stand in it by mistake.
fn parse(text: &str) -> Result<Vec<KeyLine>, Vec<String>> {
    let mut lines = Vec::new();
    let mut names = BTreeMap::new();
    let mut digests = BTreeMap::new();
    let mut mistakes = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let read = KeyLine::parse(line)
            .map_err(str::to_owned)
            .and_then(|line| {
                let named = *names.entry(line.name.clone()).or_insert(number);
                let hashed = *digests.entry(line.digest).or_insert(number);
                match (named == number, hashed == number) {
                    (true, true) => Ok(line),
                    (false, _) => Err(format!(
                        "line {named} has the same name: each key needs its own"
                    )),
                    (true, false) => Err(format!(
                        "line {hashed} has the same hash: it is the same key under another name"
                    )),
                }
            });
        match read {
            Ok(line) => lines.push(line),
            Err(what) => mistakes.push(format!(":{number}: {what}")),
        }
    }
    if lines.len() > MAX_KEYS {
        let count = lines.len();
        mistakes.insert(
            0,
            format!(" has {count} keys: at most {MAX_KEYS} are served"),
        );
    }
    if lines.is_empty() && mistakes.is_empty() {
        let what = " holds no key: `sttctl key new NAME` makes one and prints its line; to serve without keys, \
                    remove clients.keys";
        mistakes.push(what.into());
    }
    if mistakes.len() > MAX_TOLD {
        let more = mistakes.len() - MAX_TOLD;
        mistakes.truncate(MAX_TOLD);
        mistakes.push(format!(": {more} more lines are wrong"));
    }
    if mistakes.is_empty() {
        Ok(lines)
    } else {
        Err(mistakes)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::config::Config;

    /// The configuration `text`, by which systemd passed the credentials in `folder`.
    fn load(text: &str, folder: Option<&Path>) -> Result<Config, String> {
        let folder = folder.map(|folder| folder.display().to_string());
        let environment = folder.map(|folder| ("CREDENTIALS_DIRECTORY".to_owned(), folder));
        let config = Config::of(Path::new("t.toml"), text, environment.into_iter());
        config.map_err(|error| error.to_string())
    }

    fn folder(lines: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::write(&path, lines).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o440)).unwrap();
        folder
    }

    fn line(name: &str, key: &str) -> String {
        let (name, digest) = (KeyName::new(name).unwrap(), Digest::of(key.as_bytes()));
        format!("{}\n", KeyLine { name, digest })
    }

    #[test]
    fn a_credential_has_keys_and_each_has_its_caps() {
        let folder = folder(&(line("a", "of a") + &line("b", "of b")));
        let text = "[clients]\nmax_running = 3\n[clients.keys]\ncredential = \"keys\"\n\
                    [clients.keys.caps]\nb = { max_running = 1 }\nc = { max_queued = 1 }";
        let config = load(text, Some(folder.path())).unwrap();
        let access = &config.clients;
        assert_eq!(access.keys(), Some(2));
        let of = |key: &str| {
            let (name, share) = access.of_key(key.as_bytes())?;
            Some((name.to_string(), share.max_running, share.max_queued))
        };
        assert_eq!(of("of a"), Some(("a".into(), 3, 128)));
        assert_eq!(of("of b"), Some(("b".into(), 1, 128)));
        for wrong in ["", "of c", "of a ", "OF A", &"k".repeat(5000)] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(
            config.remarks,
            ["clients.keys.caps.c: no key has this name"]
        );
        // A client with a key needs to be on no list of users.
        let listed = text.replace("[clients]\n", "[clients]\nallow_users = [\"root\"]\n");
        let access = load(&listed, Some(folder.path())).unwrap().clients;
        assert!(access.of_network().is_none() && access.of_key(b"of a").is_some());
    }

    #[test]
    fn a_key_that_is_longer_than_any_does_not_pass_for_its_beginning() {
        let longest = "k".repeat(MAX_KEY);
        let folder = folder(&line("a", &longest));
        let config = load("clients.keys.credential = \"keys\"", Some(folder.path())).unwrap();
        let access = config.clients;
        assert!(access.of_key(longest.as_bytes()).is_some());
        assert!(access.of_key(format!("{longest}k").as_bytes()).is_none());
    }

    #[test]
    fn without_a_place_no_key_is_asked_for_and_without_credentials_none_is_known() {
        let config = load("", None).unwrap();
        assert_eq!((config.clients.keys(), config.remarks.len()), (None, 0));
        let config = load("clients.keys.credential = \"keys\"", None).unwrap();
        assert_eq!(config.clients.keys(), Some(0));
        assert!(
            config.remarks[0].contains("LoadCredential=keys"),
            "{:?}",
            config.remarks
        );
    }

    #[test]
    fn a_place_that_holds_no_keys_is_a_mistake() {
        let folder = folder("");
        nix::unistd::mkfifo(&folder.path().join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        fs::write(folder.path().join("bytes"), b"\xff").unwrap();
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(folder.path().join("bytes"), mode).unwrap();
        for (keys, expected) in [
            (
                "credential = \"keys\"\nfile = \"/x\"",
                "credential: `file` names the keys already",
            ),
            (
                "credential = \"../keys\"",
                "credential: the name of a credential",
            ),
            ("credential = \"none\"", "none cannot be read: No such file"),
            ("credential = \"fifo\"", "fifo is no file"),
            ("credential = \"bytes\"", "bytes is no text"),
            ("file = \"/\"", "file: / is no file"),
            ("caps.\"a b\" = {}", "caps.a b: no key can have this name"),
            ("keys = []", "unknown field"),
        ] {
            let error = load(&format!("[clients.keys]\n{keys}"), Some(folder.path())).unwrap_err();
            assert!(
                error.starts_with("t.toml:") && error.contains(expected),
                "{keys}: {error}"
            );
        }
    }
}
