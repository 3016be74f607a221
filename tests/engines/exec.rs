//! Any program as an engine: one that transcribes real speech, and one that does whatever it must
//! not.

use std::{fs, path::Path, process::Command};

use crate::common::{
    LONG,
    clips::{CLIPS, GOFORWARD, TEN_OF_CLUBS, wav},
    daemon::{Daemon, Setup},
    http::{Answer, Form},
    process,
    user::{self, User},
    wait_until,
    wyoming::{Client, request},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The program's answer if nothing else is asked of it.
const TEXT: &str = "it behaves";

const GENERAL: &str = r#"
[service]
log_level = "debug"
[health]
interval = "0s"
[breaker]
crashes = 0
"#;

/// A folder of the checkout.
fn here(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

fn example() -> String {
    let program = here("docs/examples/engine.py");
    format!(
        r#"{GENERAL}
[models.default]
engine = "exec"
[models.default.exec]
command = ["/usr/bin/python3", "{program}"]
languages = ["en"]
capabilities = ["words"]
"#
    )
}

/// One that misbehaves as it is told, with further arguments and keys.
fn told(arguments: &str, keys: &str) -> String {
    let program = here("tests/engines/exec/program.py");
    format!(
        r#"{GENERAL}
[models.default]
engine = "exec"
[models.default.limits]
deadline = "4min"
stall = "3s"
cpu_time = "4s"
cpu_time_per_audio_second = 0.0
[models.default.exec]
command = ["/usr/bin/python3", "{program}"{arguments}]
capabilities = ["prompt"]
{keys}
"#
    )
}

/// A daemon whose programs write in a folder that can be looked at.
struct Served {
    daemon: Daemon,
    scratches: TempDir,
}

impl Served {
    fn start(config: &str) -> Served {
        // In memory, where it can be had, as under the unit.
        let scratches = TempDir::new_in("/dev/shm")
            .or_else(|_| TempDir::new())
            .unwrap();
        let path = scratches.path().to_str().unwrap();
        Served {
            daemon: Setup::new(config).env("RUNTIME_DIRECTORY", path).start(),
            scratches,
        }
    }

    fn told() -> Served {
        Served::start(&told("", ""))
    }

    fn ask(&self, mode: &str) -> Answer {
        self.daemon.post(&form().field("prompt", mode))
    }

    /// The transcript of a request that succeeds in spite of its mode.
    #[track_caller]
    fn text(&self, mode: &str) -> String {
        self.ask(mode).text()
    }

    /// The scratch directories that there are.
    fn count(&self) -> usize {
        let roots = fs::read_dir(self.scratches.path()).unwrap();
        let within = |root: Result<fs::DirEntry, _>| fs::read_dir(root.unwrap().path()).unwrap();
        roots.flat_map(within).count()
    }

    /// Nothing is left but what idle spares have.
    #[track_caller]
    fn wait_idle(&self) {
        self.daemon.wait_spares(2);
        wait_until("only spares have scratch directories", LONG, || {
            self.count() == 2
        });
    }
}

/// A moment of silence.
fn form() -> Form {
    Form::of("a.wav", &wav(&[0; 32_000]))
}

/// Whether this kernel confines what files can be opened; it says so in the log.
fn has_landlock(daemon: &Daemon) -> bool {
    !daemon.log().contains("no Landlock")
}

#[test]
fn the_example_transcribes_speech() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("wyoming.sock");
    let setup = Setup::new(&example()).listen_as("wyoming", socket.to_str().unwrap());
    let daemon = setup.start();
    for clip in &CLIPS[..3] {
        let answer = daemon.transcribe("a.wav", &clip.wav());
        assert_eq!(answer.text(), clip.text);
        assert!(answer.header("x-stt-isolation").starts_with("process"));
    }
    let goforward = Form::of("a.wav", &GOFORWARD.wav());
    let words = goforward
        .clone()
        .field("response_format", "verbose_json")
        .field("timestamp_granularities[]", "word");
    let json = daemon.post(&words).json();
    assert_eq!(json["language"], "english");
    let heard: Vec<&str> = json["words"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w["word"].as_str().unwrap())
        .collect();
    assert_eq!(heard.join(" "), GOFORWARD.text);
    let srt = daemon.post(&goforward.clone().field("response_format", "srt"));
    let srt = String::from_utf8(srt.body.to_vec()).unwrap();
    assert!(srt.starts_with("1\n00:00:00,4"), "{srt}");
    assert!(srt.contains(GOFORWARD.text), "{srt}");
    let stream = daemon.post(&goforward.field("stream", "true"));
    let stream = String::from_utf8(stream.body.to_vec()).unwrap();
    assert!(stream.contains("transcript.text.delta"), "{stream}");
    assert!(stream.contains("transcript.text.done"), "{stream}");
    assert!(stream.contains(GOFORWARD.text), "{stream}");

    let mut client = Client::connect(&socket);
    client.send(&request(Value::Null, &GOFORWARD.samples()));
    client.expect("transcript-start");
    client.expect("transcript-chunk");
    assert_eq!(client.expect("transcript")["text"], GOFORWARD.text);
}

#[test]
fn the_manual_leads_to_the_example() {
    let example = fs::read_to_string(here("docs/examples/engine.py")).unwrap();
    assert!(example.lines().count() < 50);
    let text = fs::read_to_string(here("docs/ENGINES.md")).unwrap();
    assert!(text.contains("examples/engine.py"));
}

#[test]
fn each_fault_costs_one_request() {
    let served = Served::told();
    for (mode, status, code, reason) in [
        ("hang", 504, "timeout", "3.0 s"),
        ("spin", 504, "timeout", "CPU"),
        ("flood", 502, "worker_misbehaved", "longer than"),
        ("flood-progress", 502, "worker_misbehaved", "floods"),
        ("flood-text", 502, "worker_misbehaved", "floods"),
        ("exit", 502, "worker_crashed", "status 3"),
        ("exit-0", 502, "worker_crashed", "status 0"),
        ("segfault", 502, "worker_crashed", "SIGSEGV"),
        ("kill", 502, "worker_crashed", "SIGKILL"),
        ("amid", 502, "worker_crashed", "SIGABRT"),
        ("close", 502, "worker_misbehaved", "closed its stdout"),
        ("half-line", 502, "worker_crashed", "status 0"),
        ("no-json", 502, "worker_misbehaved", "Loading weights"),
        ("no-utf8", 502, "worker_misbehaved", "UTF-8"),
        ("again", 502, "worker_misbehaved", "twice"),
        ("beyond", 502, "worker_misbehaved", "only 1.00 s"),
        (
            "backwards",
            502,
            "worker_misbehaved",
            "before the one before",
        ),
        ("control", 502, "worker_misbehaved", "no text"),
        ("language", 502, "worker_misbehaved", "Klingon"),
        ("invalid-audio", 400, "invalid_audio", "that is no speech"),
        ("failed", 502, "engine_failed", "out ofideas"),
        ("ptrace", 502, "worker_misbehaved", "system call"),
        ("mount", 502, "worker_misbehaved", "system call"),
        ("bpf", 502, "worker_misbehaved", "system call"),
        ("child-and-exit", 502, "worker_crashed", "status 5"),
        ("child-and-hang", 504, "timeout", "3.0 s"),
    ] {
        let answer = served.ask(mode);
        assert_eq!(answer.status, status, "{mode}: {answer:?}");
        let error = answer.error();
        assert_eq!(error["code"], code, "{mode}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(reason), "{mode}: {message}");
        assert_eq!(served.text("behave"), TEXT, "after {mode}");
    }
    // Its complaints go to the log, and no more of them than there is room for.
    assert!(served.daemon.log().contains("this is why"));
    served.wait_idle();
}

#[test]
fn permitted_actions_work() {
    let served = Served::told();
    for (mode, text) in [
        ("flood-stderr", TEXT),
        ("deaf", TEXT),
        ("deaf-open", TEXT),
        // Five seconds without a word would be a stall.
        ("progress", TEXT),
        ("pair", "done"),
        ("helper", "helped"),
        ("helper-stopped", "-15"),
    ] {
        assert_eq!(served.text(mode), text, "{mode}");
    }
    // Far more audio than a pipe holds, of which the program reads nothing.
    let long = wav(&GOFORWARD.samples().repeat(40));
    let answer = served
        .daemon
        .post(&Form::of("a.wav", &long).field("prompt", "deaf-open"));
    assert_eq!(answer.text(), TEXT);
    served.wait_idle();
}

#[test]
fn forbidden_actions_fail() {
    let served = Served::told();
    let landlock = has_landlock(&served.daemon);
    for (mode, by_landlock) in [
        ("socket", false),
        ("unix-socket", false),
        ("datagram-pair", false),
        ("namespace", false),
        ("parent", false),
        ("executable-memory", false),
        ("passwd", true),
        ("write-outside", true),
    ] {
        if landlock || !by_landlock {
            assert_eq!(served.text(mode), "PermissionError", "{mode}");
        }
    }
    assert!(!Path::new("/var/tmp/stt-isolated-escaped").exists());
    served.wait_idle();
}

#[test]
fn no_descendant_outlives_the_request() {
    let served = Served::told();
    for mode in ["child", "session"] {
        let child: i32 = served.text(mode).parse().unwrap();
        wait_until("the child is gone", LONG, || !process::lives(child));
    }
    served.wait_idle();
}

#[test]
fn scratch_is_private_and_removed() {
    let served = Served::told();
    let path = served.text("scratch");
    assert!(Path::new(&path).starts_with(served.scratches.path()));
    let answer: Value = serde_json::from_str(&served.text("surroundings")).unwrap();
    let environment = &answer["environment"];
    assert_eq!(answer["folder"], environment["TMPDIR"]);
    let names: Vec<&String> = environment.as_object().unwrap().keys().collect();
    // Python itself adds the encoding that it found.
    let expected = ["HOME", "LANG", "LC_CTYPE", "PATH", "TMPDIR"];
    assert!(
        names.iter().all(|name| expected.contains(&name.as_str())),
        "{names:?}"
    );
    let asked = json!({
        "language": null, "prompt": "surroundings", "keywords": [], "temperature": null, "translate": false,
        "audio": {"format": "s16le", "rate": 16000, "channels": 1},
    });
    assert_eq!(answer["request"], asked);
    served.wait_idle();
    let Served {
        mut daemon,
        scratches,
    } = served;
    daemon.stop();
    assert_eq!(fs::read_dir(scratches.path()).unwrap().count(), 0);
}

#[test]
fn settings_open_paths_and_variables() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "open sesame").unwrap();
    let (path, folder) = (file.display(), folder.path().display());
    let keys = format!("read = [\"{folder}\"]\nenvironment = {{ A = \"b c\", LANG = \"C\" }}");
    let served = Served::start(&told(&format!(", \"{path}\""), &keys));
    assert_eq!(served.text("named"), "open sesame");
    let answer: Value = serde_json::from_str(&served.text("surroundings")).unwrap();
    assert_eq!(answer["environment"]["A"], "b c");
    assert_eq!(answer["environment"]["LANG"], "C");
}

