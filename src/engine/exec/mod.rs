//! Engine `exec`: any program, started by the job ahead of its request and asked over pipes. One request, then it ends.
//!
//! The recording is decoded in the job, so a program needs nothing for that; one that wants to can have the original
//! bytes. Audio goes to it while its answers are read: neither side can block the other for ever. However it ends, the
//! job ends alike, and is judged as if it had been the engine itself.

#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used)]
pub(crate) mod fuzzing;
mod protocol;
mod settings;
mod talk;
#[cfg(test)]
mod tests;

use std::{ops::ControlFlow, os::fd::BorrowedFd, path::Path, time::Duration};

pub use self::settings::ExecSettings;
use self::{
    protocol::{Answer, Audio, Done, Failed, Kind, Request, Wish},
    talk::{Event, Talk},
};
use super::{
    AudioSource, Engine, EngineError, Hearing, HearsOriginal, HearsSamples, LoadedModel,
    OriginalSource, SAMPLE_RATE, samples::to_i16,
};
use crate::{
    isolation::{How, Launch, Program, die_as, exit_now},
    request::Ask,
    transcript::Segment,
};

/// Name of the engine in the configuration and in messages.
pub const NAME: &str = "exec";

/// Exit status of a program that could not be started at all, as a shell has it.
const CANNOT_EXECUTE: i32 = 127;

/// A program that is ready for its only request.
#[derive(Debug)]
pub struct Exec {
    talk: Talk,
    language: Option<String>,
}

/// Start the program of these settings, and wait until it is ready. Nothing here bounds that time: whoever waits for the
/// job does.
///
/// # Errors
/// [`EngineError::Unavailable`]: it cannot be started, or said something else.
pub fn load(settings: &ExecSettings, scratch: Option<&Path>) -> Result<LoadedModel, EngineError> {
    let unavailable = |what: String| {
        let program = settings.command.first().map_or("", String::as_str);
        EngineError::Unavailable(format!(
            "the program {program} is of no use: {what} (models.<name>.exec.command)"
        ))
    };
    let Some(scratch) = scratch else {
        return Err(unavailable("it needs a process of its own".into()));
    };
    let launch = Launch {
        command: &settings.command,
        environment: &settings.environment,
        files: &settings.files(),
        network: settings.network,
        jit: settings.jit,
    };
    let program = Program::start(&launch, scratch)
        .map_err(|error| unavailable(format!("it cannot be started: {error}")))?;
    let mut talk = Talk::new(program);
    let ready = loop {
        match talk.next(None).map_err(unavailable)? {
            Event::Said(Answer::Ready(ready)) => break ready,
            Event::Said(_) => {
                return Err(unavailable(
                    "it answers before it says that it is ready".into(),
                ));
            }
            Event::Ended(How::Status(CANNOT_EXECUTE)) => {
                return Err(unavailable(format!(
                    "it or its interpreter cannot be executed in its sandbox (models.<name>.exec.read){}",
                    talk.last_words()
                )));
            }
            Event::Ended(how) => {
                let words = talk.last_words();
                return Err(unavailable(format!(
                    "{how}, and before it was ready{words}"
                )));
            }
            Event::Room | Event::Other => {}
        }
    };
    let engine = Box::new(Exec {
        talk,
        language: None,
    });
    Ok(match ready.audio {
        Wish::Pcm => LoadedModel::Samples(engine),
        Wish::Original => LoadedModel::Original(engine),
    })
}

impl Engine for Exec {
    fn language(&self) -> Option<&str> {
        self.language.as_deref()
    }

    fn wait(&mut self, request: BorrowedFd<'_>) {
        // It serves one request; after that it may end as it likes.
        while !self.talk.is_asked() {
            match self.talk.next(Some(request)) {
                Ok(Event::Other) => return,
                Ok(Event::Room) => {}
                Ok(Event::Ended(how)) => {
                    let words = self.talk.last_words();
                    eprintln!("the program ended while it had nothing to do: {how}{words}");
                    die_as(how);
                }
                Ok(Event::Said(_)) => {
                    eprintln!("the program spoke before it was asked");
                    exit_now(1);
                }
                Err(what) => {
                    eprintln!("the program misbehaved before it was asked: {what}");
                    exit_now(1);
                }
            }
        }
    }
}

impl HearsSamples for Exec {
    fn hearing(&self) -> Hearing {
        Hearing::Whole
    }

    fn transcribe(
        &mut self,
        audio: &mut dyn AudioSource,
        options: &Ask,
        emit: &mut dyn FnMut(Segment) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let request = Request::line(options, Audio::SAMPLES);
        let mut samples = Samples { audio, given: 0 };
        self.converse(request, &mut samples, emit)
    }
}

