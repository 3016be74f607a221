//! A process that has just transcribed is forked again and again: every child must transcribe as if
//! nothing had been.
//!
//! This catches locks that a library leaves taken, threads that a fork does not copy (a warmed-up
//! OpenMP hangs the child), state that changes the next result. It needs a process with a single
//! thread, which no test harness has.
//!
//! It also prints the time that a fork of a process with a model takes, since a request may have to
//! wait for that.

use std::{
    collections::VecDeque,
    io::{PipeReader, Read, Write, pipe},
    ops::ControlFlow,
    os::unix::process::CommandExt,
    process::Command,
    time::Instant,
};

use libtest_mimic::Trial;
use nix::sys::resource::{Resource, setrlimit};
use stt_isolated::{
    engine::{
        AudioSource, EngineError, EngineSettings, HearsSamples, LoadedModel, SAMPLE_RATE, Said,
        pocketsphinx::PocketsphinxSettings, sherpa::SherpaSettings, vosk::VoskSettings,
    },
    isolation::{Forked, How, Parentage, PidFd, SingleThreaded, exit_now, fork},
    request::Ask,
};

use crate::common::{clips::GOFORWARD, ggml, kaldi, onnx, speech::weights};

/// The cases by their names.
const CASES: &[(&str, fn())] = &[
    ("pocketsphinx", pocketsphinx_transcribes_alike),
    ("sherpa", sherpa_transcribes_alike),
    ("vosk", vosk_transcribes_alike),
    ("whisper", whisper_transcribes_alike),
    ("real_whisper", real_whisper_transcribes_alike),
    ("a_fork_copies_no_weights", a_fork_copies_no_weights),
];

pub(super) fn trials() -> Vec<Trial> {
    let trial = |(name, case): &(&str, fn())| {
        let case = *case;
        Trial::test(format!("forks::alone::{name}"), move || {
            case();
            Ok(())
        })
    };
    CASES.iter().map(trial).collect()
}

/// Forks between two runs of the parent.
const ROUND: usize = 50;

/// Forks in all: `STT_FORKS`, which `make forks` sets, or as many as take little time.
fn forks(quick: usize) -> usize {
    std::env::var("STT_FORKS").map_or(quick, |number| number.parse().unwrap())
}

/// CPU time in seconds after which a child spins for nothing: SIGXCPU ends it. One that works needs
/// a second; threads that spin while they wait for each other take more where the CPUs have other
/// work.
const WORK: u64 = 300;

/// Seconds after which a child hangs without computing: SIGALRM ends it.
const PATIENCE: u32 = 1200;