#[test]
fn a_program_can_have_the_upload() {
    let served = Served::start(&told(", \"original\"", ""));
    let recording = TEN_OF_CLUBS.wav();
    let form = Form::default()
        .file_of("audio/x-wav", "b.wav", &recording)
        .field("prompt", "bytes")
        .field("response_format", "verbose_json");
    let json = served.daemon.post(&form).json();
    let audio = r#"{"extension": "wav", "format": "original", "media_type": "audio/x-wav"}"#;
    assert_eq!(json["text"], format!("{} RIFF {audio}", recording.len()));
    assert_eq!(json["duration"], 2.5);
    assert_eq!(json["language"], "german");
}

#[test]
fn a_program_that_has_the_upload_selects_no_part_of_it() {
    let served = Served::start(&told(", \"original\"", ""));
    for parameter in ["track", "channel"] {
        let form = Form::of("a.wav", &TEN_OF_CLUBS.wav())
            .field("prompt", "bytes")
            .field(parameter, "1");
        let answer = served.daemon.post(&form);
        let message = answer.assert_refusal(400, "invalid_audio", None);
        assert!(message.contains(&format!("`{parameter}`")), "{message}");
    }
    // A program that gets samples hears what was selected.
    let served = Served::told();
    let ask = |track: &str| served.daemon.post(&form().field("track", track));
    assert_eq!(ask("1").text(), TEXT);
    let message = ask("2").assert_refusal(400, "invalid_audio", None);
    assert!(message.contains("no audio track 2"), "{message}");
}

