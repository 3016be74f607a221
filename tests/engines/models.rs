//! The models directory: what is put there is served after a reload, and `sttctl model` puts there
//! what is good.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::common::{
    LONG,
    clips::GOFORWARD,
    daemon::{BINARY, Daemon, Setup},
    ggml::{Ggml, segment},
    http::Form,
    user, wait_for, wait_until,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use tempfile::TempDir;

/// Settings for models that need not be quick: no spares, and one thread for each job.
const QUIET: &str = "[spares]\nmin = 0\nmax = 0\n[limits]\ncpus = 1.0\n";

/// Names of the default model.
const DEFAULT: [&str; 6] = [
    "default",
    "whisper-1",
    "gpt-4o-mini-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-transcribe-diarize",
    "gpt-transcribe",
];

/// Writes a model that hears `text` in everything.
fn write(file: &Path, text: &'static str) {
    Ggml::english(segment(0.0, text, 2.0)).write(file);
}

/// Tells the daemon to reload, and waits for what it says in the end; the log from there on.
#[track_caller]
fn reload(daemon: &Daemon) -> String {
    let before = daemon.log().len();
    daemon.signal(Signal::SIGHUP);
    wait_for("the reload is over", LONG, || {
        let log = daemon.log()[before..].to_owned();
        let over = log.contains("reload: done") || log.contains("stays in force");
        over.then_some(log)
    })
}

fn names(daemon: &Daemon) -> Vec<String> {
    let models = daemon.get("/v1/models").json();
    let models = models["data"].as_array().unwrap().iter();
    models
        .map(|model| model["id"].as_str().unwrap().to_owned())
        .collect()
}

fn said(daemon: &Daemon, model: &str) -> String {
    let form = Form::of("a.wav", &GOFORWARD.wav()).field("model", model);
    daemon.post(&form).text().to_owned()
}

