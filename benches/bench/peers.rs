//! The peers: other common ways to use a process per request. `benches/peers/` has their servers.

use std::{
    fs,
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::common::{LONG, wait_until};

/// Modes of `benches/peers/server.py`; `inline` is the one without a process.
pub const MODES: &[&str] = &["inline", "fork", "forkserver", "spawn", "pebble", "futures"];

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");

/// A Python with the packages that the peers need.
pub struct Python {
    program: PathBuf,
}

/// A peer's server. It ends, with everything that it started, when this is dropped.
pub struct Server {
    pub mode: &'static str,
    process: Child,
    socket: PathBuf,
    _folder: TempDir,
}

impl Python {
    /// Install the pinned packages of `requirements.txt` into a separate folder, once.
    ///
    /// # Errors
    /// The step that failed.
    pub fn prepare(folder: &Path) -> Result<Python, String> {
        let venv = folder.join("venv");
        let python = Python {
            program: venv.join("bin/python"),
        };
        let requirements = Path::new(SOURCES).join("requirements.txt");
        let wanted = fs::read(&requirements).map_err(|error| error.to_string())?;
        let made_of = venv.join("made-of");
        if fs::read(&made_of).is_ok_and(|made| made == wanted) {
            return Ok(python);
        }
        let _ = fs::remove_dir_all(&venv);
        run(Command::new("/usr/bin/python3")
            .args(["-m", "venv"])
            .arg(&venv))?;
        run(Command::new(&python.program)
            .args([
                "-m",
                "pip",
                "install",
                "-qq",
                "--no-deps",
                "--disable-pip-version-check",
                "-r",
            ])
            .arg(&requirements))?;
        fs::write(&made_of, wanted).map_err(|error| error.to_string())?;
        Ok(python)
    }

    /// Start a server in this mode.
    pub fn serve(&self, mode: &'static str) -> Server {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("socket");
        let mut command = Command::new(&self.program);
        command
            .arg(Path::new(SOURCES).join("server.py"))
            .arg(mode)
            .arg(&socket);
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .process_group(0)
            .stdin(Stdio::null());
        let process = command.spawn().unwrap();
        let server = Server {
            mode,
            process,
            socket,
            _folder: folder,
        };
        wait_until("the peer listens", LONG, || {
            UnixStream::connect(server.socket()).is_ok()
        });
        server
    }
}

impl Server {
    /// Path of the server's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = killpg(
            Pid::from_raw(self.process.id().cast_signed()),
            Signal::SIGKILL,
        );
        let _ = self.process.wait();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}
