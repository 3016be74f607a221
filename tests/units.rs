//! The units and the drop-ins beside them, as `systemd-analyze verify` reads them: not a word to say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

fn systemd() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

/// The units of `folder` in a folder of their own, with the program that this test has for the one installed.
fn units(folder: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.replace("/usr/bin/stt-isolated", env!("CARGO_BIN_EXE_stt-isolated"));
            fs::write(copy.path().join(path.file_name().unwrap()), text).unwrap();
        }
    }
    copy
}

/// What systemd says of `unit`.
fn verify(manager: &str, units: &Path, unit: &str) -> String {
    let search = format!("{}:/usr/lib/systemd/{manager}", units.display());
    let output = Command::new("systemd-analyze")
        .args([&format!("--{manager}"), "verify", "--man=no", unit])
        .env("SYSTEMD_UNIT_PATH", search)
        .env("XDG_RUNTIME_DIR", units)
        .output()
        .expect("install systemd");
    String::from_utf8(output.stderr).unwrap()
}

const UNITS: [&str; 3] = [
    "stt-isolated.service",
    "stt-isolated.socket",
    "stt-isolated-wyoming.socket",
];

#[test]
fn systemd_has_nothing_to_say_about_the_units() {
    let units = units(&systemd());
    for unit in UNITS {
        assert_eq!(verify("system", units.path(), unit), "", "{unit}");
    }
}

#[test]
fn systemd_has_nothing_to_say_about_a_users_own_units() {
    let units = units(&systemd().join("user"));
    for unit in &UNITS[..2] {
        assert_eq!(verify("user", units.path(), unit), "", "{unit}");
    }
}

#[test]
fn systemd_has_nothing_to_say_about_each_drop_in_and_all_together() {
    let all = units(&systemd());
    let mut count = 0;
    for unit in UNITS {
        let folder = systemd().join(format!("{unit}.d"));
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let name = name.strip_suffix(".example").unwrap();
            let one = units(&systemd());
            for copy in [&one, &all] {
                let folder = copy.path().join(format!("{unit}.d"));
                fs::create_dir_all(&folder).unwrap();
                fs::copy(&path, folder.join(name)).unwrap();
            }
            assert_eq!(verify("system", one.path(), unit), "", "{name}");
            // Each says itself where it goes.
            let place = format!("/etc/systemd/system/{unit}.d/{name}");
            assert!(
                fs::read_to_string(&path).unwrap().contains(&place),
                "{place}"
            );
            count += 1;
        }
    }
    assert!(count >= 3, "{count} drop-ins");
    for unit in UNITS {
        assert_eq!(
            verify("system", all.path(), unit),
            "",
            "{unit} with all drop-ins"
        );
    }
}

#[test]
fn a_wrong_line_would_be_noticed() {
    let units = units(&systemd());
    let unit = units.path().join("stt-isolated.service");
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(&unit, text.replace("Type=notify", "Type=notfiy")).unwrap();
    assert!(verify("system", units.path(), "stt-isolated.service").contains("notfiy"));
}
