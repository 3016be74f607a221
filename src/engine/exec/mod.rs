//! Engine `exec`: any program. The job starts it before its request comes, and asks it over pipes.
//! It serves one request, then it ends.
//!
//! The job decodes the recording, unless the program wants the original bytes. Audio is written
//! while answers are read, so neither side can block the other. However the program ends, the job
//! ends in the same way, and is judged as if it had been the engine itself.

#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used)]
pub(crate) mod fuzzing;
mod protocol;
mod settings;
mod talk;
#[cfg(test)]
mod tests;

use std::{
    os::fd::BorrowedFd,
    path::Path,
    time::{Duration, Instant},
};

pub use self::settings::ExecSettings;
use self::{
    protocol::{Answer, Audio, Done, Failed, Kind, Request, Wish},
    talk::{Event, Talk},
};
use super::{
    AudioSource, Emit, Engine, EngineError, Hearing, HearsOriginal, HearsSamples, LoadedModel,
    OriginalSource, SAMPLE_RATE, Said, samples::to_i16,
};
use crate::{
    isolation::{How, Launch, Program, die_as, exit_now},
    request::Ask,
    transcript::{Committed, Hypothesis},
};

/// Name of the engine in the configuration and in messages.
pub const NAME: &str = "exec";

/// Exit status of a program that could not be started, as in a shell.
const CANNOT_EXECUTE: i32 = 127;

/// A program that is ready for its only request.
#[derive(Debug)]
pub struct Exec {
    talk: Talk,
    language: Option<String>,
}

/// Start the program of these settings, and wait until it is ready. Nothing here limits that time;
/// the process that waits for the job has one.
///
/// # Errors
/// [`EngineError::Unavailable`]: it cannot be started, or its first message is not that it is
/// ready.
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
    fn languages(&self) -> Vec<&str> {
        self.language.as_deref().into_iter().collect()
    }

    fn wait(&mut self, request: BorrowedFd<'_>) {
        // The program serves one request. After that it may end in any way.
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
        emit: &mut Emit<'_>,
    ) -> Result<(), EngineError> {
        let request = Request::line(options, Audio::SAMPLES);
        let mut samples = Samples { audio, given: 0 };
        self.converse(request, &mut samples, &mut Guesses::of(options), emit)
    }
}

impl HearsOriginal for Exec {
    fn transcribe_original(
        &mut self,
        recording: &mut dyn OriginalSource,
        options: &Ask,
        emit: &mut Emit<'_>,
    ) -> Result<(), EngineError> {
        let (extension, media_type) = recording.hint();
        let (extension, media_type) = (extension.map(str::to_owned), media_type.map(str::to_owned));
        let audio = Audio::Original {
            extension: extension.as_deref(),
            media_type: media_type.as_deref(),
        };
        let request = Request::line(options, audio);
        self.converse(
            request,
            &mut Bytes(recording),
            &mut Guesses::of(options),
            emit,
        )
    }
}

impl Exec {
    /// Ask, feed and listen until the last word.
    fn converse(
        &mut self,
        request: serde_json::Result<Vec<u8>>,
        feed: &mut dyn Feed,
        guesses: &mut Guesses,
        emit: &mut Emit<'_>,
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
                        let kept = guesses.committed.settle(&segment);
                        kept.map_err(|what| misbehaved(what.into()))?;
                        if emit(Said::Segment(segment)).is_break() {
                            return Ok(());
                        }
                    }
                }
                Event::Said(Answer::Progress(seconds)) => {
                    feed.heard(protocol::seconds(seconds).map_err(misbehaved)?)?;
                }
                Event::Said(Answer::Partial(text)) => {
                    let guess = guesses.partial(text).map_err(misbehaved)?;
                    if guess.is_some_and(|guess| emit(Said::Hypothesis(guess)).is_break()) {
                        return Ok(());
                    }
                }
                Event::Said(Answer::Committed(text)) => {
                    let guess = guesses.commit(text).map_err(misbehaved)?;
                    if guess.is_some_and(|guess| emit(Said::Hypothesis(guess)).is_break()) {
                        return Ok(());
                    }
                }
                Event::Said(Answer::Done(done)) => {
                    let kept = guesses.committed.finish();
                    kept.map_err(|what| misbehaved(what.into()))?;
                    return self.done(done, feed);
                }
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
        // The program may not have read everything. The rest must still be a recording, and its
        // length must be known.
        let mut rest = Vec::new();
        while feed.next(&mut rest)? {
            rest.clear();
        }
        Ok(())
    }
}

/// Time between two guesses that are passed on.
const PAUSE: Duration = Duration::from_millis(100);

/// The words of a program that are not final yet.
struct Guesses {
    /// False if the client cannot use them: then they are passed over.
    are_wanted: bool,
    committed: Committed,
    /// When the last one was passed on.
    told: Option<Instant>,
}

impl Guesses {
    fn of(ask: &Ask) -> Self {
        Self {
            are_wanted: ask.partials,
            committed: Committed::default(),
            told: None,
        }
    }

    /// Take words that may change; `None` if they come too soon after others, or for nobody.
    fn partial(&mut self, tentative: String) -> Result<Option<Hypothesis>, String> {
        let guess = self.take(String::new(), tentative)?;
        let is_early = self.told.is_some_and(|told| told.elapsed() < PAUSE);
        Ok(guess
            .filter(|_| !is_early)
            .inspect(|_| self.told = Some(Instant::now())))
    }

    /// Take words that the next segment begins with; `None` if they are for nobody.
    fn commit(&mut self, committed: String) -> Result<Option<Hypothesis>, String> {
        self.take(committed, String::new())
    }

    fn take(&mut self, committed: String, tentative: String) -> Result<Option<Hypothesis>, String> {
        let guess = Hypothesis {
            committed,
            tentative,
        };
        self.committed.add(&guess)?;
        Ok(self.are_wanted.then_some(guess))
    }
}

/// The data that a program gets on descriptor 3.
trait Feed {
    /// Append the next bytes; `false` at the end.
    fn next(&mut self, bytes: &mut Vec<u8>) -> Result<bool, EngineError>;

    /// Length of the audio that was given, if that is known.
    fn given(&self) -> Option<Duration>;

    /// The program reports that it has heard this much audio.
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
