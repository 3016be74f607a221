//! `sttctl model pull` from a server of these tests, which gives generated models of real form.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    common::{
        LONG,
        azure::Identity,
        clips::GOFORWARD,
        daemon::{BINARY, Setup},
        ggml::{Ggml, segment},
        http::Form,
        kaldi,
        tmux::Tmux,
        user, wait_until,
    },
    server::{Server, begin, hang, head, whole},
};

/// Variables that name proxies and mirrors.
const NETWORK: [&str; 12] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "HF_ENDPOINT",
    "STT_ISOLATED_MIRROR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// A models directory and a catalogue of one's own.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = TempDir::new().unwrap();
        // A model is tried as the user who owns its folder.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("models")).unwrap();
        Place { folder }
    }

    /// A place whose catalogue has the model `toy`: this file, at this address.
    fn offering(file: &[u8], url: &str) -> Place {
        let place = Place::new();
        place.offer("toy", file, url);
        place
    }

    /// Adds a model to the catalogue.
    fn offer(&self, name: &str, file: &[u8], url: &str) {
        let entry = entry(name, file.len(), &sum(file), url);
        let mut catalogue = File::options()
            .append(true)
            .create(true)
            .open(self.at("catalogue.toml"))
            .unwrap();
        catalogue.write_all(entry.as_bytes()).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All files in the models directory, hidden or not.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.at("models")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// The path of a file that has come in part.
    fn partial(&self, file: &[u8]) -> PathBuf {
        self.at("models").join(format!(".pull-{}.bin", sum(file)))
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let path = |name| self.at(name).to_str().unwrap().to_owned();
        vec![
            ("STT_ISOLATED_MODELS_DIRECTORY", path("models")),
            ("STT_ISOLATED_CATALOGUE", path("catalogue.toml")),
            // One thread, since several spin where other things run at the same time.
            ("STT_ISOLATED_LIMITS__CPUS", "1.0".into()),
            // The trial's clocks must not matter on a busy machine.
            ("STT_ISOLATED_LIMITS__DEADLINE", "1h".into()),
            ("STT_ISOLATED_ZYGOTE__LOAD_TIMEOUT", "1h".into()),
        ]
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sttctl"));
        command.arg("model").args(arguments);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        for name in NETWORK {
            command.env_remove(name);
        }
        command.envs(self.environment());
        command
    }

    fn model(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Pulls `toy`, which must succeed; what was said on standard error.
    #[track_caller]
    fn pulls(&self, file: &[u8]) -> String {
        let said = installed(&self.model(&["pull", "toy"]));
        assert_eq!(self.files(), ["toy.bin"]);
        assert!(fs::read(self.at("models/toy.bin")).unwrap() == file);
        said
    }

    /// Pulls `toy`, which must fail with these words and install nothing.
    #[track_caller]
    fn refuses(&self, words: &str) -> String {
        let said = refused(&self.model(&["pull", "toy"]), words);
        assert!(!self.at("models/toy.bin").exists());
        said
    }
}

fn entry(name: &str, size: usize, sum: &str, url: &str) -> String {
    format!(
        "[{name}]\nengine = \"whisper\"\nlicence = \"MIT\"\nlanguages = \"English\"\nmemory = \"1M\"\n\
         hears = \"not measured\"\n[[{name}.files]]\nname = \"toy.bin\"\nurl = \"{url}\"\nsize = {size}\n\
         sha256 = \"{sum}\"\n"
    )
}

fn sum(file: &[u8]) -> String {
    let sum = Sha256::digest(file);
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A model that hears `text` in everything.
fn toy(text: &'static str) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("toy.bin");
    Ggml::english(segment(0.0, text, 2.0)).write(&file);
    fs::read(file).unwrap()
}

#[track_caller]
fn installed(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

#[track_caller]
fn refused(output: &Output, words: &str) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    print!("{said}");
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(1), 0),
        "{said}"
    );
    let last = said.lines().last().unwrap();
    assert!(last.contains(words), "{said}");
    said
}

