//! A process that has just transcribed is forked again and again: every child must transcribe as if nothing had been.
//!
//! What this catches: locks that a library leaves taken, threads that a fork does not copy (a warmed-up OpenMP hangs the
//! child), state that changes the next result. It needs a process with a single thread, which no test harness has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "common/clips.rs"]
mod clips;

use std::{
    collections::VecDeque,
    io::{PipeReader, Read, Write, pipe},
    ops::ControlFlow,
    os::unix::process::CommandExt,
    process::Command,
    time::Instant,
};

use clips::GOFORWARD;
use stt_isolated::{
    config::{EngineSettings, PocketsphinxSettings},
    engine::{self, AudioSource, Engine, EngineError, Options, SAMPLE_RATE},
    isolation::{Forked, How, Parentage, PidFd, SingleThreaded, exit_now, fork},
};

const NAME: &str = "every_fork_after_a_run_transcribes_alike";

/// Forks in all, between two runs, and children at once.
const FORKS: usize = 200;
const ROUND: usize = 50;
const AT_ONCE: usize = 4;

/// After so many seconds a child hangs: SIGALRM ends it.
const PATIENCE: u32 = 60;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    // What cargo-nextest and cargo ask of a test program.
    if has("--list") {
        if !has("--ignored") {
            println!("{NAME}: test");
        }
        return;
    }
    let exact = has("--exact");
    let wanted = |filter: &&String| match exact {
        true => *filter == NAME,
        false => NAME.contains(filter.as_str()),
    };
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    if has("--ignored") || !(filters.is_empty() || filters.iter().any(wanted)) {
        println!("\ntest result: ok. 0 passed; 0 failed");
        return;
    }
    as_a_zygote_is_started();
    let begin = Instant::now();
    every_fork_after_a_run_transcribes_alike();
    let seconds = begin.elapsed().as_secs_f64();
    println!("test {NAME} ... ok ({FORKS} forks, {seconds:.1} s)");
    println!("\ntest result: ok. 1 passed, 0 failed");
}

/// The environment under which zygotes run, which takes effect only at the start of a program.
fn as_a_zygote_is_started() {
    let environment = [
        ("OPENBLAS_NUM_THREADS", "1"),
        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
    ];
    let set = |(name, value): &(&str, &str)| std::env::var(name).is_ok_and(|v| v == *value);
    if environment.iter().all(set) {
        return;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    let error = again
        .args(std::env::args_os().skip(1))
        .envs(environment)
        .exec();
    panic!("{error}");
}

fn every_fork_after_a_run_transcribes_alike() {
    let settings = EngineSettings::Pocketsphinx(PocketsphinxSettings::default());
    let mut engine = engine::load(&settings).unwrap();
    let mut thread = SingleThreaded::open().unwrap();
    let mut children = VecDeque::new();
    for number in 0..FORKS {
        if number % ROUND == 0 {
            assert_eq!(transcribe(engine.as_mut()), GOFORWARD.text);
        }
        if children.len() == AT_ONCE {
            check(children.pop_front().unwrap());
        }
        let (reader, mut writer) = pipe().unwrap();
        match fork(&mut thread, Parentage::Own, None).unwrap() {
            Forked::Child => {
                nix::unistd::alarm::set(PATIENCE);
                let text = transcribe(engine.as_mut());
                exit_now(writer.write_all(text.as_bytes()).is_err().into());
            }
            Forked::Parent { pidfd, .. } => children.push_back((number, pidfd, reader)),
        }
    }
    children.into_iter().for_each(check);
}

/// Waits for the end of a child, and fails unless it was a good one.
fn check((number, child, mut output): (usize, PidFd, PipeReader)) {
    let exit = child.reap().unwrap();
    assert_eq!(exit.how, How::Status(0), "child {number}");
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, GOFORWARD.text, "child {number}");
}

fn transcribe(engine: &mut dyn Engine) -> String {
    let mut texts = Vec::new();
    let mut source = Samples::new();
    engine
        .transcribe(&mut source, &Options::default(), &mut |segment| {
            texts.push(segment.text);
            ControlFlow::Continue(())
        })
        .unwrap();
    texts.join(" ")
}

/// The clip in blocks of a tenth of a second.
struct Samples {
    samples: Vec<f32>,
    given: usize,
}

impl Samples {
    fn new() -> Samples {
        let bytes = GOFORWARD.samples();
        let (pairs, _) = bytes.as_chunks();
        let sample = |pair: &[u8; 2]| f32::from(i16::from_le_bytes(*pair)) / 32768.0;
        Samples {
            samples: pairs.iter().map(sample).collect(),
            given: 0,
        }
    }
}

impl AudioSource for Samples {
    fn next_block(&mut self) -> Result<Option<&[f32]>, EngineError> {
        let rest = &self.samples[self.given..];
        let block = &rest[..rest.len().min(SAMPLE_RATE as usize / 10)];
        self.given += block.len();
        Ok((!block.is_empty()).then_some(block))
    }
}
