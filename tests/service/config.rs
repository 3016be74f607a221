//! Mistakes of an administrator, and where they are told; the settings in the environment.

use std::{
    fs,
    process::{Command, Output},
};

use crate::common::{
    clips::TEN_OF_CLUBS,
    daemon::{BINARY, Setup, serve_arguments},
};
use tempfile::TempDir;

/// sysexits.h: something in the configuration is wrong.
const EX_CONFIG: i32 = 78;

/// Runs `command` with a configuration file `c.toml` in its own folder and nothing else in the
/// environment.
fn run(command: &[&str], config: &str, environment: &[(&str, &str)]) -> Output {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("c.toml"), config).unwrap();
    let mut run = Command::new(BINARY);
    run.args(command).args(["--config", "c.toml"]);
    run.current_dir(folder.path()).env_clear();
    run.envs(environment.iter().copied()).output().unwrap()
}

/// Both ways to read a configuration must say exactly `lines`, each beginning so, on stderr, and
/// end with 78.
#[track_caller]
fn assert_mistakes(config: &str, environment: &[(&str, &str)], lines: &[&str]) {
    for command in [vec!["check-config"], serve_arguments()] {
        let output = run(&command, config, environment);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(EX_CONFIG), "{stderr}");
        assert!(output.stdout.is_empty());
        let stderr = stderr.strip_prefix("stt-isolated: ").unwrap();
        assert_eq!(stderr.lines().count(), lines.len(), "{stderr}");
        for (said, expected) in stderr.lines().zip(lines) {
            assert!(said.starts_with(expected), "{said}\n{expected}");
        }
    }
}

#[test]
fn each_mistake_has_its_line_and_key() {
    for (config, place) in [
        ("colour = 1", "c.toml:1: colour: unknown"),
        ("\n[jobs]\ncolour = 1", "c.toml:3: jobs.colour: unknown"),
        ("[colour]\na = 1", "c.toml:1: colour: unknown"),
        (
            "[models.a]\nengine = \"pocketsphinx\"\ncolour = 1",
            "c.toml:3: models.a.colour: unknown",
        ),
        (
            "[jobs]\n\nmax_running = \"four\"",
            "c.toml:3: jobs.max_running: invalid type",
        ),
        (
            "[jobs]\nmax_running = -1",
            "c.toml:2: jobs.max_running: invalid value",
        ),
        (
            "[isolation]\nrequire_cgroup = \"no\"",
            "c.toml:2: isolation.require_cgroup: invalid type",
        ),
        (
            "[isolation]\nmode = \"proces\"",
            "c.toml:2: isolation.mode: unknown variant `proces`",
        ),
        (
            "[models.a]\nengine = \"siri\"",
            "c.toml:2: models.a.engine: unknown variant `siri`",
        ),
        (
            "[models.a]\naliases = [\"b\"]",
            "c.toml:1: models.a: missing field `engine`",
        ),
        (
            "[limits]\nmemory = \"12X\"",
            "c.toml:2: limits.memory: `12X`",
        ),
        (
            "[http]\nbody_timeout = \"soon\"",
            "c.toml:2: http.body_timeout: `soon`",
        ),
        (
            "[http]\nbody_timeout = 5",
            "c.toml:2: http.body_timeout: invalid type",
        ),
        (
            "[http]\nbody_timeout = \"0s\"",
            "c.toml:2: http.body_timeout: must",
        ),
        (
            "[http]\nmax_connections = 0",
            "c.toml:2: http.max_connections: must",
        ),
        (
            "[http]\nspool_directory = \"/no/where\"",
            "c.toml:2: http.spool_directory: /no/where",
        ),
        (
            "[jobs]\nmax_running = 5000",
            "c.toml:2: jobs.max_running: at most",
        ),
        (
            "[limits]\nmemory = \"1M\"",
            "c.toml:2: limits.memory: a job needs",
        ),
        (
            "[service]\nidle_exit = \"1s\"",
            "c.toml:2: service.idle_exit: must be 0 or at least 3 s",
        ),
        ("[spares]\nmin = 5", "c.toml:2: spares.min: "),
        ("\n[spares]\nmax = 0", "c.toml:2: spares.min: "),
        (
            "# comment\ndefault_model = \"b\"",
            "c.toml:2: default_model: there is no model `b`",
        ),
        ("[jobs\nmax_running = 1", "c.toml:1: "),
        ("[jobs]\nmax_running = \"", "c.toml:2: "),
        ("[jobs]\nmax_running = 1\nmax_running = 2", "c.toml:3: "),
    ] {
        assert_mistakes(config, &[], &[place]);
    }
}

