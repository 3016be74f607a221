//! The real daemon under real socket activation, and a client of a few lines.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    os::unix::{net::UnixStream, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use procfs::process::{Process, Stat, all_processes};
use tempfile::TempDir;

const DAEMON: &str = env!("CARGO_BIN_EXE_stt-isolated");

/// A running daemon, stopped with all that it started when dropped.
pub struct Daemon {
    process: Child,
    folder: TempDir,
}

/// What a request came to.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: serde_json::Value,
}

impl Answer {
    pub fn text(&self) -> &str {
        self.body["text"].as_str().unwrap_or_default()
    }

    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }
}

impl Daemon {
    /// Start it with this configuration, and wait until all its models are ready.
    pub fn start(config: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("stt-isolated.toml");
        std::fs::write(&file, config).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let help = Command::new(DAEMON).args(["serve", "--help"]).output();
        let help = String::from_utf8(help.unwrap().stdout).unwrap();
        let mut command = Command::new("systemd-socket-activate");
        command
            .arg("--fdname=http")
            .arg("-l")
            .arg(folder.path().join("http.sock"))
            .args([DAEMON, "serve", "--config"])
            .arg(&file)
            // Whatever it starts is found by its process group.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if help.contains("--allow-root") && nix::unistd::geteuid().is_root() {
            command.arg("--allow-root");
        }
        let daemon = Self {
            process: command.spawn().expect("systemd-socket-activate"),
            folder,
        };
        until("the daemon is ready", || {
            daemon.socket().exists() && daemon.get("/readyz").is_some_and(|a| a.status == 200)
        });
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("http.sock")
    }

    fn pid(&self) -> i32 {
        self.process.id().cast_signed()
    }

    /// Everything that it wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn get(&self, path: &str) -> Option<Answer> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: stt\r\nconnection: close\r\n\r\n");
        self.exchange(head.as_bytes())
    }

    /// Have a second of audio transcribed by `model`.
    pub fn transcribe(&self, model: &str) -> Answer {
        self.exchange(&upload(model))
            .unwrap_or_else(|| panic!("{model}: no answer; the log:\n{}", self.log()))
    }

    /// Ask for a transcription, wait for `time`, and hang up.
    pub fn hang_up(&self, model: &str, time: Duration) {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.write_all(&upload(model)).unwrap();
        thread::sleep(time);
    }

    fn exchange(&self, request: &[u8]) -> Option<Answer> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream.write_all(request).ok()?;
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).ok()?;
        let text = String::from_utf8(raw).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.into()))
            .collect();
        let body = serde_json::from_str(body).unwrap_or_default();
        Some(Answer {
            status,
            headers,
            body,
        })
    }

    /// Its living children and its zombies.
    pub fn children(&self) -> Vec<Stat> {
        processes(|stat| stat.ppid == self.pid())
    }

    /// Number of its open descriptors.
    pub fn descriptors(&self) -> usize {
        Process::new(self.pid()).unwrap().fd_count().unwrap()
    }

    /// The most memory that it ever had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = Process::new(self.pid()).unwrap().status().unwrap();
        status.vmhwm.unwrap() << 10
    }

    /// Stop it as systemd would: it must end in good order and leave nothing behind.
    pub fn stop(mut self) {
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM).unwrap();
        until("the daemon has ended", || {
            self.process.try_wait().unwrap().is_some()
        });
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}; the log:\n{}", self.log());
        let group = self.pid();
        until("nothing of the daemon is left", || {
            processes(|stat| stat.pgrp == group).is_empty()
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        let _ = self.process.wait();
    }
}

fn processes(which: impl Fn(&Stat) -> bool) -> Vec<Stat> {
    all_processes()
        .unwrap()
        .filter_map(|process| process.ok()?.stat().ok())
        .filter(which)
        .collect()
}

/// Wait until it is true, but not for ever.
pub fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn upload(model: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let part = |name: &str| format!("--xxx\r\ncontent-disposition: form-data; name=\"{name}\"");
    write!(body, "{}\r\n\r\n{model}\r\n", part("model")).unwrap();
    write!(body, "{}; filename=\"a.wav\"\r\n\r\n", part("file")).unwrap();
    body.extend(wav());
    body.extend(b"\r\n--xxx--\r\n");
    let mut request = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: stt\r\nconnection: close\r\n\
         content-type: multipart/form-data; boundary=xxx\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    request
}

/// One second, 16 kHz, mono, 16 bits: a tone.
fn wav() -> Vec<u8> {
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36_u32 + 32_000).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    wav.extend([1, 0, 1, 0]);
    wav.extend(16_000_u32.to_le_bytes());
    wav.extend(32_000_u32.to_le_bytes());
    wav.extend([2, 0, 16, 0]);
    wav.extend(b"data");
    wav.extend(32_000_u32.to_le_bytes());
    for sample in 0..16_000_u16 {
        let tone = if sample % 40 < 20 { 3000_i16 } else { -3000 };
        wav.extend(tone.to_le_bytes());
    }
    wav
}
