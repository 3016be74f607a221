//! Time from the end of speech, as the detector tells it, to the text: beyond what the engine
//! needs.

use std::time::{Duration, Instant};

use super::caller::{Caller, PIECE};
use crate::{
    common::{
        clips::GOFORWARD,
        daemon::Daemon,
        realtime::{samples, silence},
    },
    outcome::Outcome,
    sample::Samples,
    scale::Scale,
    service,
};

const MODELS: &str = r#"
[models.process]
engine = "null"
[models.real]
engine = "pocketsphinx"
"#;

/// So much faster than it is spoken the audio comes: the engine hears a turn when it is over.
const SPEED: u32 = 4;

struct Turn {
    /// From `speech_stopped` to `completed`.
    late: Duration,
    /// The job's own time for finding speech and in the engine.
    work: Duration,
}

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    let daemon = service::start(MODELS);
    let real = turns(&daemon, "real", scale.live_turns, Some(GOFORWARD.text));
    let null = turns(&daemon, "process", scale.live_turns, None);
    // The same audio with an engine that does nothing: that is the time for finding speech. It
    // passes while the speaker speaks, so it is no part of the engine's.
    let mut listening: Vec<Duration> = null.iter().map(|turn| turn.work).collect();
    listening.sort();
    let listening = listening[listening.len() / 2];
    let (mut beyond, mut late, mut without) =
        (Samples::default(), Samples::default(), Samples::default());
    for turn in &real {
        let engine = turn.work.saturating_sub(listening);
        beyond.push(turn.late.saturating_sub(engine));
        late.push(turn.late);
    }
    for turn in &null {
        without.push(turn.late);
    }
    let p95 = |samples: &Samples| samples.quantile(0.95) / 1000.0;
    let remark = format!(
        "p50 {:.0} ms; engine included: p50 {:.0} ms, p95 {:.0} ms",
        beyond.p50() / 1000.0,
        late.p50() / 1000.0,
        p95(&late)
    );
    outcome.tell_beside(
        "live_latency",
        p95(&beyond),
        beyond.len(),
        remark,
        vec![("an engine that does nothing".into(), p95(&without))],
    );
}

/// Speak `count` turns to `model`, one after the other in one session.
fn turns(daemon: &Daemon, model: &str, count: usize, text: Option<&str>) -> Vec<Turn> {
    let mut caller = Caller::connect(daemon.socket(), model);
    let mut audio = silence(300);
    audio.extend(samples(GOFORWARD));
    audio.extend(silence(1_000));
    let work = || {
        let stats = daemon.get("/v1/stats").json();
        let sum = &stats["models"][model]["latency_seconds"]["transcribe"]["sum"];
        Duration::from_secs_f64(sum.as_f64().unwrap())
    };
    let mut all = Vec::new();
    for _ in 0..count {
        let before = work();
        let (mut stopped, mut completed) = (None, None);
        let mut due = Instant::now();
        let mut pieces = audio.chunks(PIECE);
        while completed.is_none() {
            let piece = pieces.next();
            if let Some(piece) = piece {
                caller.append(piece);
            }
            due += match piece {
                Some(_) => Duration::from_millis(50) / SPEED,
                None => Duration::from_secs(60),
            };
            while completed.is_none()
                && let Some((at, event)) = caller.next(due)
            {
                match event["type"].as_str().unwrap() {
                    "input_audio_buffer.speech_stopped" => stopped = Some(at),
                    kind if kind.ends_with("transcription.completed") => {
                        if let Some(text) = text {
                            assert_eq!(event["transcript"], text);
                        }
                        completed = Some(at);
                    }
                    kind if kind.ends_with("transcription.failed") => panic!("{event}"),
                    _ => {}
                }
            }
            assert!(piece.is_some() || completed.is_some(), "no text came");
        }
        // The rest of the pause, which belongs to no turn.
        pieces.for_each(|piece| caller.append(piece));
        all.push(Turn {
            late: completed.unwrap() - stopped.unwrap(),
            work: work().saturating_sub(before),
        });
    }
    all
}
