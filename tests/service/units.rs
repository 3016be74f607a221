//! `systemd-analyze verify` finds nothing wrong with the units and their drop-ins.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

fn systemd() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

/// The units of `folder` in a folder of their own, with the program that this test has for the one
/// installed.
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

/// The complaints of systemd about `unit`.
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

const UNITS: [&str; 4] = [
    "stt-isolated.service",
    "stt-isolated.socket",
    "stt-isolated-wyoming.socket",
    "stt-isolated-vosk.socket",
];

#[test]
fn systemd_accepts_the_units() {
    let units = units(&systemd());
    for unit in UNITS {
        assert_eq!(verify("system", units.path(), unit), "", "{unit}");
    }
}

#[test]
fn systemd_accepts_the_user_units() {
    let units = units(&systemd().join("user"));
    for unit in &UNITS[..2] {
        assert_eq!(verify("user", units.path(), unit), "", "{unit}");
    }
}

#[test]
fn systemd_accepts_every_drop_in() {
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
fn systemd_accepts_the_units_that_watch_a_folder() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    for manager in ["user", "system"] {
        let units = units(&examples);
        let service = units.path().join("stt-folder@.service");
        let text = fs::read_to_string(&service).unwrap();
        let installed = "/usr/bin/sttctl";
        assert!(text.contains(installed));
        fs::write(
            &service,
            text.replace(installed, env!("CARGO_BIN_EXE_sttctl")),
        )
        .unwrap();
        for kind in ["service", "path", "timer"] {
            let unit = format!("stt-folder@srv-new\\x20ones.{kind}");
            assert_eq!(
                verify(manager, units.path(), &unit),
                "",
                "{manager}, {kind}"
            );
        }
        // The options that it gives are those of the program.
        let command = text
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="));
        let options = command.unwrap().split(' ').skip(1);
        let output = Command::new(env!("CARGO_BIN_EXE_sttctl"))
            .args(options.map(|word| word.replace("%f", units.path().to_str().unwrap())))
            .output()
            .unwrap();
        // No recording is there, so nothing is asked of a service.
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

/// Runs the generator where `systemctl --version` begins with `version`; `None` if it makes
/// nothing.
fn generated(version: &str) -> Option<String> {
    let folder = TempDir::new().unwrap();
    let systemctl = folder.path().join("systemctl");
    fs::write(
        &systemctl,
        format!("#!/bin/sh\necho '{version}'\necho +PAM\n"),
    )
    .unwrap();
    fs::set_permissions(&systemctl, Permissions::from_mode(0o755)).unwrap();
    let status = Command::new(systemd().join("system-generators/stt-isolated"))
        .args(["normal", "early", "late"].map(|name| folder.path().join(name)))
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .status()
        .unwrap();
    assert!(status.success(), "{version}");
    let name = "normal/stt-isolated.service.d/10-private-users.conf";
    fs::read_to_string(folder.path().join(name)).ok()
}

#[test]
fn each_systemd_gets_its_user_namespace() {
    let users = |version| generated(version).map(|text| text.lines().last().unwrap().to_owned());
    assert_eq!(users("systemd 252 (252.39-1~deb12u2)"), None);
    assert_eq!(users("systemd 256 (256.17-1.fc41)"), None);
    assert_eq!(users("what is this"), None);
    let wanted = |value: &str| Some(format!("PrivateUsers={value}"));
    assert_eq!(users("systemd 257 (257.9-1~deb13u1)"), wanted("identity"));
    assert_eq!(users("systemd 258~rc1 (258~rc1-1)"), wanted("full"));
    assert_eq!(users("systemd 300 (300)"), wanted("full"));
}

#[test]
fn a_wrong_line_would_be_noticed() {
    let units = units(&systemd());
    let unit = units.path().join("stt-isolated.service");
    let text = fs::read_to_string(&unit).unwrap();
    fs::write(&unit, text.replace("Type=notify", "Type=notfiy")).unwrap();
    assert!(verify("system", units.path(), "stt-isolated.service").contains("notfiy"));
}
