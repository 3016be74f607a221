//! Engine `fault`: misbehaves as each request asks. For tests of everything around it; never in a
//! package.
//!
//! A request for the model `NAME:MODE`, where `NAME` is a model with `engine = "fault"`, runs that
//! model in mode `MODE`. Without a mode it behaves: one segment, [`TEXT`], as long as the
//! recording. Every mode reads the recording first, so that the service knows of the audio when the
//! trouble begins.
//!
//! Each mode is listed with its effect, and then with the answer that the client must get:
//!
//! - `leak=SIZE`: touches so much memory, never frees it, answers. Answer: 200, or 507 above
//!   the limit.
//! - `leak-each-second=SIZE`: the same for each second of the recording. Answer: as before.
//! - `leak-forever`: the same without end. Answer: 507.
//! - `segfault` `abort` `illegal` `trap` `fpe` `bus` `stack-overflow`: dies by that signal.
//!   Answer: 502 `worker_crashed`.
//! - `exit=N`: ends with that status without a word. Answer: 502 `worker_crashed`.
//! - `fail`: reports a failure in good order. Answer: 502 `engine_failed`.
//! - `hang` `stall`: sleeps; sleeps after a first segment. Answer: 504 `timeout`.
//! - `stop`: stops itself by SIGSTOP. Answer: 502 `worker_misbehaved`; 504 `timeout` without a
//!   sandbox.
//! - `spin` `spin-threads=N`: burns CPU time on one or N threads. Answer: 504 `timeout`.
//! - `burn=TIME`: uses so much CPU time, answers. Answer: 200, or 504 beyond its limit.
//! - `sleep=TIME`: answers after that time. Answer: 200, or 504 beyond the deadline.
//! - `fork-bomb` `fork-bomb=N`: processes that make processes for ever; N sleeping ones.
//!   Answer: 502 `worker_misbehaved`; 504, or 200 with N, without a sandbox.
//! - `thread-bomb` `thread-bomb=N`: as many threads as it gets, or N; answers. Answer: 200.
//! - `fd-flood`: as many descriptors as it gets; answers. Answer: 200, or 502
//!   `worker_misbehaved` where the sandbox forbids dup.
//! - `output-flood` `text-flood` `word-flood`: segments for ever: tiny ones, of 60 KiB, of
//!   thousands of words. Answer: 502 `worker_misbehaved`.
//! - `burst=N`: N segments without a pause, each as good as the one. Answer: 200.
//! - `stderr-flood`: 16 MiB to stderr; answers. Answer: 200.
//! - `stderr-storm`: the same for ever on four threads, during and after its answer. Answer:
//!   200.
//! - `out-of-order` `bad-times` `beyond-the-end` `empty-text` `control-characters`
//!   `nan-confidence` `nan-figures`: segments that cannot be. Answer: 502 `worker_misbehaved`.
//! - `partials`: gives its words before they are final, if the client asked for that. Answer: 200.
//! - `partials-for=TIME`: nothing but guesses for that time; answers. Answer: 200.
//! - `partial-unasked` `partial-taken-back` `partial-lost` `partial-long` `partial-flood`
//!   `partial-promises` `partial-control-characters`: guesses that cannot be. Answer: 502
//!   `worker_misbehaved`.
//! - `channel=N,MODE`: that mode in the job that hears channel N; others behave.
//! - `options`: answers with what it was told of prompt, keywords, temperature and translation.
//!   Answer: 200.
//! - `language`: answers with the language that it was told. Answer: 200.
//! - `plant=MARK`: leaves MARK in its stack, heap and static memory; answers. Answer: 200.
//! - `escape-…`: one attempt to get out, see [`escape`]. Answer: 502 `worker_misbehaved`, or
//!   200 with `denied …`.
//! - `list`: answers with the names of all attempts. Answer: 200.
//!
//! The modes that break the protocol are in `job::fault`.

pub mod escape;

