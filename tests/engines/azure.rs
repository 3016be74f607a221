//! Engine `azure`: Microsoft's own Speech SDK, through the real service, against a speech service
//! of this machine's own (`common/azure.rs`). Nothing here leaves the loopback.

use std::{
    fs::{self, File},
    io::Read as _,
    net::TcpListener,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use crate::common::{
    LONG,
    azure::{self, Identity, Scene, Service},
    clips::{GOFORWARD, TEN_OF_CLUBS, wav},
    daemon::{Daemon, Setup},
    http::{Answer, Form},
    process::{Seen, private_memory},
    wait_until, wyoming,
};
use procfs::process::{MMapPath, Process};
use serde_json::{Value, json};
use stt_isolated::engine::fault::{TEXT, escape};

const KEY: &str = "k3y0fTheTest0123456789abcdef0123456789";

const WORDS: &str = "Go forward, ten meters.";

/// The model `default`, which asks this service. The key is in the folder's file `key`.
fn model(folder: &Path, service: &Service, more: &str) -> String {
    let (library, port) = (azure::library(), service.port());
    let key = folder.join("key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    format!(
        "[health]\ninterval = \"0s\"\n[breaker]\ncrashes = 0\n[models.default]\nengine = \"azure\"\n\
         [models.default.azure]\nlibrary = {library:?}\nhost = \"ws://localhost:{port}\"\nkey_file = {key:?}\n\
         upload_burst = \"1h\"\n{more}\n"
    )
}

/// A daemon with that model alone, and the folder of its files.
fn start(service: &Service, more: &str) -> (Daemon, tempfile::TempDir) {
    let folder = tempfile::TempDir::new().unwrap();
    let daemon = Daemon::start(&model(folder.path(), service, more));
    (daemon, folder)
}

fn form(answer: &str) -> Form {
    Form::of("a.wav", &GOFORWARD.wav()).field("response_format", answer)
}

/// A tone of this many seconds; the service hears what it was told to hear in anything.
fn tone(seconds: usize) -> Vec<u8> {
    let samples = (0..seconds * 16_000).flat_map(|n| {
        let sample: i16 = if n % 40 < 20 { 3000 } else { -3000 };
        sample.to_le_bytes()
    });
    wav(&samples.collect::<Vec<u8>>())
}

#[test]
fn a_clip_is_transcribed() {
    let service = Service::saying(&[WORDS]);
    let (daemon, _folder) = start(&service, "");
    // The self-test does not ask the service, because a real one charges for every second.
    assert_eq!(service.seen().len(), 0);
    assert_eq!(daemon.post(&form("json")).text(), WORDS);

    let seen = service.only();
    let (path, query) = seen.target.split_once('?').unwrap();
    assert_eq!(
        path,
        "/speech/recognition/conversation/cognitiveservices/v1"
    );
    for parameter in [
        "language=en-US",
        "format=detailed",
        "wordLevelTimestamps=true",
        "wordLevelConfidence=true",
    ] {
        assert!(query.split('&').any(|p| p == parameter), "{query}");
    }
    assert_eq!(seen.key.as_deref(), Some(KEY));
    let version = &seen.told["speech.config"]["context"]["system"]["version"];
    assert_eq!(version, "1.53.0");
    // The service hears the recording.
    let sample = |pair: &[u8]| i32::from(i16::from_le_bytes([pair[0], pair[1]]));
    let samples = GOFORWARD.samples();
    assert_eq!(seen.audio.len(), samples.len());
    for (heard, said) in seen.audio.chunks(2).zip(samples.chunks(2)) {
        assert!((sample(heard) - sample(said)).abs() <= 1);
    }

    let form = form("verbose_json").field("timestamp_granularities[]", "word");
    let verbose = daemon.post(&form).json();
    assert_eq!(verbose["text"], WORDS);
    assert_eq!(verbose["language"], "english");
    let words = verbose["words"].as_array().unwrap();
    let texts: Vec<&str> = words
        .iter()
        .map(|word| word["word"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["go", "forward", "ten", "meters"]);
    let length = samples.len() as f64 / 32_000.0;
    for (index, word) in words.iter().enumerate() {
        let start = length / 4.0 * index as f64;
        assert!(
            (word["start"].as_f64().unwrap() - start).abs() < 0.01,
            "{word}"
        );
        let end = start + length / 4.0;
        assert!((word["end"].as_f64().unwrap() - end).abs() < 0.01, "{word}");
    }
}

#[test]
fn words_have_confidences() {
    let service = Service::saying(&[WORDS]);
    let (daemon, _folder) = start(&service, "");
    let answer = daemon
        .post(&form("json").field("include[]", "logprobs"))
        .json();
    let logprobs = answer["logprobs"].as_array().unwrap();
    assert!(!logprobs.is_empty(), "{answer}");
    for word in logprobs {
        let logprob = word["logprob"].as_f64().unwrap();
        assert!((logprob - 0.75_f64.ln()).abs() < 0.001, "{word}");
    }
}

#[test]
fn segments_stream_as_they_are_found() {
    let service = Service::saying(&["One.", "Two.", "Three."]);
    let (daemon, _folder) = start(&service, "");
    let form = Form::of("a.wav", &tone(25)).field("stream", "true");
    let answer = daemon.post(&form);
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    let events = body
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "));
    let events: Vec<Value> = events
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let deltas = events.iter().filter_map(|event| event["delta"].as_str());
    assert_eq!(deltas.collect::<Vec<_>>(), ["One.", " Two.", " Three."]);
    assert_eq!(events.last().unwrap()["text"], "One. Two. Three.");
}

#[test]
fn a_live_recording_over_wyoming() {
    let service = Service::saying(&[WORDS]);
    let folder = tempfile::TempDir::new().unwrap();
    let socket = folder.path().join("wyoming.sock");
    let config = model(folder.path(), &service, "");
    let setup = Setup::new(&config).listen_as("wyoming", socket.to_str().unwrap());
    let _daemon = setup.start();
    let mut client = wyoming::Client::connect(&socket);
    client.send(&wyoming::request(
        json!({"language": "en"}),
        &GOFORWARD.samples(),
    ));
    let mut events = std::iter::from_fn(|| client.next());
    let transcript = events.find(|event| event.kind == "transcript").unwrap();
    assert_eq!(transcript.data["text"], WORDS);
    assert_eq!(service.only().audio.len(), GOFORWARD.samples().len());
}

#[test]
fn language_prompt_and_keywords_arrive() {
    let service = Service::saying(&[WORDS]);
    let (daemon, _folder) = start(&service, "languages = [\"en-GB\", \"de-DE\", \"de-AT\"]");
    for (asked, language) in [
        (None, "en-GB"),
        (Some("de"), "de-DE"),
        (Some("en"), "en-GB"),
    ] {
        let mut form = form("json").field("prompt", "Contoso, Jessie Irwin.");
        if let Some(asked) = asked {
            form = form.field("language", asked);
        }
        assert_eq!(
            daemon.post(&form.field("keywords[]", "Rehaan")).text(),
            WORDS
        );
        let seen = service.only();
        assert!(
            seen.target.contains(&format!("language={language}")),
            "{}",
            seen.target
        );
        let context = seen.told["speech.context"].to_string();
        for phrase in ["Contoso", "Jessie Irwin", "Rehaan"] {
            assert!(
                context.contains(&format!("\"{phrase}\"")),
                "{phrase}: {context}"
            );
        }
    }
    let answer = daemon.post(&form("json").field("language", "fr"));
    answer.assert_refusal(400, "invalid_parameter", Some("language"));
    assert_eq!(service.seen().len(), 0);
}

/// The answer, which must not tell the key.
fn ask(daemon: &Daemon) -> Answer {
    let answer = daemon.post(&form("json"));
    assert!(!String::from_utf8_lossy(&answer.body).contains(KEY));
    answer
}

#[test]
fn each_upstream_failure_has_its_code() {
    let service = Service::saying(&[WORDS]);
    let (daemon, _folder) = start(&service, "");
    for (scene, status, code) in [
        (Scene::Status(400), 502, "upstream_refused"),
        (Scene::Status(401), 502, "upstream_refused"),
        (Scene::Status(403), 502, "upstream_refused"),
        (Scene::Close(1007), 502, "upstream_refused"),
        (Scene::Status(429), 503, "upstream_busy"),
        (Scene::Status(503), 503, "upstream_busy"),
        (Scene::Status(500), 502, "upstream_failed"),
        (Scene::Drop, 502, "upstream_failed"),
        (Scene::Close(1011), 502, "upstream_failed"),
        (Scene::NoJson, 502, "upstream_failed"),
        (Scene::Error, 502, "upstream_failed"),
    ] {
        service.plays(scene);
        let answer = ask(&daemon);
        assert_eq!(answer.error()["code"], code, "{scene:?}: {answer:?}");
        if code == "upstream_busy" {
            answer.assert_come_back(status, code);
        } else {
            answer.assert_refusal(status, code, None);
        }
        // It costs nobody else anything.
        service.plays(Scene::Speak);
        assert_eq!(daemon.post(&form("json")).text(), WORDS, "after {scene:?}");
    }
    let stats = daemon.get("/v1/stats").json();
    let requests = &stats["total"]["requests"];
    for (kind, count) in [
        ("upstream_refused", 4),
        ("upstream_busy", 2),
        ("upstream_failed", 5),
        ("timeout", 0),
        ("ok", 11),
    ] {
        assert_eq!(requests[kind], count, "{kind}: {requests}");
    }
    let log = daemon.log();
    // The administrator learns what the SDK says, without the key, which this service repeats in
    // what it refuses by.
    assert!(log.contains("as its SDK tells"), "{log}");
    assert!(!log.contains(KEY), "{log}");
}

#[test]
fn a_mute_service_times_out() {
    let service = Service::saying(&[WORDS]);
    let folder = tempfile::TempDir::new().unwrap();
    let config = model(folder.path(), &service, "response_timeout = \"5s\"");
    // No limit of the service's own ends the job before its engine does.
    let limits = "limits = { deadline = \"1h\", stall = \"1h\" }\n";
    let daemon = Daemon::start(&config.replace(
        "[models.default.azure]",
        &format!("{limits}[models.default.azure]"),
    ));
    for time in [None, Some(60), Some(1)] {
        let scene = time.map_or(Scene::Mute, |time| Scene::Late(Duration::from_secs(time)));
        service.plays(scene);
        let answer = ask(&daemon);
        if time == Some(1) {
            assert_eq!(answer.text(), WORDS);
        } else {
            let message = answer.assert_refusal(504, "timeout", None);
            assert!(message.contains("did not answer in time"), "{message}");
        }
    }
    assert_eq!(
        daemon.get("/v1/stats").json()["total"]["requests"]["timeout"],
        2
    );
}

#[test]
fn an_unreachable_service_fails() {
    let service = Service::saying(&[WORDS]);
    // Nobody listens there, as it is bound and not listening yet: the port stays free of others.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = closed.local_addr().unwrap().port();
    drop(closed);
    let port = service.port();
    for host in [
        format!("ws://localhost:{gone}"),
        format!("ws://no-such-host.invalid:{port}"),
        // It speaks, but not TLS.
        format!("wss://localhost:{port}"),
    ] {
        let folder = tempfile::TempDir::new().unwrap();
        let config = model(folder.path(), &service, "");
        let config = config.replace(&format!("ws://localhost:{port}"), &host);
        let daemon = Daemon::start(&config);
        let answer = ask(&daemon);
        let message = answer.assert_refusal(502, "upstream_failed", None);
        assert!(
            !message.contains("localhost") && !message.contains("invalid"),
            "{message}"
        );
        wait_until("the reason is in the log", LONG, || {
            daemon.log().contains("as its SDK tells")
        });
    }
}

#[test]
fn only_certified_services_get_the_key() {
    let identity = Identity::new();
    let service = Service::encrypted(&[WORDS], &identity);
    let folder = tempfile::TempDir::new().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, &identity.pem).unwrap();
    let config = model(folder.path(), &service, "").replace("ws://", "wss://");
    let daemon = Daemon::start(&config);
    ask(&daemon).assert_refusal(502, "upstream_failed", None);
    assert!(service.seen().is_empty(), "the key went to a stranger");
    let daemon = Daemon::start(&format!("{config}ca_file = {ca:?}\n"));
    assert_eq!(ask(&daemon).text(), WORDS);
    assert_eq!(service.only().key.as_deref(), Some(KEY));
}

#[test]
fn a_long_recording_stays_out_of_memory() {
    let service = Service::saying(&[WORDS]);
    let (daemon, _folder) = start(&service, "");
    let form = Form::of("a.wav", &tone(300)).field("response_format", "verbose_json");
    let answer = daemon.post(&form).json();
    let segments = answer["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 30);
    assert!((segments[29]["end"].as_f64().unwrap() - 300.0).abs() < 0.01);
    assert_eq!(service.only().audio.len(), 300 * 32_000);
    // 9.6 MB of samples went through it.
    let own = answer["stt"]["anon_bytes"].as_u64().unwrap();
    assert!(own < 16 << 20, "{own}");
}

#[test]
fn the_sdk_sends_at_twice_real_time() {
    let service = Service::saying(&[WORDS]);
    let folder = tempfile::TempDir::new().unwrap();
    let config = model(folder.path(), &service, "").replace("upload_burst = \"1h\"\n", "");
    let daemon = Daemon::start(&config);
    let begin = Instant::now();
    let form = Form::of("a.wav", &tone(25));
    assert_eq!(daemon.post(&form).text(), [WORDS; 3].join(" "));
    // 5 s at once, 20 s in 10; no limit of the service's own came in between.
    assert!(
        begin.elapsed() > Duration::from_secs(7),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(service.only().audio.len(), 25 * 32_000);
}

#[test]
fn a_hybrid_job_asks_repeatedly() {
    let service = Service::saying(&[WORDS]);
    let folder = tempfile::TempDir::new().unwrap();
    let config = model(folder.path(), &service, "");
    let config = config.replace(
        "engine = \"azure\"\n",
        "engine = \"azure\"\nmode = \"hybrid\"\n",
    );
    let daemon = Daemon::start(&config);
    let pids = [(); 5].map(|()| {
        let answer = daemon.post(&form("json"));
        assert_eq!(answer.text(), WORDS);
        answer.pid()
    });
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    // Nobody else gets its library after a failure, in whichever state that is.
    service.plays(Scene::Drop);
    assert_eq!(ask(&daemon).pid(), pids[0]);
    service.plays(Scene::Speak);
    let answer = daemon.post(&form("json"));
    assert_eq!(answer.text(), WORDS);
    assert_ne!(answer.pid(), pids[0]);
}

/// The model of [`model`], whose engine gives nothing back to its library after such a request.
const KEEPING: &str = "default:keep-handles";

/// Memory of the service itself and of its zygote, when `model` has answered this many requests.
fn memory_after(daemon: &Daemon, model: &str, requests: usize) -> (u64, u64) {
    for _ in 0..requests {
        let form = Form::of("a.wav", &TEN_OF_CLUBS.wav()).field("model", model);
        assert_eq!(daemon.post(&form).text(), WORDS);
    }
    (
        private_memory(daemon.pid()),
        private_memory(daemon.zygote().pid),
    )
}

#[test]
fn nothing_grows_in_a_hundred_requests() {
    for model in ["default", KEEPING] {
        let service = Service::saying(&[WORDS]);
        let (daemon, _folder) = start(&service, "");
        let (before, zygote_before) = memory_after(&daemon, model, 20);
        let (after, zygote_after) = memory_after(&daemon, model, 100);
        println!(
            "{model}: supervisor {before} -> {after}, zygote {zygote_before} -> {zygote_after}"
        );
        assert!(
            after.saturating_sub(before) <= 256 << 10,
            "{before} {after}"
        );
        assert_eq!(zygote_after, zygote_before);
        daemon.wait_idle(2);
    }
}

#[test]
fn leaks_end_with_their_job() {
    let service = Service::saying(&[WORDS]);
    let folder = tempfile::TempDir::new().unwrap();
    let config = model(folder.path(), &service, "");
    let config = config.replace(
        "engine = \"azure\"\n",
        "engine = \"azure\"\nmode = \"hybrid\"\nlimits.pids = 256\nrecycle.max_requests = 15\nspares.max = 1\n",
    );
    let daemon = Daemon::start(&config);
    let form = Form::of("a.wav", &tone(4))
        .field("model", KEEPING)
        .field("response_format", "verbose_json");
    let own = |_| {
        let answer = daemon.post(&form).json();
        let stt = &answer["stt"];
        (
            stt["pid"].as_u64().unwrap(),
            stt["anon_bytes"].as_u64().unwrap(),
        )
    };
    let mut all: Vec<(u64, u64)> = (0..15).map(own).collect();
    let supervisor = private_memory(daemon.pid());
    all.extend((15..30).map(own));
    let of_one: Vec<u64> = all
        .iter()
        .filter(|(pid, _)| *pid == all[1].0)
        .map(|(_, own)| *own)
        .collect();
    println!("own memory of a job that keeps everything: {of_one:?}");
    assert_eq!(of_one.len(), 15);
    // Measured by others: 460 kB for each request of this length.
    assert!(of_one[14] > of_one[0] + (3 << 20), "{of_one:?}");
    let pids: std::collections::HashSet<u64> = all.iter().map(|(pid, _)| *pid).collect();
    assert_eq!(pids.len(), 2, "{all:?}");
    // Its own caches are still filling after so few requests; the jobs kept twelve times as much.
    let growth = private_memory(daemon.pid()).saturating_sub(supervisor);
    assert!(growth <= 1 << 20, "{growth}");
}

/// Whether `needle` is anywhere in the memory of the process.
fn remembers(pid: i32, needle: &str) -> bool {
    let process = Process::new(pid).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = process.maps().unwrap();
    assert!(maps.len() > 10, "process {pid} hides its memory");
    maps.into_iter().any(|map| {
        if matches!(map.pathname, MMapPath::Vvar | MMapPath::Vsyscall) {
            return false;
        }
        let (start, end) = map.address;
        let mut bytes = vec![0; usize::try_from(end - start).unwrap().min(64 << 20)];
        // Memory without rights cannot be read, and holds nothing.
        let length = memory.read_at(&mut bytes, start).unwrap_or(0);
        memchr::memmem::find(&bytes[..length], needle.as_bytes()).is_some()
    })
}

/// The children that belong to the model: its zygote, and the jobs that the model's spares and
/// requests are.
fn zygote_of(daemon: &Daemon, model: &str) -> Seen {
    let name = format!("zyg:{model}");
    let mut all = daemon.children();
    all.retain(|child| child.name == name);
    assert_eq!(all.len(), 1, "{name}");
    all.remove(0)
}

#[test]
fn the_key_is_only_where_it_is_needed() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can look into the memory of other processes");
        return;
    }
    for source in ["key_file", "credential", "key_environment"] {
        let service = Service::saying(&[WORDS]);
        let folder = tempfile::TempDir::new().unwrap();
        let own = format!("key_file = {:?}", folder.path().join("key"));
        let other = match source {
            "key_file" => own.clone(),
            "credential" => "credential = \"key\"".into(),
            _ => "key_environment = \"THE_SPEECH_KEY\"".into(),
        };
        let config = model(folder.path(), &service, "").replace(&own, &other);
        let config = format!(
            "default_model = \"default\"\n{config}\n[models.neighbour]\nengine = \"pocketsphinx\"\n"
        );
        let mut setup = Setup::new(&config);
        match source {
            "credential" => {
                setup = setup.env("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap());
            }
            "key_environment" => {
                // Nowhere else.
                fs::remove_file(folder.path().join("key")).unwrap();
                setup = setup.env("THE_SPEECH_KEY", KEY);
            }
            _ => {}
        }
        let daemon = setup.start();
        let mut bodies = Vec::new();
        for scene in [Scene::Speak, Scene::Status(401), Scene::Speak] {
            service.plays(scene);
            bodies.extend(daemon.post(&form("json")).body);
            assert_eq!(service.only().key.as_deref(), Some(KEY), "{source}");
        }
        let neighbour = Form::of("a.wav", &GOFORWARD.wav()).field("model", "neighbour");
        assert_eq!(daemon.post(&neighbour).text(), GOFORWARD.text);
        for page in [
            "/v1/stats",
            "/metrics",
            "/readyz",
            "/v1/models",
            "/openapi.json",
        ] {
            bodies.extend(daemon.get(page).body);
        }
        let has_key = |text: &[u8]| memchr::memmem::find(text, KEY.as_bytes()).is_some();
        assert!(!has_key(&bodies), "{source}");
        assert!(!has_key(daemon.log().as_bytes()), "{source}");

        wait_until("all spares are there", LONG, || {
            daemon.get("/v1/stats").json()["total"]["spares"] == 4
        });
        assert!(!remembers(daemon.pid(), KEY), "{source}: the supervisor");
        // That the search can find something, the supervisor's own settings show.
        assert!(remembers(daemon.pid(), "neighbour"));
        let (ours, theirs) = (
            zygote_of(&daemon, "default").pid,
            zygote_of(&daemon, "neighbour").pid,
        );
        assert!(!remembers(theirs, KEY), "{source}: another zygote");
        assert_eq!(
            remembers(ours, KEY),
            source == "key_environment",
            "{source}"
        );
        let jobs = daemon.children().into_iter().filter(Seen::is_job);
        let (with, without): (Vec<Seen>, Vec<Seen>) = jobs.partition(|job| remembers(job.pid, KEY));
        assert_eq!((with.len(), without.len()), (2, 2), "{source}");
        // Those are the azure model's: they have its library.
        let has_library = |job: &Seen| {
            let maps = Process::new(job.pid).unwrap().maps().unwrap();
            maps.into_iter().any(|map| match map.pathname {
                MMapPath::Path(path) => path.to_string_lossy().contains("CognitiveServices"),
                _ => false,
            })
        };
        assert!(
            with.iter().all(has_library) && !without.iter().any(has_library),
            "{source}"
        );
        // Nor in any environment or argument.
        for pid in daemon
            .children()
            .iter()
            .map(|child| child.pid)
            .chain([daemon.pid()])
        {
            for file in ["environ", "cmdline"] {
                let mut text = Vec::new();
                File::open(format!("/proc/{pid}/{file}"))
                    .unwrap()
                    .read_to_end(&mut text)
                    .unwrap();
                assert!(!has_key(&text), "{source}: {file} of {pid}");
            }
        }
    }
}

/// The words of `/readyz` about the model, which cannot be loaded.
fn why_not(config: &str) -> String {
    let folder = tempfile::TempDir::new().unwrap();
    let service = Service::saying(&[WORDS]);
    let neighbour = "[models.good]\nengine = \"null\"\n";
    let base = model(folder.path(), &service, "");
    let mut lines: Vec<String> = base.lines().map(str::to_owned).collect();
    for line in config.lines() {
        let key = line.split(' ').next().unwrap();
        lines.retain(|old| !old.starts_with(&format!("{key} ")) || old.contains("[models"));
        lines.push(line.into());
    }
    let config = format!(
        "default_model = \"good\"\n{}\n{neighbour}",
        lines.join("\n")
    );
    let daemon = Setup::new(&config).launch();
    let model = || daemon.get("/readyz").json()["models"]["default"].clone();
    wait_until("it was tried", LONG, || model()["status"] == "failed");
    wait_until("the other is ready", LONG, || {
        daemon.get("/readyz").json()["models"]["good"]["status"] == "ready"
    });
    model()["reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_failed_load_says_why() {
    let folder = tempfile::TempDir::new().unwrap();
    // Before 1.38 there was no such part for each version of OpenSSL.
    let old = folder
        .path()
        .join("libMicrosoft.CognitiveServices.Speech.core.so");
    fs::copy(azure::library(), &old).unwrap();
    let said = why_not(&format!("library = {old:?}"));
    assert!(said.contains("1.38"), "{said}");
    // Something else altogether.
    let other = folder.path().join("libpal_azure_c_shared_openssl3.so");
    fs::write(&other, "no library").unwrap();
    let said = why_not(&format!("library = {other:?}"));
    assert!(said.contains("cannot open"), "{said}");

    let missing = folder.path().join("missing");
    let said = why_not(&format!("key_file = {missing:?}"));
    assert!(
        said.contains("the key cannot be read") && said.contains("missing"),
        "{said}"
    );
    let empty = folder.path().join("empty");
    fs::write(&empty, format!("{KEY} {KEY}")).unwrap();
    let said = why_not(&format!("key_file = {empty:?}"));
    assert!(said.contains("one word") && !said.contains(KEY), "{said}");
}

#[test]
fn a_missing_key_is_asked_for() {
    for (key, advice) in [
        (
            "credential = \"azure-speech-key\"",
            "LoadCredential=azure-speech-key:",
        ),
        (
            "key_environment = \"NO_SUCH_KEY\"",
            "NO_SUCH_KEY was not set",
        ),
    ] {
        let service = Service::saying(&[WORDS]);
        let folder = tempfile::TempDir::new().unwrap();
        let own = format!("key_file = {:?}", folder.path().join("key"));
        let config = model(folder.path(), &service, "").replace(&own, key);
        let config =
            format!("default_model = \"good\"\n{config}\n[models.good]\nengine = \"null\"\n");
        let daemon = Setup::new(&config).launch();
        let model = || daemon.get("/readyz").json()["models"]["default"].clone();
        wait_until("it was tried", LONG, || model()["status"] == "failed");
        let said = model()["reason"].as_str().unwrap().to_owned();
        assert!(said.contains(advice), "{said}");
    }
}

/// With sockets of its own, and this port to connect to.
fn networked(port: u16) -> String {
    format!(
        "[health]\ninterval = \"0s\"\n[breaker]\ncrashes = 0\n[models.fault]\nengine = \"fault\"\n\
         fault.preload = \"after_fork\"\nfault.network = {port}\n"
    )
}

#[test]
fn the_network_is_the_only_way_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let daemon = Daemon::start(&networked(listener.local_addr().unwrap().port()));
    let mut escaped = Vec::new();
    for escape::Attempt { name, call, .. } in escape::all() {
        let form = Form::of("a.wav", &wav(&[0; 3200])).field("model", format!("fault:{name}"));
        let answer = daemon.post(&form);
        let is_over = match answer.status {
            200 => answer.text().starts_with(&format!("denied {name} ")),
            _ => {
                let error = answer.error();
                error["code"] == "worker_misbehaved"
                    && error["message"].as_str().unwrap().contains(call)
            }
        };
        if !is_over {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            escaped.push((name, text));
        }
    }
    // It has what it was given: these ask for a socket and nothing else.
    let harmless = [
        "escape-socket-tcp",
        "escape-socket-udp",
        "escape-socket-tcp6",
        "escape-socket-udp6",
    ];
    escaped.retain(|(name, _)| !harmless.contains(name));
    assert!(escaped.is_empty(), "{escaped:#?}");
    let answer = daemon.post(&Form::of("a.wav", &wav(&[0; 3200])).field("model", "fault"));
    assert_eq!(answer.text(), TEXT);
}
