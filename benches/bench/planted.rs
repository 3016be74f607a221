//! The benchmark tested: what is planted in the hand-over must turn its row red, beside what is planted nowhere.

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

/// Requests of each mode of each daemon.
const PAIRS: usize = 1000;

const FIGURE: &str = "added_p50";

/// Three daemons take turns: one is the earlier run that the others are compared with as `--against` does it, and only
/// the last one sleeps in the hand-over. The row must be worse there, and not in the second: so a plant of no effect, as
/// the second has it, fails.
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
