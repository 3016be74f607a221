//! A terminal that can be looked at: a tmux server of one's own with one pane.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

use super::{LONG, try_wait_for, wait_until};

/// The script in the pane. It runs a program, noting its process id and how it leaves the terminal.
/// Control-C is the program's own.
const SCRIPT: &str = r#"
    trap : INT
    stty -g >before
    sh -c 'echo $$ >pid; exec "$0" "$@"' "$0" "$@"
    status=$?
    stty -g >after
    echo "status $status"
    exec cat
"#;

/// The server; it ends when this is dropped, or when the test is killed.
pub struct Tmux {
    server: Child,
    folder: TempDir,
}

impl Tmux {
    /// A terminal of this size in which a program runs.
    pub fn run(size: (u16, u16), program: &Path, arguments: &[&str]) -> Tmux {
        let folder = TempDir::new().unwrap();
        let server = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "tmux",
                "-L",
                "stt",
                "-f",
                "/dev/null",
            ])
            .args(["-u", "-D"])
            .env("TMUX_TMPDIR", folder.path())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX")
            .env("RUST_BACKTRACE", "0")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("install tmux");
        let tmux = Tmux { server, folder };
        wait_until("tmux is there", LONG, || {
            tmux.client(&["list-sessions"]).status.success()
        });
        tmux.tell(&["set-option", "-g", "status", "off"]);
        let (width, height) = (size.0.to_string(), size.1.to_string());
        let mut command = vec!["new-session", "-d", "-x", &width, "-y", &height];
        command.extend(["-c", tmux.folder.path().to_str().unwrap()]);
        command.extend(["sh", "-c", SCRIPT, program.to_str().unwrap()]);
        command.extend(arguments);
        tmux.tell(&command);
        tmux
    }

    fn client(&self, command: &[&str]) -> Output {
        Command::new("tmux")
            .args(["-N", "-u", "-L", "stt"])
            .args(command)
            .env("TMUX_TMPDIR", self.folder.path())
            .env_remove("TMUX")
            .output()
            .unwrap()
    }

    #[track_caller]
    fn tell(&self, command: &[&str]) -> String {
        let output = self.client(command);
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The screen, all its lines.
    pub fn screen(&self) -> String {
        self.tell(&["capture-pane", "-p", "-N"])
    }

    /// The screen, once it is as wanted.
    #[track_caller]
    pub fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let screen = || Some(self.screen()).filter(|screen| wanted(screen));
        try_wait_for(LONG, screen).unwrap_or_else(|| panic!("never {what}:\n{}", self.screen()))
    }

    /// The screen, once it contains this.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait(text, |screen| screen.contains(text))
    }

    /// Presses a key, named as tmux names it.
    pub fn press(&self, key: &str) {
        self.tell(&["send-keys", key]);
    }

    pub fn resize(&self, width: u16, height: u16) {
        let (width, height) = (width.to_string(), height.to_string());
        self.tell(&["resize-window", "-x", &width, "-y", &height]);
    }

    /// Whether a program has taken the terminal: its own screen, no cursor.
    pub fn is_taken(&self) -> bool {
        let state = self.tell(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        match state.trim() {
            "1 0" => true,
            "0 1" => false,
            other => panic!("half taken: {other}"),
        }
    }

    /// The program's process id.
    pub fn pid(&self) -> i32 {
        self.note("pid").trim().parse().unwrap()
    }

    fn note(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        fs::read_to_string(path).unwrap()
    }

    /// Waits until the program has ended, with this status and the terminal as it was; gives what
    /// is on it.
    #[track_caller]
    pub fn ended(&self, status: i32) -> String {
        let screen = self.wait_for(&format!("status {status}\n"));
        assert!(!self.is_taken());
        assert_eq!(self.note("before"), self.note("after"));
        screen
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // Its pane's programs are hung up on.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// This very test program, to run one of its tests in a terminal.
pub fn this_program() -> PathBuf {
    env::current_exe().unwrap()
}
