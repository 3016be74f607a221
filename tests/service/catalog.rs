//! The kinds of events that the code tells and those that the journal's catalog explains: the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use stt_isolated::events;

fn catalog() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/journal/stt-isolated.catalog");
    fs::read_to_string(path).unwrap()
}

/// The text of each entry by its id.
fn entries(catalog: &str) -> BTreeMap<&str, &str> {
    let mut all = BTreeMap::new();
    for entry in catalog.split("\n-- ").skip(1) {
        let (id, text) = entry.split_once('\n').unwrap();
        assert!(all.insert(id, text).is_none(), "{id} is explained twice");
    }
    all
}

/// All of our own code but the list of the kinds itself.
fn code(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &code(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("events.rs")
        {
            all += &fs::read_to_string(path).unwrap();
        }
    }
    all
}

#[test]
fn ids_are_valid_and_unique() {
    let ids: BTreeSet<&str> = events::ALL.iter().map(|(_, id)| *id).collect();
    assert_eq!(ids.len(), events::ALL.len());
    for id in ids {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        assert!(id.len() == 32 && id.bytes().all(is_hex), "{id}");
    }
}

#[test]
fn exactly_every_kind_is_explained() {
    let catalog = catalog();
    let entries = entries(&catalog);
    let explained: BTreeSet<&str> = entries.keys().copied().collect();
    let known: BTreeSet<&str> = events::ALL.iter().map(|(_, id)| *id).collect();
    assert_eq!(explained, known);
    for (name, id) in events::ALL {
        let (head, text) = entries[id].split_once("\n\n").unwrap();
        assert!(head.starts_with("Subject: "), "{name}");
        assert!(head.contains("\nDefined-By: stt-isolated"), "{name}");
        // The meaning, and in another paragraph what to do.
        assert!(text.trim().contains("\n\n"), "{name}");
    }
}

#[test]
fn every_kind_is_used() {
    let code = code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let is_told = |name: &str| {
        let word = format!("events::{name}");
        code.match_indices(&word).any(|(index, _)| {
            let next = code[index + word.len()..].chars().next();
            next.is_some_and(|c| !c.is_alphanumeric() && c != '_')
        })
    };
    let names = events::ALL.iter().map(|(name, _)| *name);
    let silent: BTreeSet<&str> = names.filter(|name| !is_told(name)).collect();
    assert_eq!(silent, BTreeSet::new());
}

#[test]
fn every_field_shown_is_logged() {
    let code = code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    for field in catalog().split('@').skip(1).step_by(2) {
        let name = field.strip_prefix("STT_").unwrap().to_lowercase();
        let told = [
            format!(" {name} = "),
            format!(" {name},\n"),
            format!("({name},"),
        ];
        assert!(told.iter().any(|text| code.contains(text)), "{field}");
    }
}

#[test]
fn the_journal_takes_the_catalog() {
    let root = tempfile::TempDir::new().unwrap();
    let folder = root.path().join("usr/lib/systemd/catalog");
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(root.path().join("var/lib/systemd/catalog")).unwrap();
    fs::write(folder.join("stt-isolated.catalog"), catalog()).unwrap();
    let journalctl = |action: &str| {
        let mut command = Command::new("journalctl");
        command
            .arg(format!("--root={}", root.path().display()))
            .arg(action);
        let output = command.output().expect("install systemd");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        String::from_utf8(output.stdout).unwrap()
    };
    journalctl("--update-catalog");
    assert_eq!(
        journalctl("--list-catalog").lines().count(),
        events::ALL.len()
    );
}