mod crash;
mod flood;
mod greed;
mod guess;
mod leftovers;
mod settings;

use std::{str::FromStr, time::Duration};

pub use self::settings::FaultSettings;
use super::{AudioSource, Emit, Engine, EngineError, Hearing, HearsSamples, SAMPLE_RATE, Said};
use crate::{request::Ask, transcript::Segment, units::ByteSize};

/// The text that the engine recognises in every recording when it behaves.
pub const TEXT: &str = "fault engine";

/// The engine as a loaded model.
#[derive(Debug)]
pub struct Fault;

/// Load it, or do what else the settings say.
///
/// # Errors
/// They say so.
pub fn load(settings: &FaultSettings) -> Result<Fault, EngineError> {
    match settings.load.as_deref() {
        None => Ok(Fault),
        Some("crash") => std::process::abort(),
        Some("escape") => {
            let attempt = escape::all().find(|attempt| attempt.name == "escape-socket-tcp");
            let attempt = attempt.ok_or_else(|| failed("there is no such attempt".into()))?;
            Err(failed(attempt.run(&escape::Surroundings::noted())?))
        }
        Some("hang") => sleep_for_ever(),
        Some(_) => Err(EngineError::Unavailable("it was asked not to load".into())),
    }
}

impl Engine for Fault {}

impl HearsSamples for Fault {
    fn hearing(&self) -> Hearing {
        Hearing::Whole
    }

    fn transcribe(
        &mut self,
        audio: &mut dyn AudioSource,
        options: &Ask,
        emit: &mut Emit<'_>,
    ) -> Result<(), EngineError> {
        let mut samples = 0;
        while let Some(block) = audio.next_block()? {
            samples += block.len() as u64;
        }
        let length = Duration::from_secs(samples) / SAMPLE_RATE;
        let fault = options.fault.as_deref();
        let text = match fault.and_then(|fault| on_channel(fault, options.channel)) {
            None => Some(TEXT.into()),
            Some("options") => Some(told(options)),
            Some("partials") => guess::honest(emit, options.partials)?,
            Some("language") => Some(options.language.clone().unwrap_or("none".into())),
            Some(fault) => misbehave(fault, length, emit)?,
        };
        if let Some(text) = text {
            let _ = emit(Said::Segment(segment(text, length)));
        }
        Ok(())
    }
}

/// The part of `fault` for the job that hears this channel.
fn on_channel(fault: &str, channel: Option<u16>) -> Option<&str> {
    let Some((asked, mode)) = fault
        .strip_prefix("channel=")
        .and_then(|f| f.split_once(','))
    else {
        return Some(fault);
    };
    (asked.parse().ok() == channel).then_some(mode)
}