/// The words of `/readyz` about a model whose program is `command`.
fn trouble(command: &str) -> String {
    let config = format!(
        "{GENERAL}[zygote]\nload_timeout = \"4s\"\n[models.bad]\nengine = \"exec\"\nexec.command = {command}\n\
         [models.default]\nengine = \"null\"\n"
    );
    let daemon = Setup::new(&config).launch();
    let bad = || daemon.get("/readyz").json()["models"]["bad"].clone();
    wait_until("it has been tried", LONG, || bad()["status"] != "starting");
    let model = bad();
    assert_eq!(model["status"], "failed", "{model}");
    model["reason"].as_str().unwrap().into()
}

#[test]
fn a_failed_start_says_why() {
    for (script, reason) in [
        ("echo no weights >&2; exit 4", "exited with status 4"),
        ("echo no weights >&2; exit 4", ": no weights"),
        ("kill -9 $$", "SIGKILL"),
        ("echo Loading", "Loading"),
        (
            "echo '{\\\"done\\\":{}}'",
            "before it says that it is ready",
        ),
        ("echo '{\\\"ready\\\":{\\\"audio\\\":\\\"mp3\\\"}}'", "mp3"),
        ("exec sleep 1000", "within"),
        (
            "echo '{\\\"ready\\\":{}}'; read -r line; echo no memory >&2; exit 7",
            "status 7",
        ),
        (
            "echo '{\\\"ready\\\":{}}'; read -r line; echo no memory >&2; exit 7",
            ": no memory",
        ),
    ] {
        let said = trouble(&format!("[\"/bin/sh\", \"-c\", \"{script}\"]"));
        assert!(said.contains(reason), "{script}: {said}");
    }
    // Its interpreter is nowhere that it may read.
    let folder = TempDir::new().unwrap();
    let [program, interpreter] = ["program", "interpreter"].map(|name| folder.path().join(name));
    fs::copy("/bin/sh", &interpreter).unwrap();
    fs::write(&program, format!("#!{}\n", interpreter.display())).unwrap();
    let status = Command::new("chmod").arg("+x").arg(&program).status();
    assert!(status.unwrap().success());
    let said = trouble(&format!("[\"{}\"]", program.display()));
    assert!(
        said.contains("cannot be executed") || said.contains("before it was ready"),
        "{said}"
    );
}