#[test]
fn a_reload_serves_new_files() {
    let daemon = Daemon::start(QUIET);
    let models = daemon.folder().join("models");
    assert_eq!(names(&daemon), DEFAULT);
    fs::create_dir(&models).unwrap();
    write(&models.join("tiny.en.bin"), "go forward");
    fs::write(models.join("broken.bin"), "no model at all").unwrap();
    fs::write(models.join("README"), "").unwrap();
    symlink(models.join("tiny.en.bin"), models.join("link.bin")).unwrap();
    nix::unistd::mkfifo(&models.join("fifo.bin"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Until then nobody looks.
    assert_eq!(names(&daemon), DEFAULT);

    let log = reload(&daemon);
    assert!(log.contains("models added: broken, tiny.en"), "{log}");
    for line in [
        "\"README\" in the models directory",
        "\"link.bin\" in the models directory",
        "\"fifo.bin\" in the models directory",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
    assert_eq!(
        names(&daemon),
        [&["broken"], &DEFAULT[..], &["tiny.en"]].concat()
    );
    assert_eq!(said(&daemon, "tiny.en"), "go forward");
    assert_eq!(said(&daemon, ""), GOFORWARD.text);
    // A bad file is told of, and costs nobody else anything.
    let ready = daemon.get("/readyz").json();
    let reason = ready["models"]["broken"]["reason"].as_str().unwrap();
    assert!(reason.contains("it is no model of whisper.cpp"), "{reason}");
    assert_eq!(ready["models"]["tiny.en"]["status"], "ready");
    let sttctl = Command::new(env!("CARGO_BIN_EXE_sttctl"))
        .args(["models", "--socket"])
        .arg(daemon.socket())
        .output();
    let table = done(&sttctl.unwrap());
    println!("{table}");
    let row = |name: &str| {
        let line = table
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap().split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(
        row("broken")[..6],
        ["broken", "failed", "whisper", "process", "-", "-"]
    );
    let tiny = row("tiny.en");
    assert_eq!(tiny[..4], ["tiny.en", "ready", "whisper", "process"]);
    // Its zygote's memory, and the most of a job's, of its limit.
    assert!(tiny[4].ends_with('M') && tiny[6].ends_with('M'), "{tiny:?}");
    assert_eq!(
        (tiny[7..].join(" "), row("default")[9]),
        ("of 512M".into(), "whisper-1,")
    );
    assert!(
        table.contains("! model broken is not ready (failed): the model "),
        "{table}"
    );

    // A message is not repeated; a model that is gone is gone.
    fs::remove_file(models.join("tiny.en.bin")).unwrap();
    fs::remove_file(models.join("broken.bin")).unwrap();
    let log = reload(&daemon);
    assert!(log.contains("models removed: broken, tiny.en"), "{log}");
    assert!(!log.contains("in the models directory"), "{log}");
    assert_eq!(daemon.get("/readyz").status, 200);
}

#[test]
fn the_configuration_comes_first() {
    let folder = TempDir::new().unwrap();
    write(&folder.path().join("small.bin"), "go forward");
    write(&folder.path().join("default.bin"), "ten meters");
    let config = format!(
        "models_directory = {:?}\ndefault_model = \"small\"\naliases.other = \"small\"\n{QUIET}",
        folder.path()
    );
    let daemon = Setup::new(&config).start();
    let log = daemon.log();
    assert!(
        log.contains("the configuration has `default` itself"),
        "{log}"
    );
    for model in ["", "small", "other"] {
        assert_eq!(said(&daemon, model), "go forward");
    }
    assert_eq!(said(&daemon, "whisper-1"), GOFORWARD.text);
}

#[test]
fn a_replaced_file_is_loaded_anew() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("small.bin");
    write(&file, "go forward");
    let config = format!("models_directory = {:?}\n{QUIET}[models]\n", folder.path());
    let daemon = Setup::new(&config).start();
    assert_eq!(said(&daemon, "small"), "go forward");
    let log = reload(&daemon);
    assert!(log.contains("the models are as they were"), "{log}");

    write(&folder.path().join(".new"), "ten meters");
    fs::rename(folder.path().join(".new"), &file).unwrap();
    let log = reload(&daemon);
    assert!(log.contains("models changed: small"), "{log}");
    assert_eq!(said(&daemon, "small"), "ten meters");

    fs::write(folder.path().join(".new"), "damaged").unwrap();
    fs::rename(folder.path().join(".new"), &file).unwrap();
    let log = reload(&daemon);
    assert!(log.contains("small goes on with its old settings"), "{log}");
    assert_eq!(said(&daemon, "small"), "ten meters");
}

/// A models directory and a folder for other files, both readable by other users: a model is tried
/// as the user that owns its folder.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("models")).unwrap();
        Place { folder }
    }

    fn models(&self) -> PathBuf {
        self.folder.path().join("models")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All files in the models directory, hidden or not.
    fn installed(&self) -> Vec<String> {
        let entries = fs::read_dir(self.models()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sttctl"));
        command.current_dir(self.folder.path()).arg("model");
        command.env("STT_ISOLATED_MODELS_DIRECTORY", self.models());
        // One thread, since several spin where other things run at the same time.
        command.env("STT_ISOLATED_LIMITS__CPUS", "1.0");
        command
    }

    fn model(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// Must fail with these words, and leave the models directory as it was.
    #[track_caller]
    fn refuses(&self, arguments: &[&str], words: &str) {
        let before = self.installed();
        let output = self.model(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains(words) && error.lines().count() == 1,
            "{error}"
        );
        assert_eq!((output.stdout.len(), self.installed()), (0, before));
        println!("{}", error.trim_end());
    }
}

#[track_caller]
fn done(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn sum(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    done(&output)[..64].to_owned()
}

#[test]
fn install_and_reload_serve_a_model() {
    let place = Place::new();
    let config = format!("models_directory = {:?}\n{QUIET}", place.models());
    let daemon = Setup::new(&config).start();
    let file = place.file("ggml-tiny.en.bin");
    write(&file, "go forward");
    let sum = sum(&file);
    let output = done(&place.model(&[
        "install",
        "ggml-tiny.en.bin",
        "--sha256",
        &sum.to_uppercase(),
    ]));
    assert!(
        output.contains(&sum) && output.contains("systemctl reload"),
        "{output}"
    );
    let installed = place.models().join("ggml-tiny.en.bin");
    assert_eq!(fs::read(&installed).unwrap(), fs::read(&file).unwrap());
    assert_eq!(
        fs::metadata(&installed).unwrap().permissions().mode() & 0o7777,
        0o644
    );
    reload(&daemon);
    assert_eq!(said(&daemon, "ggml-tiny.en"), "go forward");

    // Another one in its place.
    write(&file, "ten meters");
    place.refuses(
        &["install", "ggml-tiny.en.bin"],
        "there is a model `ggml-tiny.en` already",
    );
    done(&place.model(&["install", "ggml-tiny.en.bin", "--force"]));
    done(&place.model(&["install", "ggml-tiny.en.bin", "--name", "tiny"]));
    reload(&daemon);
    for model in ["ggml-tiny.en", "tiny"] {
        assert_eq!(said(&daemon, model), "ten meters");
    }
    done(&place.model(&["remove", "tiny"]));
    assert_eq!(place.installed(), ["ggml-tiny.en.bin"]);
    let log = reload(&daemon);
    assert!(log.contains("models removed: tiny"), "{log}");
    place.refuses(&["remove", "tiny"], "there is no ");
}

#[test]
fn a_bad_file_is_refused_with_reasons() {
    let place = Place::new();
    write(&place.file("whole.bin"), "go forward");
    let whole = fs::read(place.file("whole.bin")).unwrap();
    fs::write(place.file("cut.bin"), &whole[..whole.len() - 100]).unwrap();
    // A kind of weights that the library has a name for and no code: it aborts, in its zygote.
    let mut aborts = whole.clone();
    aborts[44..48].copy_from_slice(&6_i32.to_le_bytes());
    fs::write(place.file("aborts.bin"), aborts).unwrap();
    fs::write(place.file("empty.bin"), "").unwrap();
    fs::create_dir(place.models().join("folder")).unwrap();
    symlink("/no/where", place.models().join("link.bin")).unwrap();
    let wrong = "0".repeat(64);
    for (arguments, words) in [
        (
            &["cut.bin"][..],
            "sttctl: cut.bin: it cannot be served: the model cut.bin cannot be used: it ends in the middle",
        ),
        (&["aborts.bin"], "SIGABRT"),
        (&["empty.bin"], "it is empty"),
        (&["whole.bin", "--sha256", &wrong], "not 0000"),
        (
            &["whole.bin", "--name", "folder"],
            "models/folder is no file",
        ),
        (
            &["whole.bin", "--name", "link", "--force"],
            "models/link.bin is no file",
        ),
        (
            &["missing.bin"],
            "sttctl: missing.bin: cannot read it: No such file",
        ),
        (&["models"], "not a regular file"),
        (
            &["whole.bin", "--directory", "nowhere"],
            "cannot write into nowhere: No such file",
        ),
        (
            &["whole.bin", "--directory", "whole.bin"],
            "cannot write into whole.bin: Not a directory",
        ),
    ] {
        place.refuses(&[&["install"], arguments].concat(), words);
    }
    place.refuses(&["remove", "folder"], "models/folder is no file");
    for arguments in [
        ["install", "whole.bin", "--sha256", "abc"],
        ["install", "whole.bin", "--name", "a/b"],
        ["install", "whole.bin", "--name", ".hidden"],
        ["remove", "whole", "--name", "x"],
    ] {
        assert_eq!(
            place.model(&arguments).status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
    let spaces = place.file("a b.bin");
    fs::rename(place.file("whole.bin"), spaces).unwrap();
    place.refuses(&["install", "a b.bin"], "choose one with --name");
}

#[test]
fn lack_of_permission_is_told() {
    let place = Place::new();
    write(&place.file("whole.bin"), "go forward");
    fs::set_permissions(place.models(), Permissions::from_mode(0o555)).unwrap();
    let sttctl = place.command();
    let mut command = Command::new("setpriv");
    // Root may write anywhere, unless it is made like others.
    if geteuid().is_root() {
        command.args(["--bounding-set", "-dac_override,-dac_read_search"]);
    }
    command.arg(sttctl.get_program()).args(sttctl.get_args());
    command
        .args(["install", "whole.bin"])
        .current_dir(place.folder.path());
    command.env("STT_ISOLATED_MODELS_DIRECTORY", place.models());
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("models: Permission denied (os error 13)"),
        "{error}"
    );
    assert!(error.contains("run this as root"), "{error}");
    assert_eq!(
        (output.status.code(), place.installed().len()),
        (Some(1), 0)
    );
}

#[test]
fn an_interrupted_install_leaves_nothing() {
    let place = Place::new();
    // Long enough to be caught in the middle of it.
    File::create(place.file("long.bin"))
        .unwrap()
        .set_len(4 << 30)
        .unwrap();
    for (signal, times) in [(Signal::SIGINT, 2), (Signal::SIGTERM, 1)] {
        for _ in 0..times {
            let mut command = place.command();
            command.args(["install", "long.bin"]).stderr(Stdio::piped());
            let child = command.spawn().unwrap();
            wait_until("it copies", LONG, || place.installed().len() == 1);
            kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
            let output = child.wait_with_output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(
                error.contains("interrupted, nothing was installed"),
                "{error}"
            );
            assert_eq!(
                (output.status.code(), place.installed().len()),
                (Some(130), 0)
            );
        }
    }
}

#[test]
fn check_model_needs_no_service() {
    let place = Place::new();
    write(&place.file("whole.bin"), "go forward");
    let check = |config: &str, model: &str| {
        fs::write(place.file("c.toml"), config).unwrap();
        let mut command = Command::new(BINARY);
        command.args(["check-model", "--config", "c.toml", model]);
        command.env("STT_ISOLATED_LIMITS__CPUS", "1.0");
        command.current_dir(place.folder.path()).output().unwrap()
    };
    let said = |output: &Output| String::from_utf8(output.stderr.clone()).unwrap();
    // The configuration's own models play no part, nor does a name that is still to come.
    let config = "default_model = \"whole\"\naliases.x = \"whole\"\nisolation.mode = \"thread\"";
    let output = check(config, "whole.bin");
    assert_eq!(
        (output.status.code(), said(&output).as_str()),
        (Some(0), "")
    );
    // Its limits do.
    let output = check("limits.memory = \"1K\"", "whole.bin");
    assert_eq!(output.status.code(), Some(78));
    assert!(
        said(&output).contains("c.toml:1: limits.memory"),
        "{}",
        said(&output)
    );
    for (model, words) in [
        (
            "c.toml",
            "is no model that can be served: the name of a model's file ends in .bin",
        ),
        (
            "missing.bin",
            "is no model that can be served: No such file",
        ),
        (
            ".",
            "a folder that is a model (for vosk) has the folders am, conf, graph",
        ),
    ] {
        let output = check("", model);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
    // Root gives up being root: only who owns this folder can open it.
    if user::are_possible() {
        let own = place.file("own");
        fs::create_dir(&own).unwrap();
        fs::copy(place.file("whole.bin"), own.join("whole.bin")).unwrap();
        fs::set_permissions(&own, Permissions::from_mode(0o700)).unwrap();
        let try_it = |owner: u32| {
            chown(&own, Some(owner), Some(owner)).unwrap();
            check("", "own/whole.bin")
        };
        let output = try_it(4242);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        // Of root's own folder it becomes nobody, who may not look into it.
        let output = try_it(0);
        assert!(
            said(&output).contains("Permission denied"),
            "{}",
            said(&output)
        );
    }
}