impl HearsOriginal for Exec {
    fn transcribe_original(
        &mut self,
        recording: &mut dyn OriginalSource,
        options: &Ask,
        emit: &mut dyn FnMut(Segment) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let (extension, media_type) = recording.hint();
        let (extension, media_type) = (extension.map(str::to_owned), media_type.map(str::to_owned));
        let audio = Audio::Original {
            extension: extension.as_deref(),
            media_type: media_type.as_deref(),
        };
        let request = Request::line(options, audio);
        self.converse(request, &mut Bytes(recording), emit)
    }
}

impl Exec {
    /// Ask, feed and listen until the last word.
    fn converse(
        &mut self,
        request: serde_json::Result<Vec<u8>>,
        feed: &mut dyn Feed,
        emit: &mut dyn FnMut(Segment) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let request =
            request.map_err(|error| failed(format!("no request can be made: {error}")))?;
        self.talk.ask(request).map_err(misbehaved)?;
        let mut last_start = Duration::ZERO;
        loop {
            if self.talk.wants_audio() {
                self.talk.give(|bytes| feed.next(bytes))?;
            }
            match self.talk.next(None).map_err(misbehaved)? {
                Event::Room | Event::Other => {}
                Event::Said(Answer::Segment(piece)) => {
                    let segment = piece.check(last_start, feed.given());
                    if let Some(segment) = segment.map_err(misbehaved)? {
                        last_start = segment.start;
                        if emit(segment).is_break() {
                            return Ok(());
                        }
                    }
                }
                Event::Said(Answer::Progress(seconds)) => {
                    feed.heard(protocol::seconds(seconds).map_err(misbehaved)?)?;
                }
                Event::Said(Answer::Done(done)) => return self.done(done, feed),
                Event::Said(Answer::Failed(failure)) => return Err(of_failure(&failure)),
                Event::Said(Answer::Ready(_)) => {
                    return Err(misbehaved("it said twice that it is ready".into()));
                }
                Event::Ended(how) => {
                    self.talk.last_words();
                    die_as(how)
                }
            }
        }
    }

    fn done(&mut self, done: Done, feed: &mut dyn Feed) -> Result<(), EngineError> {
        self.language = match done.language {
            Some(code) => Some(protocol::language(code).map_err(misbehaved)?),
            None => None,
        };
        if let Some(duration) = done.duration {
            feed.heard(protocol::seconds(duration).map_err(misbehaved)?)?;
        }
        // What it did not care to hear must be a recording all the same, and has a length.
        let mut rest = Vec::new();
        while feed.next(&mut rest)? {
            rest.clear();
        }
        Ok(())
    }
}

/// What a program is given on descriptor 3.
trait Feed {
    /// Append the next bytes; `false`: there are no more.
    fn next(&mut self, bytes: &mut Vec<u8>) -> Result<bool, EngineError>;

    /// How much of the recording was given, where that is known.
    fn given(&self) -> Option<Duration>;

    /// The program has heard so much, it says.
    fn heard(&mut self, audio: Duration) -> Result<(), EngineError>;
}

/// Samples of 16 bits, low byte first.
struct Samples<'a> {
    audio: &'a mut dyn AudioSource,
    given: u64,
}

impl Feed for Samples<'_> {
    fn next(&mut self, bytes: &mut Vec<u8>) -> Result<bool, EngineError> {
        let Some(block) = self.audio.next_block()? else {
            return Ok(false);
        };
        self.given += block.len() as u64;
        bytes.reserve(2 * block.len());
        for sample in block {
            bytes.extend(to_i16(*sample).to_le_bytes());
        }
        Ok(true)
    }

    fn given(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.given) / SAMPLE_RATE)
    }

    fn heard(&mut self, _: Duration) -> Result<(), EngineError> {
        self.audio.at_work()
    }
}

/// The recording as it was uploaded.
struct Bytes<'a>(&'a mut dyn OriginalSource);

impl Feed for Bytes<'_> {
    fn next(&mut self, bytes: &mut Vec<u8>) -> Result<bool, EngineError> {
        let Some(next) = self.0.next_bytes()? else {
            return Ok(false);
        };
        bytes.extend_from_slice(next);
        Ok(true)
    }

    fn given(&self) -> Option<Duration> {
        None
    }

    fn heard(&mut self, audio: Duration) -> Result<(), EngineError> {
        self.0.heard(audio)
    }
}

fn of_failure(failure: &Failed) -> EngineError {
    let message = protocol::quote(&failure.message);
    match failure.kind {
        Kind::InvalidAudio => EngineError::Invalid(message),
        Kind::Engine => failed(message),
    }
}

/// An error of this engine.
fn failed(reason: String) -> EngineError {
    EngineError::Failed {
        engine: NAME,
        reason,
    }
}

fn misbehaved(what: String) -> EngineError {
    EngineError::Misbehaved(format!("its program broke the protocol: {what}"))
}
