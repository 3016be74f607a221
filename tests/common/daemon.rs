//! The daemon under real socket activation.

use std::{
    fs,
    io::{self, Read},
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use http_body_util::Full;
use hyper::{Method, Request, body::Bytes};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{
    LONG,
    http::{self, Answer, Form, Raw},
    process::{self, Seen},
    try_wait_for, wait_for, wait_until,
};

pub const BINARY: &str = env!("CARGO_BIN_EXE_stt-isolated");

const CONFIG: &str = "stt-isolated.toml";

/// Limits by the clock that a busy machine would run into. Where a test's configuration does not
/// name one, it is an hour.
const PATIENT: [(&str, &str); 3] = [
    ("deadline", "LIMITS__DEADLINE"),
    ("queue_timeout", "JOBS__QUEUE_TIMEOUT"),
    ("load_timeout", "ZYGOTE__LOAD_TIMEOUT"),
];

/// How the daemon is started.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    config: String,
    environment: Vec<(String, String)>,
    socket_name: Option<String>,
    /// Further sockets: name, if it is not that of the first, and address.
    listen: Vec<(Option<String>, String)>,
    journal: bool,
}

impl Setup {
    pub fn new(config: &str) -> Setup {
        Setup {
            config: config.into(),
            ..Setup::default()
        }
    }

    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The name under which the socket is passed, instead of `http`.
    pub fn socket_name(mut self, name: &str) -> Setup {
        self.socket_name = Some(name.into());
        self
    }

    /// One more socket, of the same name.
    pub fn listen(mut self, address: &str) -> Setup {
        self.listen.push((None, address.into()));
        self
    }

    /// One more socket, of this name.
    pub fn listen_as(mut self, name: &str, address: &str) -> Setup {
        self.listen.push((Some(name.into()), address.into()));
        self
    }

    /// Let it write to the journal, as it does when systemd has connected its stderr to that.
    pub fn journal(mut self) -> Setup {
        self.journal = true;
        self
    }

    /// Start it by a first connection; its models are still loading afterwards.
    pub fn launch(self) -> Daemon {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join(CONFIG);
        fs::write(&config, &self.config).unwrap();
        let socket = folder.path().join("http.sock");
        // A test that is killed takes its daemon with it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "systemd-socket-activate"]);
        let name = self.socket_name.as_deref().unwrap_or("http");
        let further = self.listen.iter();
        let further = further.map(|(other, _)| other.as_deref().unwrap_or(name));
        let names: Vec<&str> = [name].into_iter().chain(further).collect();
        command.arg("--fdname").arg(names.join(":"));
        // Where no cgroup is delegated to the test, jobs run without limits.
        let unconfined = ("STT_ISOLATED_ISOLATION__REQUIRE_CGROUP", "false");
        command
            .arg("-E")
            .arg(format!("{}={}", unconfined.0, unconfined.1));
        // Its models directory, if a test makes one, and not that of a service that is installed
        // here.
        let state = format!("STATE_DIRECTORY={}", folder.path().display());
        command.arg("-E").arg(state);
        for (key, variable) in PATIENT {
            if !self.config.contains(key) {
                command.arg("-E").arg(format!("STT_ISOLATED_{variable}=1h"));
            }
        }
        for (name, value) in &self.environment {
            command.arg("-E").arg(format!("{name}={value}"));
        }
        let (read, stderr) = io::pipe().unwrap();
        if self.journal {
            let stat = nix::sys::stat::fstat(&stderr).unwrap();
            let stream = format!("JOURNAL_STREAM={}:{}", stat.st_dev, stat.st_ino);
            command.arg("-E").arg(stream);
        }
        command.arg("-l").arg(&socket);
        for (_, address) in &self.listen {
            command.arg("-l").arg(address);
        }
        command.arg(BINARY).args(serve_arguments());
        command.arg("--config").arg(&config);
        // A group of its own, by which all that it ever starts can be found again.
        command.process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(stderr).spawn().unwrap();
        // Its end of the pipe.
        drop(command);
        let log = Arc::new(Mutex::new(String::new()));
        let reader = collect(read, log.clone());
        wait_until("the socket listens", LONG, || {
            UnixStream::connect(&socket).is_ok()
        });
        // Its sockets are opened one after the other, and the first may be connected to before
        // there is a second.
        wait_until("all sockets listen", LONG, || {
            log.lock().unwrap().contains("Execing ")
        });
        Daemon {
            child,
            folder,
            socket,
            log,
            reader: Some(reader),
            exit: None,
        }
    }

    /// Start it, and wait until it is ready and has all its spares.
    pub fn start(self) -> Daemon {
        let mut daemon = self.launch();
        daemon.wait_ready();
        daemon
    }
}

/// The arguments by which the daemon serves: as root it may have to be told that this is meant.
pub fn serve_arguments() -> Vec<&'static str> {
    let help = Command::new(BINARY).args(["serve", "--help"]).output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
    let mut arguments = vec!["serve"];
    if nix::unistd::geteuid().is_root() && help.contains("--allow-root") {
        arguments.push("--allow-root");
    }
    arguments
}

fn collect(mut stderr: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stderr.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            log.lock().unwrap().push_str(&text);
        }
    })
}

/// A running daemon. When it is dropped it is stopped as systemd would do it, and must leave
/// nothing behind.
pub struct Daemon {
    child: Child,
    folder: TempDir,
    socket: PathBuf,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    exit: Option<ExitStatus>,
}

impl Daemon {
    /// The daemon with this configuration, ready.
    pub fn start(config: &str) -> Daemon {
        Setup::new(config).start()
    }