#[test]
fn a_model_of_the_catalogue_is_pulled_and_served() {
    let file = toy("go forward");
    let server = Server::of(file.clone());
    let place = Place::offering(&file, &server.url("toy.bin"));
    let config = format!(
        "models_directory = {:?}\n[spares]\nmin = 0\nmax = 0\n[limits]\ncpus = 1.0\n",
        place.at("models")
    );
    let catalogue = place.at("catalogue.toml");
    let setup = Setup::new(&config).env("STT_ISOLATED_CATALOGUE", catalogue.to_str().unwrap());
    let daemon = setup.start();
    // Until then an error names the command, and only for a name of the catalogue.
    let ask = |model: &str| daemon.post(&Form::of("a.wav", &GOFORWARD.wav()).field("model", model));
    let message = ask("toy").assert_refusal(404, "model_not_found", Some("model"));
    let advice = "to install it, run `sudo sttctl model pull toy --reload`";
    assert!(message.contains(advice), "{message}");
    let message = ask("other").assert_refusal(404, "model_not_found", Some("model"));
    assert!(!message.contains("pull"), "{message}");

    let output = place.model(&["pull", "toy"]);
    installed(&output);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.starts_with("Model `toy` is ") && said.contains("licence MIT"),
        "{said}"
    );
    assert!(said.contains("systemctl reload"), "{said}");
    assert_eq!(place.files(), ["toy.bin"]);
    let there = fs::metadata(place.at("models/toy.bin")).unwrap();
    assert_eq!(there.permissions().mode() & 0o7777, 0o644);
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].line, "GET /toy.bin");
    assert_eq!(requests[0].header("accept-encoding"), Some("identity"));
    assert!(
        requests[0]
            .header("user-agent")
            .unwrap()
            .starts_with("sttctl/")
    );

    let before = daemon.log().len();
    daemon.signal(Signal::SIGHUP);
    wait_until("the reload is over", LONG, || {
        daemon.log()[before..].contains("reload: done")
    });
    assert_eq!(ask("toy").text(), "go forward");

    // The name is taken, and there are two ways out.
    let said = refused(
        &place.model(&["pull", "toy"]),
        "there is a model `toy` already",
    );
    assert!(
        said.contains("--name") && said.contains("--force"),
        "{said}"
    );
    installed(&place.model(&["pull", "toy", "--name", "mine"]));
    installed(&place.model(&["pull", "toy", "--force"]));
    assert_eq!(place.files(), ["mine.bin", "toy.bin"]);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_connection_that_is_cut_off_is_made_again() {
    let file = toy("go forward");
    let half = file.len() / 2;
    let content = file.clone();
    let server = Server::new(move |number, request, out| {
        let start = begin(&content, "\"one\"", request, out)?;
        let end = if number == 0 { half } else { content.len() };
        out.write_all(&content[start..end])
    });
    let place = Place::offering(&file, &server.url("toy.bin"));
    let said = place.pulls(&file);
    assert!(
        said.contains("the connection was cut off: trying again"),
        "{said}"
    );
    assert_eq!(server.starts(), [0, half]);
    assert_eq!(server.requests()[1].header("if-range"), Some("\"one\""));
}