#[test]
fn all_impossible_values_are_told() {
    let config = r#"
        default_model = "a"
        [http]
        max_connections = 0
        [models.a]
        engine = "pocketsphinx"
        aliases = ["b", "not a name"]
        limits = { memory = "1K" }
        [models.b]
        engine = "pocketsphinx"
        [models.b.pocketsphinx]
        language_model = "/no/model.lm.bin"
        dictionary = "/no/words.dict"
    "#;
    let lines = [
        "c.toml:4: http.max_connections: must",
        "c.toml:8: models.a.limits.memory: a job needs",
        "c.toml:12: models.b.pocketsphinx.language_model: /no/model.lm.bin does not exist",
        "c.toml:13: models.b.pocketsphinx.dictionary: /no/words.dict does not exist",
        "c.toml:7: models.a.aliases: `b` already names",
        "c.toml:7: models.a.aliases: `not a name` is no model name",
    ];
    assert_mistakes(config, &[], &lines);
}

#[test]
fn a_mistake_in_a_variable_names_it() {
    for (name, value, place) in [
        (
            "STT_ISOLATED_JOBS__MAX_RUNNING",
            "many",
            "jobs.max_running: invalid type",
        ),
        (
            "STT_ISOLATED_JOBS__MAX_RUNNING",
            "5000",
            "jobs.max_running: at most",
        ),
        ("STT_ISOLATED_COLOUR", "blue", "colour: unknown"),
        ("STT_ISOLATED_JOBS", "1", "jobs: invalid type"),
        (
            "STT_ISOLATED_JOBS__MAX_RUNNING__X",
            "1",
            "jobs.max_running.x: ",
        ),
        (
            "STT_ISOLATED_LIMITS__MEMORY",
            "1M",
            "limits.memory: a job needs",
        ),
        ("STT_ISOLATED_SPARES__MIN", "9", "spares.min: "),
        (
            "USE_PROCESS_ISOLATION",
            "perhaps",
            "isolation.mode: `perhaps`",
        ),
    ] {
        let line = format!("environment variable {name}: {place}");
        let config = "[jobs]\nmax_running = 2\n[limits]\nmemory = \"100M\"";
        assert_mistakes(config, &[(name, value)], &[&line]);
    }
    // A variable does not mend the file, whose mistake is told with its line.
    let mend = [("STT_ISOLATED_JOBS__MAX_RUNNING", "2")];
    assert_mistakes(
        "[jobs]\nmax_running = \"x\"",
        &mend,
        &["c.toml:2: jobs.max_running: "],
    );
}

#[test]
fn an_unreadable_file_is_named() {
    let output = Command::new(BINARY)
        .args(["check-config", "--config", "/no/where.toml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(EX_CONFIG));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("/no/where.toml") && stderr.lines().count() == 1,
        "{stderr}"
    );
}

#[test]
fn a_correct_file_is_accepted_silently() {
    let full = concat!(env!("CARGO_MANIFEST_DIR"), "/config/stt-isolated.toml");
    let documented = fs::read_to_string(full).unwrap();
    let socket = ("STT_ISOLATED_SOCKET", "/run/x.sock");
    let size = ("STT_ISOLATED_LIMITS__MEMORY", "100M");
    for (config, environment) in [
        ("", vec![]),
        ("[models.a]\nengine = \"pocketsphinx\"", vec![]),
        (documented.as_str(), vec![]),
        ("", vec![socket, size, ("USE_PROCESS_ISOLATION", "no")]),
    ] {
        let output = run(&["check-config"], config, &environment);
        assert!(output.status.success(), "{output:?}");
        assert!(
            output.stdout.is_empty() && output.stderr.is_empty(),
            "{output:?}"
        );
    }
}

#[test]
fn the_environment_overrides_the_file() {
    let config = "[http]\nmax_upload = \"1G\"\n[jobs]\nmax_running = 3";
    let daemon = Setup::new(config)
        .env("STT_ISOLATED_HTTP__MAX_UPLOAD", "10K")
        .start();
    let answer = daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav());
    answer.assert_refusal(413, "upload_too_large", Some("file"));
}

/// The process that serves a request under this configuration and environment.
fn mode(config: &str, environment: &[(&str, &str)]) -> String {
    let setup = environment
        .iter()
        .fold(Setup::new(config), |setup, (name, value)| {
            setup.env(name, value)
        });
    let daemon = setup.start();
    let answer = daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav());
    assert_eq!(answer.text(), TEN_OF_CLUBS.text);
    let mode = answer.header("x-stt-isolation").split("; ").next().unwrap();
    // Not only the word: where the engine runs.
    assert_eq!(mode == "thread", answer.pid() == daemon.pid());
    assert_eq!(mode == "thread", daemon.children().is_empty());
    mode.to_owned()
}

#[test]
fn the_switch_decides_on_isolation() {
    let switch = "USE_PROCESS_ISOLATION";
    let thread = "[isolation]\nmode = \"thread\"";
    assert_eq!(mode("", &[(switch, "false")]), "thread");
    assert_eq!(mode(thread, &[]), "thread");
    assert_eq!(mode(thread, &[(switch, "true")]), "process");
    let exact = ("STT_ISOLATED_ISOLATION__MODE", "process");
    assert_eq!(mode("", &[(switch, "false"), exact]), "process");
}
