//! Which configurations are accepted and refused, and how mistakes are worded.

use std::path::{Path, PathBuf};

use super::*;
use crate::{
    engine::{
        EngineSettings,
        azure::{AzureKey, AzureSettings},
    },
    units::{ByteSize, Lifetime},
};

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let path = Path::new("test.toml");
    let environment = environment
        .iter()
        .map(|(n, v)| (n.to_string(), v.to_string()));
    Config::of(path, text, environment).map_err(|error| error.to_string())
}

#[test]
fn the_documented_file_has_every_key_with_its_default() {
    let text = include_str!("../../config/stt-isolated.toml");
    assert_eq!(toml::from_str::<File>(text).unwrap(), File::default());

    let documented: toml::Table = toml::from_str(text).unwrap();
    let defaults = toml::Table::try_from(File::default()).unwrap();
    fn missing(have: &toml::Table, want: &toml::Table, at: &str, list: &mut Vec<String>) {
        for (key, value) in want {
            match (have.get(key), value) {
                (Some(toml::Value::Table(have)), toml::Value::Table(want)) => {
                    missing(have, want, &format!("{at}{key}."), list);
                }
                (None, toml::Value::Table(empty)) if empty.is_empty() => {}
                (None, _) => list.push(format!("{at}{key}")),
                _ => {}
            }
        }
    }
    let mut list = Vec::new();
    missing(&documented, &defaults, "", &mut list);
    assert_eq!(
        list,
        Vec::<String>::new(),
        "not in config/stt-isolated.toml"
    );
}

#[cfg(feature = "whisper")]
#[test]
fn a_job_of_whisper_has_one_thread_unless_told_otherwise() {
    use crate::engine::EngineConfig as _;

    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"lmgg\x99\xca\0\0").unwrap();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as u32;
    let has_two = "its jobs have 2 threads each (whisper.threads); threads wait";
    for (limits, threads, expected, remark) in [
        ("", 0, 1, ""),
        ("cpus = 900.0", 0, 1, ""),
        ("", 1, 1, ""),
        (
            "",
            2,
            cpus.min(2),
            if cpus > 1 { has_two } else { "so they have 1;" },
        ),
        (
            "cpus = 1.0",
            3,
            1,
            "whisper.threads = 3 is more than its jobs have CPUs, so they have 1;",
        ),
        (
            "pids = 4000",
            3000,
            cpus,
            "whisper.threads = 3000 is more than its jobs have CPUs",
        ),
    ] {
        let config = format!(
            "jobs.max_running = 1\n[models.m]\nengine = \"whisper\"\nlimits = {{ {limits} }}\n\
             whisper = {{ file = {:?}, threads = {threads} }}",
            file.path()
        );
        let config = load(&config, &[]).unwrap();
        let EngineSettings::Whisper(settings) = &config.models[0].engine else {
            panic!("{config:?}");
        };
        assert_eq!(settings.threads, expected, "{threads}, {limits}");
        let remarks = config.remarks.join("\n");
        assert_eq!(remarks.is_empty(), remark.is_empty(), "{remarks}");
        assert!(remarks.contains(remark), "{remarks}");
        // 51865 tokens: multilingual, from before `large-v3`.
        assert!(
            settings.understands("de-at").as_deref() == Some("de")
                && settings.understands("yue").is_none()
        );
    }
}

