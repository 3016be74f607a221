//! Tests the benchmark itself: a delay planted in the hand-over must turn its row red.

use std::{process::ExitCode, time::Duration};

use crate::{
    common::daemon::Setup,
    contract::find,
    figures::added,
    outcome::Outcome,
    report::table,
    service::{self, NULL_MODELS},
};

const VARIABLE: &str = "STT_TEST_HAND_OVER_DELAY";

/// Number of requests in each mode of each daemon.
const PAIRS: usize = 1000;

const FIGURE: &str = "added_p50";

/// Three daemons take turns. One plays the earlier run with which the others are compared, as with
/// `--against`. Only the last one sleeps in the hand-over. Its row must be worse and the second
/// one's not, so a delay without effect also fails.
pub fn show(planted: Duration) -> ExitCode {
    let delays = [None, None, Some(planted)];
    let daemons = delays.map(|delay| {
        let setup = Setup::new(&service::config(NULL_MODELS));
        let setup = match delay {
            Some(delay) => setup.env(VARIABLE, &format!("{}us", delay.as_micros())),
            None => setup,
        };
        setup.start()
    });
    let models = ["thread", "process"];
    let all = added::side_by_side(daemons.each_ref(), &models, added::alone(PAIRS));
    let [mut earlier, mut clean, mut slow] = all.map(|competitors| {
        let mut outcome = Outcome::default();
        added::tell(&mut outcome, "added", &competitors);
        outcome
    });
    let report = earlier.json();
    for (what, outcome) in [
        ("the earlier run".to_owned(), &mut earlier),
        ("the same again".to_owned(), &mut clean),
        (format!("with {planted:?} in the hand-over"), &mut slow),
    ] {
        outcome.compare(&report);
        println!("{what}\n{}", table::text(outcome, false));
    }
    let is_red = |outcome: &Outcome| outcome.worse(FIGURE).is_some();
    println!(
        "{}: worse with it: {}; without it: {}",
        find(FIGURE).what,
        is_red(&slow),
        is_red(&clean)
    );
    match is_red(&slow) && !is_red(&clean) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