#[test]
fn a_dead_spare_is_replaced_unasked() {
    let config = format!(
        "{GENERAL}[models.default]\nengine = \"exec\"\nexec.command = [\"/bin/sh\", \"-c\", \"{}\"]\n",
        "echo '{\\\"ready\\\":{}}'; read -r line; echo '{\\\"done\\\":{}}'"
    );
    let daemon = Daemon::start(&config);
    let spares = daemon.wait_spares(2);
    for spare in &spares {
        for child in process::children(spare.pid) {
            child.signal(nix::sys::signal::Signal::SIGKILL);
        }
    }
    wait_until("the spares are others", LONG, || {
        let now = daemon.children();
        spares
            .iter()
            .all(|old| !now.iter().any(|new| new.pid == old.pid))
    });
    assert_eq!(daemon.post(&form()).text(), "");
    daemon.wait_spares(2);
}

#[test]
fn nothing_grows_in_a_hundred_requests() {
    let served = Served::told();
    let look = || {
        served.wait_idle();
        (
            process::private_memory(served.daemon.pid()),
            served.daemon.idle_descriptors(2),
        )
    };
    let modes = ["behave", "exit", "child", "flood", "scratch"];
    let round = || {
        for mode in modes {
            served.ask(mode);
        }
    };
    (0..5).for_each(|_| round());
    let before = look();
    (0..20).for_each(|_| round());
    let after = look();
    assert_eq!(before.1, after.1, "descriptors");
    // The least that malloc takes from the system at a time is 132 KiB.
    assert!(after.0 < before.0 + (1 << 20), "{before:?} {after:?}");
    println!("supervisor: {before:?}, after 100 requests more {after:?}");
}