#[test]
fn the_next_pull_goes_on_where_the_last_one_ended() {
    let file = toy("go forward");
    let half = file.len() / 2;
    let content = file.clone();
    let server = Server::new(move |number, request, out| match number {
        0 => {
            let start = begin(&content, "\"one\"", request, out)?;
            out.write_all(&content[start..half])
        }
        // The connection ends without an answer.
        1..4 => Ok(()),
        _ => whole(&content, "\"one\"", request, out),
    });
    let place = Place::offering(&file, &server.url("toy.bin"));
    place.refuses("that much is kept: pull again to go on");
    assert_eq!(fs::read(place.partial(&file)).unwrap(), file[..half]);
    let list = place.model(&["list", "--available"]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(
        list.contains("49 % come") || list.contains("50 % come"),
        "{list}"
    );
    let said = place.pulls(&file);
    assert!(said.contains("toy: goes on at "), "{said}");
    assert_eq!(server.starts(), [0, half, half, half, half]);
}

#[test]
fn a_server_that_cannot_go_on_sends_all() {
    let file = toy("go forward");
    let content = file.clone();
    let server = Server::new(move |number, _, out| {
        let length = format!("Content-Length: {}\r\n", content.len());
        head(out, "200 OK", &length)?;
        let end = if number == 0 { 1000 } else { content.len() };
        out.write_all(&content[..end])
    });
    let place = Place::offering(&file, &server.url("toy.bin"));
    place.pulls(&file);
    assert_eq!(server.starts(), [0, 1000]);
}

#[test]
fn a_file_that_changed_meanwhile_begins_again() {
    let file = toy("go forward");
    let mut old = file.clone();
    old[1000] ^= 1;
    let content = file.clone();
    let server = Server::new(move |_, request, out| whole(&content, "\"new\"", request, out));
    let place = Place::offering(&file, &server.url("toy.bin"));
    let half = old.len() - 1000;
    fs::write(place.partial(&file), &old[..half]).unwrap();
    fs::write(place.partial(&file).with_extension("etag"), "\"old\"").unwrap();
    place.pulls(&file);
    assert_eq!(server.requests()[0].header("if-range"), Some("\"old\""));
    assert_eq!(server.starts(), [half]);

    // A server that does not care sends the rest of something else. The sum tells, and all is
    // downloaded once more.
    let place = Place::offering(&file, &server.url("toy.bin"));
    fs::write(place.partial(&file), &old[..half]).unwrap();
    let said = place.pulls(&file);
    assert!(said.contains("its parts do not fit together"), "{said}");
    assert_eq!(server.starts(), [half, half, 0]);

    // More than the file ever had.
    let place = Place::offering(&file, &server.url("toy.bin"));
    fs::write(place.partial(&file), [&old[..], &old[..]].concat()).unwrap();
    place.pulls(&file);
}

#[test]
fn a_server_that_stalls_or_trickles_is_given_up() {
    let file = toy("go forward");
    for trickle in [false, true] {
        let content = file.clone();
        let server = Server::new(move |number, request, out| {
            if number > 0 {
                return whole(&content, "\"one\"", request, out);
            }
            let start = begin(&content, "\"one\"", request, out)?;
            let (now, rest) = content[start..].split_at(2000);
            out.write_all(now)?;
            if !trickle {
                return hang();
            }
            // Until the client has had enough.
            for byte in rest {
                out.write_all(&[*byte])?;
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            Ok(())
        });
        let place = Place::offering(&file, &server.url("toy.bin"));
        let output = place.model(&["pull", "toy", "--timeout", "3s"]);
        let said = installed(&output);
        let reason = if trickle {
            " bytes came in 3s"
        } else {
            "nothing came for 3s"
        };
        assert!(said.contains(&format!("{reason}: trying again")), "{said}");
        assert_eq!(place.files(), ["toy.bin"]);
        assert!(server.starts()[1] >= 2000, "{:?}", server.starts());
    }
}

#[test]
fn a_file_of_another_size_is_refused_before_it_comes() {
    let file = toy("go forward");
    for length in [file.len() - 1, file.len() + 1] {
        let server = Server::of(vec![7; length]);
        let place = Place::offering(&file, &server.url("toy.bin"));
        let words = format!(
            "has {length} bytes, but the catalogue says {} bytes",
            file.len()
        );
        place.refuses(&words);
        assert_eq!((server.requests().len(), place.files().len()), (1, 0));
    }
}

#[test]
fn a_server_that_does_not_name_the_size_gets_no_further() {
    let file = toy("go forward");
    let (length, content) = (file.len(), file.clone());
    let server = Server::new(move |_, _, out| {
        head(out, "200 OK", "")?;
        // It would go on for ever.
        loop {
            out.write_all(&content)?;
        }
    });
    let place = Place::offering(&file, &server.url("toy.bin"));
    place.refuses(&format!("the server has more than {length} bytes"));
    assert!(place.files().is_empty());

    // And one whose file is too short begins again each time.
    let content = file[..length - 5].to_vec();
    let server = Server::new(move |_, request, out| {
        if request.start() > 0 {
            return head(out, "416 Range Not Satisfiable", "Content-Length: 0\r\n");
        }
        head(out, "200 OK", "")?;
        out.write_all(&content)
    });
    let place = Place::offering(&file, &server.url("toy.bin"));
    place.refuses("that much is kept: pull again to go on");
    assert!(server.requests().len() <= 6, "{:?}", server.starts());
}

#[test]
fn another_file_of_the_same_size_is_refused() {
    let file = toy("go forward");
    let mut other = file.clone();
    *other.last_mut().unwrap() ^= 1;
    let server = Server::of(other.clone());
    let place = Place::offering(&file, &server.url("toy.bin"));
    let said = place.refuses("nothing of it was kept");
    assert!(
        said.contains(&format!("is {}, not {}", sum(&other), sum(&file))),
        "{said}"
    );
    assert_eq!((server.requests().len(), place.files().len()), (1, 0));
}

#[test]
fn redirects_are_followed_if_they_are_safe_and_few() {
    let file = toy("go forward");
    let content = file.clone();
    let server = Server::new(move |_, request, out| {
        let to = match request.line.as_str() {
            "GET /moved.bin" => "/there/toy.bin",
            "GET /away.bin" => "http://192.0.2.1/toy.bin",
            "GET /file.bin" => "file:///etc/passwd",
            "GET /there/toy.bin" => return whole(&content, "\"one\"", request, out),
            _ => "/circle.bin",
        };
        head(
            out,
            "302 Found",
            &format!("Location: {to}\r\nContent-Length: 0\r\n"),
        )
    });
    let place = Place::offering(&file, &server.url("moved.bin"));
    place.pulls(&file);
    for (path, words) in [
        (
            "away.bin",
            "it was sent on to http://192.0.2.1/toy.bin, but only https:// is safe",
        ),
        ("file.bin", "the server says 302 Found"),
        ("circle.bin", "sent on more than 10 times"),
    ] {
        let place = Place::offering(&file, &server.url(path));
        place.refuses(words);
        assert!(place.files().is_empty());
    }
    assert!(server.requests().len() < 20);
}

#[test]
fn answers_with_errors_are_told_with_advice() {
    let file = toy("go forward");
    let server = Server::new(|_, request, out| {
        let status = request.line.trim_start_matches("GET /").to_owned();
        head(out, &format!("{status} Whatever"), "Content-Length: 0\r\n")
    });
    for (status, words) in [
        (
            "404",
            "the server says 404 Not Found: the file is not there any more",
        ),
        (
            "403",
            "the server says 403 Forbidden: it wants to know who asks",
        ),
        (
            "500",
            "the server says 500 Internal Server Error: pull again later",
        ),
        (
            "429",
            "the server says 429 Too Many Requests: pull again later",
        ),
        ("204", "the server says 204 No Content"),
    ] {
        let place = Place::offering(&file, &server.url(status));
        place.refuses(words);
        assert!(place.files().is_empty());
    }
    assert_eq!(server.requests().len(), 5);
    // An error in the middle keeps what is there.
    let place = Place::offering(&file, &server.url("500"));
    fs::write(place.partial(&file), &file[..1000]).unwrap();
    place.refuses("pull again later; what has come is kept");
    assert_eq!(fs::read(place.partial(&file)).unwrap(), file[..1000]);
}

#[test]
fn a_server_that_cannot_be_reached_is_told_with_advice() {
    let file = toy("go forward");
    let server = Server::of(file.clone());
    let url = server.url("toy.bin");
    // Nobody listens at a port that was just given back.
    drop(server);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    drop(url);
    let place = Place::offering(&file, &format!("http://127.0.0.1:{port}/toy.bin"));
    let said = place.refuses("is this machine online?");
    assert!(
        said.contains("Connection refused") && said.contains("https_proxy"),
        "{said}"
    );
}

#[test]
fn proxies_and_mirrors_are_those_of_the_variables() {
    let file = toy("go forward");
    let content = file.clone();
    let server = Server::new(move |_, request, out| {
        if request.line.starts_with("CONNECT") {
            return head(out, "403 Forbidden", "Content-Length: 0\r\n");
        }
        whole(&content, "\"one\"", request, out)
    });
    let (proxy, mirror) = (server.url(""), server.url("mirror/"));
    let https = "https://models.example/a/toy.bin";
    let hugging_face = "https://huggingface.co/a/toy.bin";
    for (url, variables, words) in [
        (
            "http://127.0.0.1:9/toy.bin",
            vec![("http_proxy", &proxy)],
            "GET http://127.0.0.1:9/toy.bin",
        ),
        (
            "http://127.0.0.1:9/toy.bin",
            vec![("ALL_PROXY", &proxy)],
            "GET http://127.0.0.1:9/toy.bin",
        ),
        (
            https,
            vec![("https_proxy", &proxy)],
            "CONNECT models.example:443",
        ),
        (
            https,
            vec![("STT_ISOLATED_MIRROR", &mirror)],
            "GET /mirror/models.example/a/toy.bin",
        ),
        (
            hugging_face,
            vec![("HF_ENDPOINT", &mirror)],
            "GET /mirror/a/toy.bin",
        ),
    ] {
        let place = Place::offering(&file, url);
        let before = server.requests().len();
        let output = place
            .command(&["pull", "toy"])
            .envs(variables.clone())
            .output()
            .unwrap();
        let line = server.requests()[before].line.clone();
        assert_eq!(line, words, "{variables:?}");
        match line.starts_with("CONNECT") {
            true => drop(refused(&output, "https://models.example/a/toy.bin: ")),
            false => drop(installed(&output)),
        }
    }
    // A host that needs no proxy.
    let own = server.url("toy.bin");
    let place = Place::offering(&file, &own);
    let mut command = place.command(&["pull", "toy"]);
    command
        .env("http_proxy", "http://127.0.0.1:9")
        .env("no_proxy", "127.0.0.1");
    installed(&command.output().unwrap());
    let mut command = place.command(&["pull", "toy", "--force"]);
    command.env("STT_ISOLATED_MIRROR", "mirror.lan");
    refused(
        &command.output().unwrap(),
        "STT_ISOLATED_MIRROR=\"mirror.lan\" is not an address",
    );
}

#[test]
fn certificates_are_checked() {
    let file = toy("go forward");
    let (identity, content) = (Identity::new(), file.clone());
    let server = Server::tls(identity.config.clone(), move |_, request, out| {
        whole(&content, "\"one\"", request, out)
    });
    let url = server.url("toy.bin").replace("http://", "https://");
    let place = Place::offering(&file, &url);
    let said = place.refuses("is this machine online?");
    assert!(said.contains("certificate"), "{said}");
    assert!(place.files().is_empty());
    fs::write(place.at("ca.pem"), &identity.pem).unwrap();
    let mut command = place.command(&["pull", "toy"]);
    installed(&command.env("SSL_CERT_FILE", "ca.pem").output().unwrap());
    assert_eq!(place.files(), ["toy.bin"]);
}

/// A small disk at the models directory; gone when this is dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None` where none can be made.
    fn new(place: &Place, bytes: usize) -> Option<Disk> {
        let folder = place.at("models");
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={bytes},mode=755"),
                "none",
            ])
            .arg(&folder)
            .stderr(Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            let _ = writeln!(std::io::stderr(), "SKIPPED: no disk can be mounted here");
            return None;
        }
        Some(Disk(folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_before_and_while_it_fills() {
    let file = toy("go forward");
    let (content, half) = (file.clone(), file.len() / 2);
    let (told, hears) = std::sync::mpsc::channel();
    let hears = std::sync::Mutex::new(hears);
    let server = Server::new(move |number, request, out| {
        if number > 0 {
            return whole(&content, "\"one\"", request, out);
        }
        let start = begin(&content, "\"one\"", request, out)?;
        out.write_all(&content[start..half])?;
        out.flush()?;
        // By then the test has filled the disk.
        let _ = hears.lock().unwrap().recv();
        out.write_all(&content[half..])
    });
    let place = Place::offering(&file, &server.url("toy.bin"));
    let Some(_disk) = Disk::new(&place, file.len() / 2) else {
        return;
    };
    let said = place.refuses("are missing");
    assert!(
        said.contains("more are needed, but ") && server.requests().is_empty(),
        "{said}"
    );
    drop(_disk);

    let Some(_disk) = Disk::new(&place, file.len() + (64 << 10)) else {
        return;
    };
    let mut command = place.command(&["pull", "toy"]);
    command.stderr(Stdio::piped()).stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    let partial = place.partial(&file);
    wait_until("half of it is there", LONG, || {
        fs::metadata(&partial).is_ok_and(|there| there.len() == half as u64)
    });
    let other = place.at("models/other");
    let _ = fs::write(&other, vec![0; file.len()]);
    told.send(()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = refused(&output, "No space left on device");
    assert!(said.contains("make room and pull again to go on"), "{said}");
    assert!(fs::metadata(&partial).unwrap().len() >= half as u64);
    // With room it goes on.
    fs::remove_file(other).unwrap();
    place.pulls(&file);
    assert!(server.starts()[1] >= half);
}

#[test]
fn a_wrong_line_of_the_catalogue_costs_its_own_model() {
    let file = toy("go forward");
    let server = Server::of(file.clone());
    let place = Place::offering(&file, &server.url("toy.bin"));
    refused(
        &place.model(&["pull", "base"]),
        "the catalogue has no model `base`; `sttctl model list",
    );
    let wrong = entry("wrong", 7, "abc", "https://models.example/x");
    let text = fs::read_to_string(place.at("catalogue.toml")).unwrap();
    fs::write(place.at("catalogue.toml"), format!("{text}{wrong}")).unwrap();
    let said = place.pulls(&file);
    let line = "catalogue.toml:22: wrong.files.sha256: a SHA-256 has 64 hexadecimal digits";
    assert!(said.contains(line), "{said}");
    refused(
        &place.model(&["pull", "wrong"]),
        "the catalogue has no model `wrong`",
    );
    // The service says the same, and starts all the same.
    let path = place.at("catalogue.toml");
    let daemon = Setup::new("")
        .env("STT_ISOLATED_CATALOGUE", path.to_str().unwrap())
        .start();
    let log = daemon.log();
    assert!(log.contains(line), "{log}");

    fs::remove_file(place.at("catalogue.toml")).unwrap();
    refused(
        &place.model(&["pull", "toy", "--force"]),
        "there is no catalogue of models",
    );
    refused(
        &place.model(&["list", "--available"]),
        "there is no catalogue of models",
    );
}

#[test]
fn a_model_that_cannot_be_served_is_not_installed() {
    let mut file = toy("go forward");
    file.truncate(file.len() - 100);
    let server = Server::of(file.clone());
    let place = Place::offering(&file, &server.url("toy.bin"));
    place.refuses("it cannot be served: the model toy cannot be used: it ends in the middle");
    let said = place.refuses("the download is kept");
    assert!(!said.contains("trying again"), "{said}");
    // The second trial needed no download.
    assert_eq!(server.requests().len(), 1);
    assert_eq!(place.files().len(), 1);
}

#[test]
fn links_of_other_users_are_not_followed() {
    let file = toy("go forward");
    let server = Server::of(file.clone());
    let place = Place::offering(&file, &server.url("toy.bin"));
    let precious = place.at("precious");
    for hard in [false, true] {
        fs::write(&precious, "precious").unwrap();
        match hard {
            true => fs::hard_link(&precious, place.partial(&file)).unwrap(),
            false => symlink(&precious, place.partial(&file)).unwrap(),
        }
        place.pulls(&file);
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        fs::remove_file(place.at("models/toy.bin")).unwrap();
    }
    // Nor is a file of another user completed, who could change it afterwards.
    if user::are_possible() {
        fs::write(place.partial(&file), &file[..1000]).unwrap();
        std::os::unix::fs::chown(place.partial(&file), Some(4242), None).unwrap();
        place.pulls(&file);
        assert_eq!(server.starts().last(), Some(&0));
        assert_eq!(fs::metadata(place.at("models/toy.bin")).unwrap().uid(), 0);
    }
}

/// A server that sends half of the file and waits, but only to the first request.
fn halting(file: &[u8]) -> Server {
    let content = file.to_vec();
    Server::new(move |number, request, out| {
        if number > 0 {
            return whole(&content, "\"one\"", request, out);
        }
        let start = begin(&content, "\"one\"", request, out)?;
        out.write_all(&content[start..content.len() / 2])?;
        out.flush()?;
        hang()
    })
}

#[test]
fn only_one_pull_gets_a_file() {
    let file = toy("go forward");
    let server = halting(&file);
    let place = Place::offering(&file, &server.url("toy.bin"));
    let mut command = place.command(&["pull", "toy", "--timeout", "1h"]);
    let child = command
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let half = file.len() as u64 / 2;
    let come = || fs::metadata(place.partial(&file)).is_ok_and(|there| there.len() == half);
    wait_until("half of it is there", LONG, come);
    place.refuses("another `sttctl model pull` is getting the same file");
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("what has come is kept"), "{said}");
    place.pulls(&file);
    assert_eq!(server.starts(), [0, file.len() / 2]);
}

#[test]
fn a_terminal_shows_a_bar_and_control_c_keeps_what_has_come() {
    let file = toy("go forward");
    let server = halting(&file);
    let place = Place::offering(&file, &server.url("toy.bin"));
    let mut arguments: Vec<String> = NETWORK
        .iter()
        .map(|name| format!("--unset={name}"))
        .collect();
    let environment = place.environment();
    arguments.extend(
        environment
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    let sttctl = [
        env!("CARGO_BIN_EXE_sttctl"),
        "model",
        "pull",
        "toy",
        "--timeout",
        "1h",
    ];
    arguments.extend(sttctl.map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let tmux = Tmux::run((80, 12), Path::new("/usr/bin/env"), &arguments);
    let screen = tmux.wait("half of it is shown", |screen| {
        screen.contains("toy: [") && screen.contains(" left") && screen.contains('█')
    });
    println!("{screen}");
    // The bar is drawn before the last of the half is there.
    let stored = || fs::metadata(place.partial(&file)).map_or(0, |partial| partial.len());
    wait_until("half of it is stored", LONG, || {
        stored() == file.len() as u64 / 2
    });
    tmux.press("C-c");
    // The terminal wraps lines.
    let screen = tmux.ended(130).replace('\n', "");
    assert!(screen.contains("sttctl: toy: interrupted"), "{screen}");
    assert!(screen.contains("pull again"), "{screen}");
    drop(tmux);
    assert_eq!(
        fs::metadata(place.partial(&file)).unwrap().len(),
        file.len() as u64 / 2
    );
    place.pulls(&file);
    assert_eq!(server.starts(), [0, file.len() / 2]);
}

#[test]
fn lists_show_what_is_offered_and_what_is_there() {
    let (file, other) = (toy("go forward"), vec![7; 3 << 20]);
    let server = Server::of(file.clone());
    let place = Place::offering(&file, &server.url("toy.bin"));
    place.offer("large", &other, "https://models.example/large.bin");
    let list = |arguments: &[&str]| {
        let output = place.model(&[&["list"], arguments].concat());
        installed(&output);
        String::from_utf8(output.stdout).unwrap()
    };
    let rows = |text: &str| -> Vec<Vec<String>> {
        let cells = |line: &str| {
            line.split("  ")
                .map(|cell| cell.trim().to_owned())
                .collect::<Vec<_>>()
        };
        let full = |line| {
            cells(line)
                .into_iter()
                .filter(|cell| !cell.is_empty())
                .collect()
        };
        text.lines().map(full).collect()
    };
    assert_eq!(rows(&list(&[])), [["NAME", "SIZE", "CATALOGUE"]]);
    installed(&place.model(&["pull", "toy", "--name", "mine"]));
    fs::write(place.at("models/own.bin"), vec![0; 2048]).unwrap();
    let table = list(&["--available"]);
    println!("{table}");
    let available = rows(&table);
    assert_eq!(available[0][..3], ["NAME", "SIZE", "MEMORY"]);
    assert_eq!(
        available[1],
        [
            "large",
            "3.0M",
            "1.0M",
            "English",
            "MIT",
            "-",
            "not measured"
        ]
    );
    assert_eq!((&*available[2][0], &*available[2][5]), ("toy", "mine"));
    let there = rows(&list(&[]));
    assert_eq!((&*there[1][0], &*there[1][2]), ("mine", "toy"));
    assert_eq!(there[2], ["own", "2.0K", "-"]);
    let json: serde_json::Value = serde_json::from_str(&list(&["--available", "--json"])).unwrap();
    assert_eq!(json[1]["name"], "toy");
    assert_eq!(json[1]["installed"], serde_json::json!(["mine"]));
    assert_eq!(json[1]["files"][0]["sha256"], sum(&file));
    assert_eq!(json[0]["size"], 3 << 20);
    let json: serde_json::Value = serde_json::from_str(&list(&["--json"])).unwrap();
    assert_eq!(json[0]["catalogue"], "toy");
}

/// Name and content of each file below `folder`.
fn contents(folder: &Path, prefix: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        match path.is_dir() {
            true => files.extend(contents(&path, &format!("{name}/"))),
            false => files.push((name, fs::read(path).unwrap())),
        }
    }
    files.sort();
    files
}

#[test]
fn a_folder_is_pulled_with_all_its_files() {
    let place = Place::new();
    kaldi::write(&place.at("made"), &[("forward", 30)]);
    let files = contents(&place.at("made"), "");
    let content = files.clone();
    let server = Server::new(move |_, request, out| {
        let name = request.line.trim_start_matches("GET /");
        let file = content.iter().find(|(other, _)| other == name);
        whole(&file.unwrap().1, "\"one\"", request, out)
    });
    let mut text = String::from(
        "[toy]\nengine = \"vosk\"\nlicence = \"MIT\"\nlanguages = \"English\"\nmemory = \"1M\"\n\
         hears = \"not measured\"\n",
    );
    for (name, bytes) in &files {
        text += &format!(
            "[[toy.files]]\nname = {name:?}\nurl = {:?}\nsize = {}\nsha256 = {:?}\n",
            server.url(name),
            bytes.len(),
            sum(bytes)
        );
    }
    fs::write(place.at("catalogue.toml"), text).unwrap();
    // Where the engine's library is missing, nothing is installed.
    let said = refused(&place.model(&["pull", "toy"]), "the download is kept");
    assert!(said.contains("libvosk.so"), "{said}");
    assert!(place.files().iter().all(|name| name.starts_with(".pull-")));
    let requests = server.requests().len();
    // The engine's library is found only where it is installed for all, so here another program
    // takes the place of the trial and is content with everything.
    fs::write(
        place.at("make"),
        "mkdir bin; cp \"$1\" bin/sttctl; echo '#!/bin/sh' >bin/stt-isolated; chmod 755 bin/*",
    )
    .unwrap();
    let made = Command::new("sh")
        .args(["make", env!("CARGO_BIN_EXE_sttctl")])
        .current_dir(place.folder.path())
        .status();
    assert!(made.unwrap().success());
    let pull = |arguments: &[&str]| {
        let mut command = Command::new(place.at("bin/sttctl"));
        command
            .arg("model")
            .args(arguments)
            .envs(place.environment());
        installed(&command.output().unwrap());
        assert_eq!(place.files(), ["toy"]);
        assert!(contents(&place.at("models/toy"), "") == files);
    };
    pull(&["pull", "toy"]);
    assert_eq!(server.requests().len(), requests);
    refused(
        &place.model(&["pull", "toy"]),
        "there is a model `toy` already",
    );
    fs::write(place.at("models/toy/conf/model.conf"), "changed").unwrap();
    pull(&["pull", "toy", "--force"]);
    let list = place.model(&["list", "--available"]);
    assert!(String::from_utf8(list.stdout).unwrap().contains("  yes  "));
}

#[test]
fn install_recognises_a_file_of_the_catalogue() {
    let file = toy("go forward");
    let place = Place::offering(&file, "https://models.example/toy.bin");
    fs::write(place.at("download"), &file).unwrap();
    let output = place.model(&["install", "download"]);
    installed(&output);
    let said = String::from_utf8(output.stdout).unwrap();
    let known = format!(
        "(SHA-256 {}: `toy` of the catalogue, licence MIT)",
        sum(&file)
    );
    assert!(
        said.starts_with("Model `toy` is ") && said.contains(&known),
        "{said}"
    );
    assert_eq!(place.files(), ["toy.bin"]);
    refused(
        &place.model(&["install", "download"]),
        "there is a model `toy` already",
    );
    installed(&place.model(&["install", "download", "--name", "other"]));
    assert_eq!(place.files(), ["other.bin", "toy.bin"]);
}

#[test]
fn the_service_has_no_network_client() {
    let has = |program: &str, word: &str| {
        let bytes = fs::read(program).unwrap();
        memchr::memmem::find(&bytes, word.as_bytes()).is_some()
    };
    for word in ["error sending request", "TLS13_AES_256_GCM_SHA384"] {
        assert!(
            has(env!("CARGO_BIN_EXE_sttctl"), word),
            "{word} is a wrong word to look for"
        );
        assert!(!has(BINARY, word), "{word}");
    }
}