/// Do what `fault` says; the text to answer with, if there is to be an answer.
fn misbehave(
    fault: &str,
    length: Duration,
    emit: &mut Emit<'_>,
) -> Result<Option<String>, EngineError> {
    let (mode, parameter) = match fault.split_once('=') {
        Some((mode, parameter)) => (mode, Some(parameter)),
        None => (fault, None),
    };
    match mode {
        "leak" => greed::leak(parse(mode, parameter)?),
        "leak-each-second" => {
            let each: ByteSize = parse(mode, parameter)?;
            let milliseconds = length.as_millis().try_into().unwrap_or(u64::MAX);
            greed::leak(ByteSize(each.bytes().saturating_mul(milliseconds) / 1000));
        }
        "leak-forever" => greed::leak_forever(),
        "segfault" => crash::segfault(),
        "abort" => std::process::abort(),
        "illegal" => crash::illegal(),
        "trap" => crash::trap(),
        "fpe" => crash::fpe(),
        "bus" => crash::bus(),
        "stack-overflow" => crash::stack_overflow(),
        "exit" => crash::exit(parse(mode, parameter)?),
        "fail" => return Err(failed("it was asked to fail".into())),
        "hang" => sleep_for_ever(),
        "stop" => crash::stop(),
        "stall" => {
            let _ = emit(Said::Segment(segment(TEXT.into(), length)));
            sleep_for_ever()
        }
        "spin" => greed::spin(),
        "spin-threads" => greed::spin_threads(parse(mode, parameter)?)?,
        "burn" => greed::burn(parse::<humantime::Duration>(mode, parameter)?.into()),
        "sleep" => {
            let time = parse::<humantime::Duration>(mode, parameter)?;
            std::thread::sleep(time.into());
        }
        "fork-bomb" => greed::fork_bomb(parse_optional(mode, parameter)?),
        "thread-bomb" => greed::thread_bomb(parse_optional(mode, parameter)?),
        "fd-flood" => greed::fd_flood(),
        "stderr-flood" => flood::stderr(flood::MUCH),
        "stderr-storm" => flood::stderr_for_ever()?,
        "output-flood" => return flood::output(emit),
        "text-flood" => return flood::text(emit),
        "word-flood" => return flood::words(emit),
        "burst" => return flood::burst(emit, parse(mode, parameter)?, length),
        "out-of-order" => flood::out_of_order(emit),
        "bad-times" => flood::bad_times(emit),
        "beyond-the-end" => flood::beyond_the_end(emit),
        "empty-text" => flood::empty_text(emit),
        "control-characters" => flood::control_characters(emit),
        "nan-confidence" => flood::nan_confidence(emit),
        "nan-figures" => flood::nan_figures(emit),
        "partials-for" => guess::slow(emit, parse::<humantime::Duration>(mode, parameter)?.into()),
        "partial-unasked" => return guess::honest(emit, true),
        "partial-taken-back" => guess::taken_back(emit),
        "partial-lost" => return guess::lost(emit),
        "partial-long" => guess::long(emit),
        "partial-flood" => return guess::flood(emit),
        "partial-promises" => return guess::promises(emit),
        "partial-control-characters" => guess::control_characters(emit),
        "plant" => leftovers::plant(mark(parameter)?),
        "list" => {
            let names: Vec<&str> = escape::all().map(|attempt| attempt.name).collect();
            return Ok(Some(names.join(" ")));
        }
        "escape-leftovers" => return Ok(Some(leftovers::search(mark(parameter)?))),
        _ => {
            let known = escape::all().find(|attempt| attempt.name == mode);
            let attempt = known.ok_or_else(|| failed(format!("it has no mode `{mode}`")))?;
            return Ok(Some(attempt.run(&escape::Surroundings::noted())?));
        }
    }
    Ok(Some(TEXT.into()))
}

fn told(options: &Ask) -> String {
    let Ask {
        prompt,
        keywords,
        temperature,
        translate,
        ..
    } = options;
    format!("{prompt:?} {keywords:?} {temperature:?} translate={translate}")
}

fn segment(text: String, end: Duration) -> Segment {
    Segment {
        text,
        start: Duration::ZERO,
        end,
        words: Vec::new(),
        decoding: None,
        speaker: None,
    }
}

fn failed(reason: String) -> EngineError {
    EngineError::Failed {
        engine: "fault",
        reason,
    }
}

fn parse<T: FromStr>(mode: &str, parameter: Option<&str>) -> Result<T, EngineError> {
    parameter
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| failed(format!("the mode `{mode}` needs `=` and a sound value")))
}

fn parse_optional<T: FromStr>(
    mode: &str,
    parameter: Option<&str>,
) -> Result<Option<T>, EngineError> {
    match parameter {
        None => Ok(None),
        Some(_) => parse(mode, parameter).map(Some),
    }
}

/// Short marks would be found by accident.
fn mark(parameter: Option<&str>) -> Result<&str, EngineError> {
    parameter
        .filter(|mark| (8..=64).contains(&mark.len()))
        .ok_or_else(|| failed("a mark has 8 to 64 bytes".into()))
}

fn sleep_for_ever() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
