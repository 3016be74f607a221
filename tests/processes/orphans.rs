//! Children that nobody knows are reaped. Before all others, whose children it would reap as well.

use std::{process::Command, time::Duration};

use libtest_mimic::Trial;
use procfs::process::Process;
use stt_isolated::isolation::orphans;

pub(super) fn trial() -> Trial {
    Trial::test("orphans::only_unknown_children_are_reaped", || {
        only_unknown_children_are_reaped();
        Ok(())
    })
}

fn only_unknown_children_are_reaped() {
    let orphans: Vec<i32> = (0..3)
        .map(|_| Command::new("true").spawn().unwrap().id().cast_signed())
        .collect();
    let mut known = Command::new("sleep").arg("3600").spawn().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let reaped = runtime.block_on(orphans::reap(100, Duration::from_millis(50)));
    let reaped = reaped.unwrap();
    println!("{reaped} reaped");
    assert_eq!(reaped, 3);
    assert!(orphans.iter().all(|pid| Process::new(*pid).is_err()));
    // The one that lives is not touched, and its own handle still learns how it ends.
    known.kill().unwrap();
    assert!(!known.wait().unwrap().success());
}
