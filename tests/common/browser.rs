//! A page as a real browser shows it.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;

/// A page in a browser without a window.
pub struct Browser {
    /// The document after its scripts have run.
    pub dom: String,
    /// Complaints of its scripts.
    pub complaints: Vec<String>,
}

impl Browser {
    /// Opens a page.
    #[track_caller]
    pub fn open(page: &Path) -> Browser {
        let (dom, complaints) = run(page, &["--dump-dom"]);
        Browser { dom, complaints }
    }

    /// How often this is in the document.
    pub fn count(&self, what: &str) -> usize {
        self.dom.matches(what).count()
    }
}

/// Leaves a picture of a page.
#[track_caller]
pub fn picture(page: &Path, picture: &Path, height: u32, is_dark: bool) {
    let size = format!("--window-size=1200,{height}");
    let file = format!("--screenshot={}", picture.display());
    let scheme = format!(
        "--blink-settings=preferredColorScheme={}",
        u8::from(!is_dark)
    );
    run(page, &[&file, &size, &scheme, "--hide-scrollbars"]);
}

/// A browser that shows a page of this machine until it is dropped.
pub struct Visit {
    browser: Child,
    _home: TempDir,
}

/// Opens `address`, which begins with `http://127.0.0.1`. Sound plays without a click.
pub fn visit(address: &str) -> Visit {
    let home = TempDir::new().unwrap();
    let browser = command(&home, "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        .args([
            "--autoplay-policy=no-user-gesture-required",
            "--remote-debugging-port=0",
        ])
        .arg(address)
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("install chromium-headless-shell");
    Visit {
        browser,
        _home: home,
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // Its helpers outlive the browser itself.
        let _ = killpg(
            Pid::from_raw(self.browser.id().cast_signed()),
            Signal::SIGKILL,
        );
        let _ = self.browser.wait();
    }
}

/// A browser that resolves names by `rules`.
fn command(home: &TempDir, rules: &str) -> Command {
    let mut command = Command::new("chromium-headless-shell");
    command
        .env("HOME", home.path())
        .arg(format!("--user-data-dir={}", home.path().display()))
        // Its own sandbox is not for root; and what it is shown here is our own.
        .args(["--no-sandbox", "--disable-gpu"])
        .arg(format!("--host-resolver-rules={rules}"));
    command
}

#[track_caller]
fn run(page: &Path, arguments: &[&str]) -> (String, Vec<String>) {
    let home = TempDir::new().unwrap();
    // Nothing of a page may come from elsewhere.
    let output = command(&home, "MAP * ~NOTFOUND")
        .arg("--enable-logging=stderr")
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("install chromium-headless-shell");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let complaints = log.lines().filter(|line| line.contains("CONSOLE"));
    let complaints = complaints.map(str::to_owned).collect();
    (String::from_utf8(output.stdout).unwrap(), complaints)
}