/// The environment under which zygotes run, which takes effect only at the start of a program.
pub(super) fn as_a_zygote_is_started() {
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

fn pocketsphinx_transcribes_alike() {
    let settings = EngineSettings::Pocketsphinx(PocketsphinxSettings::default());
    every_fork_transcribes_alike(&[settings], forks(60), 4, GOFORWARD.text);
}

fn vosk_transcribes_alike() {
    let folder = tempfile::TempDir::new().unwrap();
    kaldi::write(
        folder.path(),
        &[("go", 20), ("forward", 20), ("ten", 20), ("meters", 20)],
    );
    let settings = VoskSettings {
        library: kaldi::library(),
        ..VoskSettings::of(folder.path().into())
    };
    let settings = [EngineSettings::Vosk(settings)];
    every_fork_transcribes_alike(&settings, forks(200), 4, GOFORWARD.text);
}

/// With real weights of Whisper, in 8 bits.
fn sherpa_transcribes_alike() {
    let mut settings = SherpaSettings::of(onnx::whisper("tiny.en"));
    settings.library = onnx::library();
    let settings = [EngineSettings::Sherpa(settings)];
    every_fork_transcribes_alike(&settings, forks(50), 4, "Go forward 10 meters.");
}

/// A job of this engine starts and ends threads all the time. They spin while they wait for each
/// other, which takes minutes where the CPUs have other work: most children have one thread only.
fn whisper_transcribes_alike() {
    let folder = tempfile::TempDir::new().unwrap();
    let engines = [2, 1].map(|threads| whisper(folder.path(), ggml::TOY, threads));
    every_fork_transcribes_alike(&engines, forks(200), 2, HEARD);
}

/// With OpenAI's weights a child takes half a second or more, so there are few.
fn real_whisper_transcribes_alike() {
    let Some(file) = weights("ggml-tiny.en.bin") else {
        return;
    };
    let mut settings = stt_isolated::engine::whisper::WhisperSettings::of(file);
    settings.threads = 1;
    let settings = [EngineSettings::Whisper(settings)];
    every_fork_transcribes_alike(&settings, forks(10), 2, "Go forward 10 meters.");
}

/// The text that the models hear. Each word is as much work as the clip.
const HEARD: &str = "forward";

/// A model of this shape.
fn whisper(folder: &std::path::Path, shape: ggml::Shape, threads: u32) -> EngineSettings {
    let file = folder.join("ggml-test.bin");
    let model = ggml::Ggml {
        shape,
        ..ggml::Ggml::english(ggml::segment(0.0, HEARD, 2.6))
    };
    model.write(&file);
    let mut settings = stt_isolated::engine::whisper::WhisperSettings::of(file);
    settings.threads = threads;
    EngineSettings::Whisper(settings)
}

fn a_fork_copies_no_weights() {
    let folder = tempfile::TempDir::new().unwrap();
    let begin = Instant::now();
    let model = whisper(folder.path(), ggml::SMALL, 1).load(None).unwrap();
    let load = begin.elapsed();
    let rollup = procfs::process::Process::myself().unwrap().smaps_rollup();
    let map = &rollup.unwrap().memory_map_rollup.0[0].extension.map.clone();
    let mib = |name: &str| map[name] >> 20;
    let mut thread = SingleThreaded::open().unwrap();
    let mut times: Vec<_> = (0..100)
        .map(|_| {
            let begin = Instant::now();
            match fork(&mut thread, Parentage::Own, None).unwrap() {
                Forked::Child => exit_now(0),
                Forked::Parent { pidfd, .. } => {
                    let time = begin.elapsed();
                    assert_eq!(pidfd.reap().unwrap().how, How::Status(0));
                    time
                }
            }
        })
        .collect();
    drop(model);
    times.sort_unstable();
    println!(
        "a small model: loaded in {load:?}, {} MiB, {} MiB of it in huge pages; a fork takes {:?} (p50), {:?} (p99)",
        mib("Rss"),
        mib("AnonHugePages"),
        times[50],
        times[98]
    );
    // Times say little on a machine that does other things as well. This is what they come from.
    let setting = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap();
    assert!(
        mib("AnonHugePages") > mib("Rss") / 2 || setting.contains("[never]"),
        "the weights are not in huge pages: a fork copies a page table entry for every 4 KiB of them"
    );
}

/// Forks so often, with `at_once` children at the same time. Every tenth of them uses the first
/// engine, all others the last.
fn every_fork_transcribes_alike(
    settings: &[EngineSettings],
    forks: usize,
    at_once: usize,
    expected: &str,
) {
    let load = |settings: &EngineSettings| match settings.load(None).unwrap() {
        LoadedModel::Samples(engine) => engine,
        LoadedModel::Original(_) => panic!("{settings:?} decodes recordings itself"),
    };
    let mut engines: Vec<_> = settings.iter().map(load).collect();
    let mut thread = SingleThreaded::open().unwrap();
    let mut children = VecDeque::new();
    for number in 0..forks {
        if number % ROUND == 0 {
            for engine in &mut engines {
                assert_eq!(transcribe(engine.as_mut()), expected);
            }
        }
        if children.len() == at_once {
            check(children.pop_front().unwrap(), expected);
        }
        let (reader, mut writer) = pipe().unwrap();
        match fork(&mut thread, Parentage::Own, None).unwrap() {
            Forked::Child => {
                setrlimit(Resource::RLIMIT_CPU, WORK, WORK).unwrap();
                nix::unistd::alarm::set(PATIENCE);
                let which = (number % 10).min(engines.len() - 1);
                let text = transcribe(engines[which].as_mut());
                exit_now(writer.write_all(text.as_bytes()).is_err().into());
            }
            Forked::Parent { pidfd, .. } => children.push_back((number, pidfd, reader)),
        }
    }
    children
        .into_iter()
        .for_each(|child| check(child, expected));
}

/// Waits for the end of a child, and fails unless it was a good one.
fn check((number, child, mut output): (usize, PidFd, PipeReader), expected: &str) {
    let exit = child.reap().unwrap();
    assert_eq!(exit.how, How::Status(0), "child {number}");
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, expected, "child {number}");
}

fn transcribe(engine: &mut dyn HearsSamples) -> String {
    let mut texts = Vec::new();
    let mut source = Samples::new();
    engine
        .transcribe(&mut source, &Ask::default(), &mut |said| {
            if let Said::Segment(segment) = said {
                texts.push(segment.text);
            }
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
