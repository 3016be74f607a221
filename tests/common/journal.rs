//! A journal of a test's own, kept by the real journald.

use std::{
    env,
    io::Write,
    process::{Command, Output},
};

/// The journal around this test.
pub struct Journal {
    /// The unit whose entries the test's daemons make; `None` where that could not be had.
    pub unit: Option<String>,
}

impl Journal {
    /// Runs the test of this name again with a journal of its own, where it is given that; the
    /// outer run gets nothing, and has nothing more to do. Says so loudly where there can be no
    /// such journal.
    pub fn around(test: &str) -> Option<Journal> {
        if let Ok(unit) = env::var("STT_TEST_UNIT") {
            let unit = (!unit.is_empty()).then_some(unit);
            return Some(Journal { unit });
        }
        let mut unshare = Command::new("unshare");
        unshare.arg("--mount");
        let possible = unshare.arg("true").output();
        if !possible.is_ok_and(|output| output.status.success()) {
            // Not through the macro, whose words a test that passes keeps to itself.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: only root can have a journal of its own"
            );
            return None;
        }
        let output = Command::new("unshare")
            .arg("--mount")
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/common/with-journal"
            ))
            .arg(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .output()
            .unwrap();
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success(), "{}{}", told[0], told[1]);
        assert!(told[0].contains("1 passed"), "{}", told[0]);
        let _ = writeln!(std::io::stderr(), "{}", told[1]);
        None
    }

    /// Runs journalctl with these arguments, once all that was sent to the journal is in it.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        let synced = Command::new("journalctl").arg("--sync").output().unwrap();
        assert!(synced.status.success(), "{synced:?}");
        let mut command = Command::new("journalctl");
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    }
}