/// A program that some parameters end, abort or make babble, and every request once `broken` is
/// there.
fn fragile(broken: &Path) -> String {
    let folder = broken.parent().unwrap();
    format!(
        r#"[breaker]
crashes = 3
within = "1h"
pause = "1s"
[models.default]
engine = "exec"
[models.default.exec]
capabilities = ["prompt", "temperature"]
languages = ["en", "pt"]
read = [{folder:?}]
command = ["/usr/bin/python3", "-c", """
import json, os, sys
print('{{"ready": {{}}}}', flush=True)
request = json.loads(sys.stdin.readline())
if request["language"] == "pt":
    sys.exit(3)
if request["prompt"] == "abort" or os.path.exists({broken:?}):
    os.abort()
if request["temperature"] == 1:
    print("babble", flush=True)
print('{{"done": {{}}}}', flush=True)
"""]
"#
    )
}

#[test]
fn no_parameter_of_one_client_closes_a_model_for_others() {
    if !user::are_possible() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let daemon = Daemon::start(&fragile(&folder.path().join("broken")));
    user::let_in(&daemon);
    let others = User::new(61299);
    for (uid, (name, value)) in (61201..).zip([
        ("language", "pt_BR"),
        ("prompt", "abort"),
        ("temperature", "1"),
    ]) {
        let client = User::new(uid);
        let ask = |form: Form| client.run(|| daemon.post(&form));
        for _ in 0..3 {
            let answer = ask(form().field(name, value));
            assert_eq!(answer.status, 502, "{name}: {answer:?}");
        }
        let answer = ask(form());
        answer.assert_come_back(503, "engine_unavailable");
        assert!(daemon.is_ready(), "{name}");
        let answer = others.run(|| daemon.post(&form()));
        assert_eq!(answer.status, 200, "after {name}: {answer:?}");
        wait_until("the client is served again", LONG, || {
            ask(form()).status == 200
        });
    }
}

#[test]
fn the_service_tells_a_broken_model_from_a_client_that_breaks_it() {
    let folder = TempDir::new().unwrap();
    let broken = folder.path().join("broken");
    let daemon = Daemon::start(&fragile(&broken));
    let state = || daemon.get("/readyz").json()["models"]["default"]["status"].clone();
    // There is only one client, but the service's own request crashes, too.
    fs::write(&broken, "").unwrap();
    for _ in 0..3 {
        assert_eq!(daemon.post(&form()).status, 502);
    }
    wait_until("the model is paused for everybody", LONG, || {
        state() == "tripped"
    });
    // Nobody has to ask for it to be served again.
    fs::remove_file(&broken).unwrap();
    wait_until("it serves again", LONG, || daemon.is_ready());
    assert_eq!(daemon.post(&form()).status, 200);
}