#[test]
fn each_mistake_is_told_with_line_and_key() {
    for (text, expected) in [
        (
            "[jobs]\nmax_runing = 2",
            "test.toml:2: jobs.max_runing: unknown field `max_runing`",
        ),
        (
            "[jobs]\n\nmax_running = \"many\"",
            "test.toml:3: jobs.max_running: invalid type",
        ),
        (
            "[limits]\nmemory = \"12 bananas\"",
            "test.toml:2: limits.memory: `12 bananas` is no size",
        ),
        (
            "[http]\nheader_timeout = 5",
            "test.toml:2: http.header_timeout: invalid type",
        ),
        (
            "[http]\nheader_timeout = \"0s\"",
            "test.toml:2: http.header_timeout: must be more than 0",
        ),
        (
            "[isolation]\nmode = \"vm\"",
            "test.toml:2: isolation.mode: unknown variant `vm`",
        ),
        (
            "[memory]\nbudget = \"much\"",
            "test.toml:2: memory.budget: `much` is no size",
        ),
        (
            "[memory]\nbudget = \"100M\"",
            "models.default.limits.memory: 512M is more than memory.budget, 100M",
        ),
        (
            "[spares]\nttl = \"soon\"",
            "test.toml:2: spares.ttl: `soon` is no time",
        ),
        (
            "[recycle]\nmax_requests = 0",
            "test.toml:2: recycle.max_requests: must be at least 1",
        ),
        (
            "[breaker]\nwithin = \"0s\"",
            "test.toml:2: breaker.within: must be more than 0",
        ),
        (
            "[jobs]\nmax_queued = 0",
            "test.toml:2: jobs.max_queued: must be at least 1",
        ),
        (
            "[clients]\nallow_users = [\"root\", \"no such user\"]",
            "test.toml:2: clients.allow_users: there is no user `no such user`",
        ),
        (
            "[clients]\nallow_groups = [\n\"no\\u0000group\"]",
            "test.toml:2: clients.allow_groups: there is no group",
        ),
        (
            "[clients.users.root]\nmax_running = 1\n[clients.users.nobody-of-this-name]\nmax_queued = 1",
            "test.toml:3: clients.users.nobody-of-this-name: there is no user",
        ),
        (
            "[clients.groups]\n-1 = { max_running = 1 }",
            "test.toml:2: clients.groups.-1: there is no group `-1`",
        ),
        (
            "[clients.users]\nroot = { max_running = 1 }\n0 = { max_running = 2 }",
            "test.toml:2: clients.users.root: number 0 has its caps already",
        ),
        (
            "[clients]\nallow_users = [\"nobody\"]",
            "test.toml:2: clients.allow_users: the user `nobody` (65534) cannot be named",
        ),
        (
            "[clients]\nallow_groups = [\"65534\"]",
            "test.toml:2: clients.allow_groups: the group `65534` (65534) cannot be named",
        ),
        (
            "[clients.users]\n65534 = { max_running = 1 }",
            "test.toml:2: clients.users.65534: the user `65534` (65534) cannot be named",
        ),
        (
            "[clients.users.root]\nmax_runing = 1",
            "test.toml:2: clients.users.root.max_runing: unknown field",
        ),
        (
            "[http]\nhosts = [\"stt.example:80\"]",
            "test.toml:2: http.hosts: each is a name without a port",
        ),
        (
            "[http]\ncors_origins = [\"*\"]",
            "test.toml:2: http.cors_origins: each is a scheme and a host",
        ),
        (
            "default_model = \"x\"",
            "test.toml:1: default_model: there is no model `x`; configured: default",
        ),
        ("[models]", "test.toml:1: models: at least one model"),
        (
            "[aliases]\nx = \"y\"",
            "test.toml:2: aliases.x: there is no model `y`",
        ),
        (
            "[aliases]\nwhisper-1 = \"default\"",
            "test.toml:2: aliases.whisper-1: `whisper-1` already names model `default`",
        ),
        (
            "[aliases]\n\"a b\" = \"default\"",
            "test.toml:2: aliases.a b: `a b` is no model name",
        ),
        (
            "[models.v]\nengine = \"vosk\"",
            "test.toml:1: models.v.vosk.model: the model's folder must be named",
        ),
        (
            "[models.v]\nengine = \"vosk\"\n[models.v.vosk]\nmodel = \"/no/where\"",
            "test.toml:4: models.v.vosk.model: there is no folder /no/where",
        ),
        (
            "[models.v]\nengine = \"vosk\"\n[models.v.vosk]\nmodel = \"/\"\nlanguage = \"german\"",
            "test.toml:5: models.v.vosk.language: `german` is no ISO 639-1 code",
        ),
        (
            "[models.v]\nengine = \"vosk\"\n[models.v.vosk]\nmodel = \"/\"\nlibrary = \"\"",
            "test.toml:5: models.v.vosk.library: must be the path of libvosk.so",
        ),
        (
            "[models.\"a b\"]\nengine = \"pocketsphinx\"",
            "test.toml:1: models.a b: `a b` is no model name",
        ),
        (
            "[models.default]\nengine = \"pocketsphinx\"\n[models.default.pocketsphinx]\ndictionary = \"/no/where\"",
            "test.toml:4: models.default.pocketsphinx.dictionary: /no/where does not exist",
        ),
        (
            "[models.default]\nengine = \"pocketsphinx\"\naliases = [\"default\"]",
            "test.toml:3: models.default.aliases: `default` already names model `default`",
        ),
        (
            "[models.default]\nengine = \"pocketsphinx\"\nspares = {min = 3}",
            "test.toml:3: models.default.spares.min: spares.min is 3, spares.max is 2",
        ),
        (
            "[limits]\nmax_audio = \"900 years\"",
            "limits.max_audio: at most 30 days",
        ),
        ("[jobs\nmax_running = 2", "test.toml:1: "),
    ] {
        let message = load(text, &[]).unwrap_err();
        assert!(
            message.contains(expected),
            "{text}\n  gave: {message}\n  not:  {expected}"
        );
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn several_impossible_values_are_told_at_once() {
    let message = load("[http]\nmax_upload = 0\nmax_connections = 0", &[]).unwrap_err();
    assert_eq!(
        message,
        "test.toml:2: http.max_upload: must be more than 0\n\
         test.toml:3: http.max_connections: must be at least 1"
    );
}

#[test]
fn the_environment_comes_over_the_file_and_is_named_when_it_is_wrong() {
    let text = "[jobs]\nmax_running = 2";
    let number = |environment: &[(&str, &str)]| load(text, environment).map(|c| c.jobs.max_running);
    assert_eq!(number(&[]), Ok(2));
    assert_eq!(number(&[("STT_ISOLATED_JOBS__MAX_RUNNING", "7")]), Ok(7));
    assert_eq!(number(&[("STT_ISOLATED_SOCKET", "/the/client's")]), Ok(2));
    let memory = load("", &[("STT_ISOLATED_LIMITS__MEMORY", "99M")]).unwrap();
    assert_eq!(memory.models[0].limits.memory, ByteSize::mib(99));
    for (name, value, expected) in [
        (
            "STT_ISOLATED_JOBS__MAX_RUNNING",
            "many",
            "environment variable STT_ISOLATED_JOBS__MAX_RUNNING: jobs.max_running: invalid type",
        ),
        (
            "STT_ISOLATED_JOBS__MAX_RUNNING",
            "9999",
            "environment variable STT_ISOLATED_JOBS__MAX_RUNNING: jobs.max_running: at most 1024",
        ),
        (
            "STT_ISOLATED_NO_SUCH_KEY",
            "1",
            "environment variable STT_ISOLATED_NO_SUCH_KEY: no_such_key: unknown field",
        ),
        (
            "USE_PROCESS_ISOLATION",
            "perhaps",
            "environment variable USE_PROCESS_ISOLATION: isolation.mode: `perhaps` is neither true nor false",
        ),
    ] {
        let message = load(text, &[(name, value)]).unwrap_err();
        assert!(
            message.contains(expected),
            "gave: {message}\nnot:  {expected}"
        );
    }
}

#[test]
fn the_switch_for_process_isolation_sets_the_mode_and_the_exact_key_wins() {
    let mode = |environment: &[(&str, &str)]| {
        let config = load("[isolation]\nmode = \"process\"", environment);
        config.unwrap().isolation.mode
    };
    assert_eq!(mode(&[("USE_PROCESS_ISOLATION", "false")]), Mode::Thread);
    assert_eq!(mode(&[("USE_PROCESS_ISOLATION", "true")]), Mode::Process);
    let both = [
        ("STT_ISOLATED_ISOLATION__MODE", "process"),
        ("USE_PROCESS_ISOLATION", "false"),
    ];
    assert_eq!(mode(&both), Mode::Process);
}

#[test]
fn the_switch_is_for_the_whole_service_but_leaves_processes_that_serve_several() {
    let text = |mode: &str| {
        format!(
            "[models.a]\nengine = \"pocketsphinx\"\nmode = \"{mode}\"\n[models.default]\nengine = \"pocketsphinx\""
        )
    };
    let modes = |text: &str, environment: &[(&str, &str)]| {
        let config = load(text, environment).unwrap();
        [config.models[0].mode, config.models[1].mode]
    };
    let switch = |value| [("USE_PROCESS_ISOLATION", value)];
    let (process, hybrid, thread) = (Mode::Process, Mode::Hybrid, Mode::Thread);
    assert_eq!(modes(&text("hybrid"), &[]), [hybrid, process]);
    assert_eq!(modes(&text("hybrid"), &switch("false")), [thread, thread]);
    assert_eq!(modes(&text("hybrid"), &switch("true")), [hybrid, process]);
    assert_eq!(modes(&text("thread"), &switch("true")), [process, process]);
    assert_eq!(modes(&text("thread"), &[]), [thread, process]);
}

#[test]
fn lifetimes_and_budgets_have_words_of_their_own() {
    let config = |text: &str| load(text, &[]).unwrap();
    let ttl = |text: &str| {
        config(&format!("[spares]\nttl = \"{text}\"")).models[0]
            .spares
            .ttl
    };
    assert_eq!(ttl("0"), Lifetime::Zero);
    assert_eq!(ttl("-1"), Lifetime::Unlimited);
    assert_eq!(
        ttl("5min"),
        Lifetime::Limited(std::time::Duration::from_secs(300))
    );
    let budget = |text: &str| {
        config(&format!("[memory]\nbudget = \"{text}\""))
            .memory
            .budget
    };
    assert_eq!(budget("auto"), MemoryBudget::Auto);
    assert_eq!(budget("unlimited"), MemoryBudget::Unlimited);
    assert_eq!(budget("2G"), MemoryBudget::Size(ByteSize::gib(2)));
}

#[test]
fn users_and_groups_have_names_or_numbers() {
    let text = r#"
        [clients]
        allow_users = ["root", "4000000000"]
        allow_groups = ["77"]
        max_running = 3
        [clients.users.root]
        max_running = 0
        [clients.groups.77]
        max_running = 9
    "#;
    let access = load(text, &[]).unwrap().clients;
    let running = |uid, groups: &[u32]| Some(access.of_user(uid, 5, groups)?.max_running);
    assert_eq!(running(0, &[]), Some(0));
    assert_eq!(running(4_000_000_000, &[]), Some(3));
    assert_eq!(running(1, &[77]), Some(9));
    assert_eq!(running(1, &[]), None);
    assert_eq!(access.of_network(), None);
}

#[test]
fn a_program_that_cannot_run_is_refused_with_the_reason() {
    let model = |keys: &str, more: &str| {
        format!("[models.m]\nengine = \"exec\"\n{more}\n[models.m.exec]\n{keys}")
    };
    let sh = "command = [\"/bin/sh\"]";
    assert!(load(&model(sh, ""), &[]).is_ok());
    for (keys, more, key, reason) in [
        ("", "", "exec.command", "must be named"),
        ("command = [\"sh\"]", "", "exec.command", "no absolute path"),
        (
            "command = [\"/no/such\"]",
            "",
            "exec.command",
            "No such file",
        ),
        (
            "command = [\"/etc/passwd\"]",
            "",
            "exec.command",
            "no executable file",
        ),
        (
            "command = [\"/bin/sh\", \"\\u0000\"]",
            "",
            "exec.command",
            "zero byte",
        ),
        (
            &format!("{sh}\nread = [\"a\"]"),
            "",
            "exec.read",
            "no absolute path",
        ),
        (
            &format!("{sh}\nread = [\"/no/such\"]"),
            "",
            "exec.read",
            "does not exist",
        ),
        (
            &format!("{sh}\nenvironment = {{ HOME = \"/\" }}"),
            "",
            "exec.environment",
            "scratch directory",
        ),
        (
            &format!("{sh}\nenvironment = {{ \"A=B\" = \"c\" }}"),
            "",
            "exec.environment",
            "A=B",
        ),
        (
            &format!("{sh}\nenvironment = {{ A = \"{}\" }}", "a".repeat(40_000)),
            "",
            "exec",
            "bytes together",
        ),
        (
            &format!("{sh}\nlanguages = [\"English\"]"),
            "",
            "exec.languages",
            "ISO 639",
        ),
        (
            &format!("{sh}\ncapabilities = [\"magic\"]"),
            "",
            "",
            "unknown variant `magic`",
        ),
        (sh, "mode = \"hybrid\"", "mode", "one request"),
        (sh, "mode = \"thread\"", "mode", "thread of the service"),
    ] {
        let mistake = load(&model(keys, more), &[]).unwrap_err();
        assert!(
            mistake.contains(&format!("models.m.{key}")) || key.is_empty(),
            "{mistake}"
        );
        assert!(mistake.contains(reason), "{mistake}");
    }
    let general = "[isolation]\nmode = \"hybrid\"\n";
    let mistake = load(&(general.to_owned() + &model(sh, "")), &[]).unwrap_err();
    assert!(mistake.contains("models.m.mode"), "{mistake}");
    let wrong_table = "[models.m]\nengine = \"pocketsphinx\"\nexec = {}";
    assert!(
        load(wrong_table, &[])
            .unwrap_err()
            .contains("engine = \"exec\" only")
    );
}

#[test]
fn a_converter_must_be_a_program() {
    let of = |path: &str| load(&format!("[audio]\nconverter = \"{path}\""), &[]);
    for (path, reason) in [
        ("ffmpeg", "ffmpeg is no absolute path"),
        ("/no/such", "/no/such cannot be run: No such file"),
        ("/etc/passwd", "/etc/passwd is no executable file"),
        ("/usr", "/usr is no executable file"),
    ] {
        let mistake = of(path).unwrap_err();
        assert!(
            mistake.contains("test.toml:2: audio.converter"),
            "{mistake}"
        );
        assert!(mistake.contains(reason), "{mistake}");
        assert!(mistake.contains("apt install ffmpeg"), "{mistake}");
    }
    assert_eq!(of("").unwrap().models[0].converter, None);
    let with = of("/bin/sh").unwrap();
    let converter = with.models[0].converter.as_ref().unwrap();
    assert_eq!(converter.program, Path::new("/bin/sh"));
    // Another converter needs another zygote.
    assert!(!with.models[0].loads_like(&of("").unwrap().models[0]));
    let thread = "[audio]\nconverter = \"/bin/sh\"\n[isolation]\nmode = \"thread\"";
    assert_eq!(load(thread, &[]).unwrap().models[0].converter, None);
}

#[test]
fn a_program_says_what_it_can_do() {
    let text = "[models.m]\nengine = \"exec\"\n[models.m.exec]\ncommand = [\"/bin/sh\", \"-c\", \"/etc/profile\"]\n\
                read = [\"/var\"]\nlanguages = [\"en\", \"de\"]\ncapabilities = [\"words\", \"prompt\"]";
    let config = load(text, &[]).unwrap();
    let engine = &config.models[0].engine;
    let files = ["/bin/sh", "/etc/profile", "/var"].map(PathBuf::from);
    assert_eq!(engine.needs().reach.files, files);
    let capabilities = engine.capabilities();
    assert!(capabilities.words && capabilities.prompt && !capabilities.translation);
    assert_eq!(engine.understands("de-at").as_deref(), Some("de"));
    assert_eq!(engine.understands("fr"), None);
    assert_eq!(engine.language(), None);
}

/// A model of the engine `azure` with these lines in its table. Its library exists.
fn azure(lines: &str, environment: &[(&str, &str)]) -> Result<AzureSettings, String> {
    let library = std::env::current_exe().unwrap();
    let text =
        format!("[models.m]\nengine = \"azure\"\n[models.m.azure]\nlibrary = {library:?}\n{lines}");
    load(&text, environment).map(|config| match &config.models[0].engine {
        EngineSettings::Azure(settings) => settings.clone(),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_key_has_no_place_in_the_configuration() {
    let key = "0123456789abcdef";
    for lines in [
        format!("region = \"westeurope\"\nkey = \"{key}\""),
        format!("region = \"westeurope\"\nkey = [\"{key}\"]"),
        format!("region = \"westeurope\"\nkey = \"{key}"),
        format!("host = \"wss://user:{key}@host\""),
        format!("host = \"{key}\""),
    ] {
        let message = azure(&lines, &[]).unwrap_err();
        assert!(!message.contains(key), "{message}");
        if lines.contains("key = \"") && lines.ends_with('"') {
            assert!(
                message.starts_with("test.toml:6: models.m.azure.key:"),
                "{message}"
            );
            assert!(message.contains("`credential`"), "{message}");
        }
    }
    let variable = [("STT_ISOLATED_MODELS__M__AZURE__KEY", key)];
    let message = azure("region = \"westeurope\"\ncredential = \"k\"", &variable).unwrap_err();
    assert!(
        message.contains("has no place") && !message.contains(key),
        "{message}"
    );
}

#[test]
fn where_the_key_of_azure_is_and_whom_it_may_reach() {
    let folder = [("CREDENTIALS_DIRECTORY", "/run/credentials/x")];
    let region = azure("region = \"westeurope\"\ncredential = \"k\"", &folder).unwrap();
    assert_eq!(region.key, AzureKey::File("/run/credentials/x/k".into()));
    assert_eq!(region.ports(), [443, 80, 53]);
    assert!(region.files().contains(&"/run/credentials/x/k".into()));
    let without = azure("region = \"westeurope\"\ncredential = \"k\"", &[]).unwrap();
    assert_eq!(without.key, AzureKey::NoCredentials("k".into()));
    let own = azure("host = \"ws://host:5000\"\nkey_environment = \"K\"", &[]).unwrap();
    assert_eq!(
        (own.ports(), own.key),
        (vec![5000, 53], AzureKey::Environment("K".into()))
    );
    let bare = azure("endpoint = \"wss://host:8443/stt?x=y\"", &[]).unwrap();
    assert_eq!(
        (bare.ports(), bare.key),
        (vec![8443, 80, 53], AzureKey::None)
    );
}

#[test]
fn azure_is_asked_for_a_language_of_a_region() {
    let lines = "host = \"wss://h\"\nlanguages = [\"en-US\", \"de-DE\", \"de-AT\"]";
    let settings = azure(lines, &[]).unwrap();
    for (asked, language) in [
        (None, Some("en-US")),
        (Some("de"), Some("de-DE")),
        (Some("DE_at"), Some("de-AT")),
        (Some("de-CH"), Some("de-DE")),
        (Some("fr"), None),
    ] {
        assert_eq!(settings.language(asked), language, "{asked:?}");
    }
    assert_eq!(settings.primary_languages(), ["en", "de"]);
}

#[test]
fn what_azure_cannot_be_told_is_refused() {
    let good = "host = \"wss://h\"\n";
    for (lines, expected) in [
        ("", "azure.region: exactly one of"),
        (
            "host = \"wss://h\"\nregion = \"r\"\ncredential = \"k\"",
            "azure.region: exactly one of",
        ),
        ("region = \"r\"", "azure.credential: exactly one of"),
        (
            "region = \"r.evil.example/\"\ncredential = \"k\"",
            "azure.region: must be the name",
        ),
        (
            "region = \"r\"\ncredential = \"../k\"",
            "azure.credential: must be the name",
        ),
        (
            "region = \"r\"\ncredential = \"k\"\nkey_file = \"/k\"",
            "azure.credential: exactly one of",
        ),
        ("host = \"https://h\"", "azure.host: must be an address"),
        ("host = \"wss://h/path\"", "azure.host: has a path"),
        ("endpoint = \"h\"", "azure.endpoint: must be an address"),
        (
            &format!("{good}key_file = \"k\""),
            "azure.key_file: k is no absolute path",
        ),
        (
            &format!("{good}key_environment = \"STT_TAKEN_VARIABLES\""),
            "azure.key_environment: must be",
        ),
        (
            &format!("{good}languages = []"),
            "azure.languages: at least one",
        ),
        (
            &format!("{good}languages = [\"en\"]"),
            "azure.languages: `en` is no language of a region",
        ),
        (
            &format!("{good}response_timeout = \"30s\""),
            "azure.response_timeout: must be less than limits.stall",
        ),
        (
            &format!("{good}response_timeout = \"0s\""),
            "azure.response_timeout: must be more than 0",
        ),
        (
            &format!("{good}ca_file = \"/no/such\""),
            "azure.ca_file: there is no file",
        ),
    ] {
        let message = azure(lines, &[]).unwrap_err();
        assert!(
            message.contains(expected),
            "gave: {message}\nnot:  {expected}"
        );
    }
    let thread = azure(good, &[("USE_PROCESS_ISOLATION", "false")]).unwrap_err();
    assert!(
        thread.contains("models.m.mode:") && thread.contains("not run in mode"),
        "{thread}"
    );
    let nowhere = load(
        "[models.m]\nengine = \"azure\"\nazure = { host = \"wss://h\", library = \"/no\" }",
        &[],
    );
    assert!(
        nowhere
            .unwrap_err()
            .contains("azure.library: there is no file /no")
    );
    let unnamed = load(
        "[models.m]\nengine = \"azure\"\nazure.host = \"wss://h\"",
        &[],
    );
    assert!(
        unnamed
            .unwrap_err()
            .contains("azure.library: the core library")
    );
}
