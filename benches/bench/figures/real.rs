//! Real speech through the real engine: the share of isolation in the total time, and the waiting
//! time of a command-line user.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    common::clips::GOFORWARD,
    interleave::{Competitor, Turns, take_turns},
    machine,
    outcome::Outcome,
    sample::{Samples, interval},
    scale::Scale,
    service,
};

const MODELS: &str = r#"
[models.process]
engine = "pocketsphinx"
[models.thread]
engine = "pocketsphinx"
mode = "thread"
"#;

const PROGRAM: &str = "pocketsphinx_continuous";

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    let daemon = service::start(MODELS);
    let recording = GOFORWARD.wav();
    let new = |model| Competitor::new(model, daemon.socket(), model, &recording);
    let mut competitors = [new("thread"), new("process")];
    let turns = Turns {
        rounds: 2,
        block: 1,
        warm: 0,
        // Another spare is forked meanwhile.
        pause: Duration::from_millis(100),
    };
    take_turns(&mut competitors, turns);
    for competitor in &mut competitors {
        competitor.samples = Samples::default();
    }
    let rounds = scale.real_pairs;
    take_turns(&mut competitors, Turns { rounds, ..turns });
    let [thread, process] = competitors.map(|competitor| competitor.samples);
    let mut peers = vec![];
    if machine::has(PROGRAM) {
        let file = daemon.folder().join("goforward.wav");
        fs::write(&file, &recording).unwrap();
        let mut alone = Samples::default();
        for _ in 0..rounds.div_ceil(3) {
            let start = Instant::now();
            let output = Command::new(PROGRAM)
                .arg("-infile")
                .arg(&file)
                .stderr(Stdio::null())
                .output()
                .unwrap();
            alone.push(start.elapsed());
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.contains(GOFORWARD.text), "{text}");
        }
        let name = format!("{PROGRAM} per file over `thread`, ×");
        peers.push((name, alone.p50() / thread.p50()));
    } else {
        peers.push((format!("{PROGRAM}: not installed"), f64::NAN));
    }
    let (least, most) = interval(&process, &thread, |one, other| one / other);
    let remark = format!(
        "{:.0} ms against {:.0} ms; 95 %: {least:.3}–{most:.3}",
        process.p50() / 1000.0,
        thread.p50() / 1000.0
    );
    outcome.tell_beside(
        "end_to_end",
        process.p50() / thread.p50(),
        process.len(),
        remark,
        peers,
    );
    outcome.between("end_to_end", (least, most));
}