#[test]
fn a_program_can_tell_speakers_apart() {
    let config = told("", "").replace("[\"prompt\"]", "[\"prompt\", \"speakers\"]");
    let served = Served::start(&config);
    let ask = |daemon: &Daemon, mode: &str, format: &str| {
        let form = form()
            .field("prompt", mode)
            .field("response_format", format);
        daemon.post(&form)
    };
    let speakers = |answer: &Answer| -> Vec<Value> {
        assert_eq!(answer.status, 200, "{answer:?}");
        let json = answer.json();
        let segments = json["segments"].as_array().unwrap().iter();
        segments.map(|segment| segment["speaker"].clone()).collect()
    };
    let answer = ask(&served.daemon, "speakers", "diarized_json");
    assert_eq!(speakers(&answer), ["A", "B", "unknown", "A", "unknown"]);
    assert!(!answer.headers.contains_key("x-stt-warnings"), "{answer:?}");
    // Nobody asked: nobody is told.
    let answer = ask(&served.daemon, "speakers", "verbose_json");
    assert_eq!(speakers(&answer), [Value::Null, Value::Null]);
    let answer = ask(&served.daemon, "speaker-of-two-lines", "diarized_json");
    let message = answer.assert_refusal(502, "worker_misbehaved", None);
    assert!(message.contains("speaker's name"), "{message}");
    // A program without the ability is not asked, and the answer says that nothing tells.
    let without = Served::told();
    let answer = ask(&without.daemon, "speakers", "diarized_json");
    assert_eq!(speakers(&answer), ["unknown", "unknown"]);
    assert!(answer.headers.contains_key("x-stt-warnings"), "{answer:?}");
}

/// The events of a stream in this mode: its text or the code of its error, and its guesses.
fn early(daemon: &Daemon, mode: &str) -> (String, Vec<String>) {
    let form = form().field("prompt", mode).field("stream", "true");
    let answer = daemon.post(&form.field("partials", "true"));
    if answer.status != 200 {
        return (
            answer.json()["error"]["code"].as_str().unwrap().into(),
            vec![],
        );
    }
    let (mut text, mut guesses) = (String::new(), Vec::new());
    for line in String::from_utf8_lossy(&answer.body).lines() {
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let event: Value = serde_json::from_str(data).unwrap();
        match event["type"].as_str() {
            Some("transcript.text.delta") => text += event["delta"].as_str().unwrap(),
            Some("stt.hypothesis") => guesses.push(event["tentative"].as_str().unwrap().into()),
            Some(_) => assert_eq!(event["text"], text),
            None => text = event["error"]["code"].as_str().unwrap().into(),
        }
    }
    (text, guesses)
}

#[test]
fn a_program_tells_words_before_they_are_final() {
    let served = Served::told();
    let (text, guesses) = early(&served.daemon, "partials");
    assert_eq!(text, "it behaves true");
    assert!(guesses.contains(&"it behave".into()), "{guesses:?}");
    // A program that says them unasked does no harm.
    assert_eq!(served.text("partials"), "it behaves false");
    // More than eyes can follow are dropped.
    let (text, guesses) = early(&served.daemon, "partials-fast");
    assert_eq!(text, TEXT);
    assert!((1..1000).contains(&guesses.len()), "{}", guesses.len());
    // Each is a sign of life.
    assert_eq!(early(&served.daemon, "partials-slow").0, TEXT);
    served.wait_idle();
}

#[test]
fn a_program_that_lies_about_words_is_ended() {
    let served = Served::told();
    for mode in ["flood-committed", "partial-long", "taken-back", "promised"] {
        assert_eq!(early(&served.daemon, mode).0, "worker_misbehaved", "{mode}");
    }
    // It may guess on and on, but not for ever.
    assert_eq!(early(&served.daemon, "flood-partials").0, "timeout");
    served.wait_idle();
}
