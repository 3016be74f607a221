//! A page as a real browser shows it.

use std::{path::Path, process::Command};

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

#[track_caller]
fn run(page: &Path, arguments: &[&str]) -> (String, Vec<String>) {
    let home = TempDir::new().unwrap();
    let output = Command::new("chromium-headless-shell")
        .env("HOME", home.path())
        .arg(format!("--user-data-dir={}", home.path().display()))
        // Its own sandbox is not for root; and what it is shown here is our own.
        .args(["--no-sandbox", "--disable-gpu", "--enable-logging=stderr"])
        // Nothing of a page may come from elsewhere.
        .arg("--host-resolver-rules=MAP * ~NOTFOUND")
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