    /// Process id of the supervisor.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A folder that lives as long as this.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Write another configuration; it is read when the daemon is told to.
    pub fn configure(&self, config: &str) {
        fs::write(self.folder().join(CONFIG), config).unwrap();
    }

    /// Everything that it wrote to stderr so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn wait_ready(&mut self) {
        wait_until("the daemon is ready", LONG, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.exit = Some(status);
                panic!("the daemon ended: {status}");
            }
            self.is_ready()
        });
    }

    /// Whether it says so.
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").status == 200
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path)
    }

    /// A request without a body.
    pub fn request(&self, method: Method, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("host", "x").body(Full::default()).unwrap();
        http::exchange(&self.socket, request).unwrap()
    }

    pub fn post(&self, form: &Form) -> Answer {
        self.try_post(form).unwrap()
    }

    /// # Errors
    /// The connection broke.
    pub fn try_post(&self, form: &Form) -> hyper::Result<Answer> {
        self.try_post_within(LONG, form)
    }

    /// The same, for an answer that takes its time.
    ///
    /// # Errors
    /// The connection broke.
    pub fn try_post_within(&self, limit: Duration, form: &Form) -> hyper::Result<Answer> {
        let request = Request::post(http::TRANSCRIPTIONS)
            .header("host", "x")
            .header("content-type", http::content_type())
            .body(Full::new(Bytes::from(form.body())))
            .unwrap();
        http::exchange_within(limit, &self.socket, request)
    }

    /// Send nothing but a recording.
    pub fn transcribe(&self, name: &str, recording: &[u8]) -> Answer {
        self.post(&Form::of(name, recording))
    }

    /// A connection on which anything can be sent.
    pub fn connect(&self) -> Raw {
        Raw::connect(&self.socket)
    }

    /// Its children, those included that have ended and were not reaped.
    pub fn children(&self) -> Vec<Seen> {
        process::children(self.pid())
    }

    /// Its only zygote, once there is exactly one.
    #[track_caller]
    pub fn zygote(&self) -> Seen {
        wait_for("there is one zygote", LONG, || {
            let mut zygotes = self.children();
            zygotes.retain(Seen::is_zygote);
            (zygotes.len() == 1).then(|| zygotes.remove(0))
        })
    }

    /// Its idle spares, once it has nothing but one zygote and `count` of them: no job is left
    /// behind.
    #[track_caller]
    pub fn wait_idle(&self, count: usize) -> Vec<Seen> {
        self.wait_idle_of(1, count)
    }

    /// The same of several models, with this many zygotes and this many spares of all of them.
    #[track_caller]
    pub fn wait_idle_of(&self, zygotes: usize, count: usize) -> Vec<Seen> {
        let idle = || {
            let (spares, others): (Vec<Seen>, Vec<Seen>) =
                self.children().into_iter().partition(Seen::is_job);
            let only = others.len() == zygotes && others.iter().all(Seen::is_zygote);
            (only && spares.len() == count).then_some(spares)
        };
        try_wait_for(LONG, idle).unwrap_or_else(|| {
            let children = self.children();
            panic!("not only {zygotes} zygotes and {count} spares are left: {children:?}")
        })
    }

    /// Its idle spares as [`Self::wait_idle`], once all of them could take a request: nothing more
    /// is forked then.
    #[track_caller]
    pub fn wait_spares(&self, count: usize) -> Vec<Seen> {
        self.wait_spares_of(1, count)
    }

    #[track_caller]
    fn wait_spares_of(&self, zygotes: usize, count: usize) -> Vec<Seen> {
        wait_until("so many spares are ready", LONG, || {
            self.get("/v1/stats").json()["total"]["spares"] == count
        });
        self.wait_idle_of(zygotes, count)
    }

    /// Number of its open descriptors while it does nothing, with this many spares. Connections may
    /// still be on their way out: what stays is the least of many looks.
    #[track_caller]
    pub fn idle_descriptors(&self, spares: usize) -> usize {
        self.idle_descriptors_of(1, spares)
    }

    /// The same of several models.
    #[track_caller]
    pub fn idle_descriptors_of(&self, zygotes: usize, spares: usize) -> usize {
        self.wait_spares_of(zygotes, spares);
        let looks = (0..100).map(|_| {
            std::thread::sleep(Duration::from_millis(2));
            process::descriptors(self.pid())
        });
        looks.min().unwrap()
    }

    /// A job that is at work, once there is one.
    #[track_caller]
    pub fn wait_busy(&self) -> Seen {
        wait_for("a job is at work", LONG, || {
            assert!(process::lives(self.pid()), "the daemon is gone");
            let jobs = self.children().into_iter().filter(Seen::is_job);
            // No spare has computed that long.
            jobs.into_iter().find(|job| job.cpu >= 0.2)
        })
    }

    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for its end, however it comes, and for that of all that it started.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let status = wait_for("the daemon ends", LONG, || self.child.try_wait().unwrap());
        self.exit = Some(status);
        let what = "everything that the daemon started has ended";
        wait_until(what, LONG, || process::group(self.pid()).is_empty());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }

    /// Stops it as systemd does.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.ended();
        assert!(status.success(), "{status}\n{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            if self.exit.is_none() {
                self.stop();
            }
            return;
        }
        eprintln!("the daemon's log:\n{}", self.log());
        // Kills what is left of the group. Its number cannot have been given away while the leader
        // was not reaped, or while one member lives.
        if self.exit.is_none() || !process::group(self.pid()).is_empty() {
            let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}
