//! The life of one job: forked, ready, assigned, running, done, gone. Everything it says is checked here.

use std::{
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{interval_at, sleep_until, timeout},
};

use super::{
    Lower, Shared,
    queue::Waiting,
    spare::SpareHandle,
    ticket::{Event, Report},
};
use crate::{
    config::Limits,
    isolation::{
        Figures, FromJob, JobProcess, Outcome, TimeLimit, Usage, channel::ChannelError,
        sandbox::system_call_name,
    },
    transcript::{Segment, Word},
};

/// A forked child has nothing to do before it is ready but to set itself up.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// A job that answered and does not go when it is dismissed, or hung up and does not end, is killed after this.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// How often a silent job is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// CPU time below which a job did nothing between two looks: wake-ups of idle threads, no work.
const IDLE_CPU: Duration = Duration::from_millis(2);

/// So many jobs may die with a request in front of them that they have not read; then it fails as if they had.
const MAX_UNREAD: u32 = 3;

/// Most text, in bytes, that one request may produce: 24 hours of fast speech are under 2 MiB.
const MAX_TEXT: usize = 4 << 20;

/// Most segments and words together, for each second that the recording may last and for any recording beside that.
/// Nobody speaks so fast; a word without a letter costs memory here all the same.
const MAX_PIECES: (u64, u64) = (16, 1000);

/// Most reports of progress, for each second of audio read and for any recording beside that. A job makes one a second.
const MAX_PROGRESS: (u64, u64) = (4, 100);

/// Most warnings that are kept of one request, and the longest of them in bytes.
const MAX_WARNINGS: (usize, usize) = (8, 500);

/// Lines of a job's stderr that go to the log, and the length in characters at which each is cut.
const MAX_LOG: (usize, usize) = (20, 500);

/// Wait until a forked job is ready.
///
/// # Errors
/// It ended, broke the protocol or took too long; the reason for the log. It is gone by then.
pub(super) async fn ready(job: &mut JobProcess) -> Result<(), String> {
    let failure = match timeout(READY_TIMEOUT, job.receive()).await {
        Ok(Ok(FromJob::Ready)) => return Ok(()),
        Ok(Ok(FromJob::Violation { call })) => {
            let call = system_call_name(call).unwrap_or("unknown");
            format!("it was stopped at a forbidden system call ({call})")
        }
        Ok(Ok(_)) => "it spoke before it was asked".into(),
        Ok(Err(ChannelError::HungUp)) => match timeout(EXIT_GRACE, job.ended()).await {
            Ok(Ok(exit)) => exit.how.to_string(),
            _ => "it hung up".into(),
        },
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it was not ready within {READY_TIMEOUT:?}"),
    };
    Err(format!(
        "a forked job is of no use: {failure}{}",
        last_words(job)
    ))
}

/// Keep a ready job in its model's pool until it gets a request, serve that one, and end.
pub(super) async fn spare(shared: Arc<Shared>, model: usize, mut job: JobProcess) {
    let key = u64::from(job.pid().cast_unsigned());
    let (handle, mut request) = SpareHandle::new(key);
    shared.state().models[model].spares.push(handle);
    shared.pump();
    let waiting = tokio::select! {
        biased;
        request = &mut request => request.ok(),
        exit = job.ended() => {
            shared.state().models[model].spares.retain(|spare| spare.key != key);
            let how = exit.map_or_else(|e| e.to_string(), |e| e.how.to_string());
            let name = &shared.model(model).name;
            tracing::warn!(model = name, pid = job.pid(), "model {name}: a spare died idle: {how}");
            // Between its death and this moment it may have been given a request: another spare serves that.
            request.close();
            if let Ok(waiting) = request.try_recv() {
                shared.give_back(waiting);
            }
            None
        }
    };
    match waiting {
        Some(waiting) => serve(&shared, model, job, waiting).await,
        None => job.dismiss(EXIT_GRACE).await,
    }
    shared.pump();
}

async fn serve(shared: &Arc<Shared>, model: usize, mut job: JobProcess, mut waiting: Box<Waiting>) {
    let start = Instant::now();
    let queued = start - waiting.since;
    if waiting.unread == 0 {
        let _ = waiting.events.try_send(Event::Started);
    }
    // Its place is kept from the beginning: behind a burst of segments there might be none, and the last event must
    // neither wait for the client nor be lost.
    let finished = waiting.events.clone().try_reserve_owned();
    let ended = run(&mut job, &waiting).await;
    if ended.unread && waiting.unread < MAX_UNREAD && !waiting.events.is_closed() {
        let name = &shared.model(model).name;
        let pid = job.pid();
        tracing::warn!(
            model = name,
            pid,
            "model {name}: a spare died idle; its request goes to another one"
        );
        waiting.unread += 1;
        shared.give_back(waiting);
        return job.dismiss(EXIT_GRACE).await;
    }
    let report = Report {
        outcome: ended.outcome,
        usage: ended.usage,
        figures: ended.figures,
        pid: job.pid(),
        queued,
        wall: start.elapsed(),
    };
    let slot = job.slot().index();
    let request_id = waiting.request_id.clone();
    log(shared, model, &waiting, &report, slot);
    if let Outcome::Violation { call } = &report.outcome {
        let name = &shared.model(model).name;
        tracing::error!(
            request_id = waiting.request_id,
            model = name,
            pid = report.pid,
            slot,
            call,
            "model {name}: a job was ended at a forbidden system call: {}",
            call.as_deref().unwrap_or("unknown")
        );
    }
    // The answer first; whatever the job leaves behind is cleared away afterwards.
    if let Ok(place) = finished {
        place.send(Event::Finished(Box::new(report)));
    }
    drop(waiting);
    shared.finished(start.elapsed());
    tokio::task::yield_now().await;
    let words = last_words(&mut job);
    if !words.is_empty() {
        let name = &shared.model(model).name;
        tracing::warn!(
            model = name,
            slot,
            request_id,
            "model {name}: a job wrote to stderr{words}"
        );
    }
    job.dismiss(EXIT_GRACE).await;
    if let Some(killed) = ended.killed {
        let freed = killed.elapsed();
        tracing::info!(
            request_id,
            slot,
            slot_free_us = u64::try_from(freed.as_micros()).unwrap_or(u64::MAX),
            "slot {slot} is free {:.1} ms after its job was killed",
            freed.as_secs_f64() * 1000.0
        );
    }
}

/// One line for each finished request.
pub(super) fn log(shared: &Shared, model: usize, waiting: &Waiting, report: &Report, slot: usize) {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        request_id = waiting.request_id,
        uid = waiting.uid,
        model = shared.model(model).name,
        outcome = report.outcome.code(),
        pid = report.pid,
        slot,
        audio_ms = milliseconds(report.figures.audio),
        wall_ms = milliseconds(report.wall),
        queue_ms = milliseconds(report.queued),
        cpu_ms = milliseconds(report.usage.cpu),
        peak_bytes = report.usage.peak,
        anon_bytes = report.usage.anonymous,
        limit_bytes = report.usage.limit,
        page_cache_bytes = report.usage.page_cache,
        page_faults = report.usage.page_faults,
        "{}",
        summary(report)
    );
}

/// The line that a person reads; the fields beside it are for queries.
fn summary(report: &Report) -> String {
    if report.outcome != Outcome::Ok {
        return format!(
            "request failed ({}): {}",
            report.outcome.code(),
            report.outcome
        );
    }
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let limit = match report.usage.limit {
        Some(limit) => format!(" of {:.0}", mebibytes(limit)),
        None => String::new(),
    };
    format!(
        "request ok: {:.1} s of audio in {:.2} s, peak {:.1}{limit} MiB",
        report.figures.audio.as_secs_f64(),
        report.wall.as_secs_f64(),
        mebibytes(report.usage.peak),
    )
}

/// How a job's work on its request ended; the process itself may still be there.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) usage: Usage,
    pub(super) figures: Figures,
    /// When the service decided to kill it, if it did.
    pub(super) killed: Option<Instant>,
    /// Whether it died before it had read its request: not one byte of the recording was touched.
    pub(super) unread: bool,
}

/// Give the job its request and follow it to its last word or its end.
pub(super) async fn run(job: &mut JobProcess, waiting: &Waiting) -> Ended {
    let mut talk = Talk::new(waiting);
    let lowered = if waiting.lower.memory.is_some() {
        job.lower(&waiting.limits)
    } else {
        Ok(())
    };
    let last = match lowered {
        Err(error) => Last::Violation(format!("it cannot be held to its limit: {error}")),
        Ok(()) => match job.assign(waiting.job.clone(), waiting.recording.as_fd()) {
            Ok(()) => talk.follow(job, &waiting.events).await,
            Err(error) => Last::Lost(error),
        },
    };
    let mut goes_on = false;
    let mut killed = None;
    if !matches!(last, Last::Word(_)) {
        // A job that lost its channel is ending or broken; only its end tells which.
        if !matches!(
            last,
            Last::Lost(ChannelError::HungUp | ChannelError::Unread)
        ) {
            killed = Some(Instant::now());
            job.kill();
        }
        if timeout(EXIT_GRACE, job.ended()).await.is_err() {
            goes_on = true;
            job.kill();
        }
    }
    let usage = job.usage();
    let mut figures = Figures {
        audio: talk.audio,
        ..Figures::default()
    };
    let lost_unread = matches!(last, Last::Lost(ChannelError::Unread));
    let outcome = match last {
        Last::Word(FromJob::Done { figures: told, .. }) => {
            figures = told;
            Outcome::Ok
        }
        Last::Word(FromJob::Failed { failure, .. }) => Outcome::of_failure(failure),
        Last::Word(_) => Outcome::Misbehaved("it ended with something that is no end".into()),
        Last::Forbidden(call) => Outcome::of_violation(call),
        Last::Violation(what) => Outcome::Misbehaved(what),
        Last::OutOfTime(limit) => Outcome::Timeout {
            limit,
            after: talk.allowance(limit),
            audio: talk.audio,
        },
        Last::Cancelled => Outcome::Cancelled,
        Last::Lost(error) if error.is_violation() => Outcome::Misbehaved(error.to_string()),
        // Killed by us, which must not look like a crash.
        Last::Lost(ChannelError::HungUp) if goes_on => {
            Outcome::Misbehaved("it hung up without a last word, and went on".into())
        }
        Last::Lost(_) => match job.ended().await {
            Ok(exit) => Outcome::of_dead(
                exit,
                usage.oom_kills,
                usage.limit.unwrap_or(0),
                usage.peak,
                talk.audio,
            ),
            Err(error) => Outcome::Misbehaved(format!("its end is unknown: {error}")),
        },
    };
    Ended {
        killed,
        unread: lost_unread && matches!(outcome, Outcome::Crashed(_)),
        outcome,
        usage,
        figures,
    }
}

/// Why a job is not listened to any more.
enum Last {
    /// It said its last word in good order: `Done` or `Failed`.
    Word(FromJob),
    /// It said something that it must not say.
    Violation(String),
    /// It was stopped at this system call, it says: a verdict on nobody but itself.
    Forbidden(u32),
    /// One of its times is up.
    OutOfTime(TimeLimit),
    /// Nobody wants the answer.
    Cancelled,
    /// The channel broke.
    Lost(ChannelError),
}

/// What was heard from one job so far.
struct Talk<'a> {
    id: u64,
    limits: &'a Limits,
    lower: &'a Lower,
    start: Instant,
    /// When it last spoke or was seen to use the CPU, and how much of it until then.
    alive: (Instant, Duration),
    audio: Duration,
    last_start: Duration,
    progress: u64,
    pieces: u64,
    text: usize,
}

impl<'a> Talk<'a> {
    fn new(waiting: &'a Waiting) -> Self {
        let start = Instant::now();
        Self {
            id: waiting.job.id,
            limits: &waiting.limits,
            lower: &waiting.lower,
            start,
            alive: (start, Duration::ZERO),
            audio: Duration::ZERO,
            last_start: Duration::ZERO,
            progress: 0,
            pieces: 0,
            text: 0,
        }
    }

    async fn follow(&mut self, job: &JobProcess, events: &mpsc::Sender<Event>) -> Last {
        let mut unread = false;
        let mut look = interval_at((self.start + LOOK).into(), LOOK);
        loop {
            // A job that talks without a pause has its next message there already, always: nobody else on this thread
            // would have a turn, neither other jobs nor the clock.
            tokio::task::consume_budget().await;
            if events.is_closed() {
                return Last::Cancelled;
            }
            if Instant::now() >= self.deadline() {
                return Last::OutOfTime(TimeLimit::Wall);
            }
            let message = tokio::select! {
                biased;
                message = job.receive() => message,
                () = events.closed() => return Last::Cancelled,
                () = sleep_until(self.deadline().into()) => return Last::OutOfTime(TimeLimit::Wall),
                _ = look.tick() => match self.look(job) {
                    Some(limit) => return Last::OutOfTime(limit),
                    None => continue,
                },
            };
            self.alive.0 = Instant::now();
            let message = match message {
                Ok(message) => message,
                // What it said before it went comes first.
                Err(ChannelError::Unread) if !unread => {
                    unread = true;
                    continue;
                }
                Err(ChannelError::HungUp) if unread => return Last::Lost(ChannelError::Unread),
                Err(error) => return Last::Lost(error),
            };
            match self.check(message) {
                Ok(Heard::Nothing) => {}
                Ok(Heard::Segment(segment)) => {
                    // A client that does not take its segments holds up nobody but its own job.
                    tokio::select! {
                        biased;
                        sent = events.send(Event::Segment(segment)) => {
                            if sent.is_err() {
                                return Last::Cancelled;
                            }
                        }
                        () = sleep_until(self.deadline().into()) => {
                            return Last::OutOfTime(TimeLimit::Wall);
                        }
                    }
                }
                Ok(Heard::End(message)) => return Last::Word(message),
                Ok(Heard::Forbidden(call)) => return Last::Forbidden(call),
                Err(what) => return Last::Violation(what),
            }
        }
    }

    /// Take one message for what it may be: nothing in it is trusted.
    fn check(&mut self, message: FromJob) -> Result<Heard, String> {
        let id = match &message {
            FromJob::Ready => return Err("it said twice that it is ready".into()),
            FromJob::Violation { call } => return Ok(Heard::Forbidden(*call)),
            FromJob::Progress { id, .. }
            | FromJob::Segment { id, .. }
            | FromJob::Done { id, .. }
            | FromJob::Failed { id, .. } => *id,
        };
        if id != self.id {
            return Err(format!("it answered request {id} instead of {}", self.id));
        }
        match message {
            FromJob::Ready | FromJob::Violation { .. } => Ok(Heard::Nothing),
            FromJob::Progress { audio, .. } => {
                self.progress(audio)?;
                Ok(Heard::Nothing)
            }
            FromJob::Segment { segment, .. } => {
                self.segment(&segment)?;
                Ok(Heard::Segment(segment))
            }
            FromJob::Done { id, mut figures } => {
                self.progress(figures.audio)?;
                let (count, length) = MAX_WARNINGS;
                if figures.warnings.len() > count
                    || figures
                        .warnings
                        .iter()
                        .any(|w| w.len() > length || !is_clean(w))
                {
                    return Err("its warnings are too many, too long or no text".into());
                }
                let wall = self.start.elapsed();
                figures.decode = figures.decode.min(wall);
                figures.transcribe = figures.transcribe.min(wall);
                Ok(Heard::End(FromJob::Done { id, figures }))
            }
            FromJob::Failed { id, failure } => {
                if failure.message.len() > MAX_TEXT || !is_clean(&failure.message) {
                    return Err("its reason for failing is too long or no text".into());
                }
                Ok(Heard::End(FromJob::Failed { id, failure }))
            }
        }
    }

    /// Each second of audio earns time, so a job must not claim more audio than it may have.
    fn progress(&mut self, audio: Duration) -> Result<(), String> {
        if audio < self.audio {
            return Err("its recording became shorter".into());
        }
        if audio > self.limits.max_audio {
            return Err("it read on behind the longest recording that it may read".into());
        }
        let (each_second, beside) = MAX_PROGRESS;
        self.progress += 1;
        if self.progress > most(audio, each_second, beside) {
            return Err("it floods the service with reports of progress".into());
        }
        self.audio = audio;
        Ok(())
    }

    /// How much of this time the job has, after the audio that it has read.
    fn allowance(&self, limit: TimeLimit) -> Duration {
        let Limits {
            deadline,
            deadline_per_audio_second,
            cpu_time,
            cpu_time_per_audio_second,
            stall,
            ..
        } = self.limits;
        match limit {
            TimeLimit::Wall => {
                let earned = *deadline + self.audio.mul_f64(*deadline_per_audio_second);
                self.lower
                    .deadline
                    .map_or(earned, |lowered| earned.min(lowered))
            }
            TimeLimit::Cpu => *cpu_time + self.audio.mul_f64(*cpu_time_per_audio_second),
            TimeLimit::Stall => *stall,
        }
    }

    fn deadline(&self) -> Instant {
        self.start + self.allowance(TimeLimit::Wall)
    }

    /// Look at what the job does while it says nothing: the time that it has exceeded, if any.
    fn look(&mut self, job: &JobProcess) -> Option<TimeLimit> {
        let cpu = job.cpu()?;
        if cpu > self.allowance(TimeLimit::Cpu) {
            return Some(TimeLimit::Cpu);
        }
        let (since, before) = self.alive;
        if cpu > before + IDLE_CPU {
            self.alive = (Instant::now(), cpu);
        } else if since.elapsed() > self.limits.stall {
            return Some(TimeLimit::Stall);
        }
        None
    }

    fn segment(&mut self, segment: &Segment) -> Result<(), String> {
        let Segment {
            text,
            start,
            end,
            words,
        } = segment;
        self.pieces += 1 + words.len() as u64;
        self.text += text.len() + words.iter().map(|w| w.text.len()).sum::<usize>();
        let (each_second, beside) = MAX_PIECES;
        let most = most(self.limits.max_audio, each_second, beside);
        if self.pieces > most || self.text > MAX_TEXT {
            return Err("it floods the service with text".into());
        }
        if text.is_empty() || !is_clean(text) {
            return Err("a segment is empty or no text".into());
        }
        if end < start || *start < self.last_start || *end > self.limits.max_audio {
            return Err("the times of a segment are impossible".into());
        }
        self.last_start = *start;
        let sound = |word: &Word| {
            !word.text.is_empty()
                && is_clean(&word.text)
                && word.start <= word.end
                && word.end <= self.limits.max_audio
                && word.confidence.is_none_or(|c| (0.0..=1.0).contains(&c))
        };
        if !words.iter().all(sound) {
            return Err("a word of a segment is impossible".into());
        }
        Ok(())
    }
}

/// So many for each second of audio, and so many beside that.
fn most(audio: Duration, each_second: u64, beside: u64) -> u64 {
    audio
        .as_secs()
        .saturating_mul(each_second)
        .saturating_add(beside)
}

enum Heard {
    Nothing,
    Segment(Segment),
    End(FromJob),
    Forbidden(u32),
}

/// Text goes to terminals, logs and subtitle files: no control character has any business in it.
fn is_clean(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
}

/// What the job wrote to stderr, for the log: cut, and without control characters.
fn last_words(job: &mut JobProcess) -> String {
    let (lines, length) = MAX_LOG;
    let raw = job.slot().take_stderr();
    String::from_utf8_lossy(&raw)
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(lines)
        .map(|line| {
            let line: String = line
                .chars()
                .filter(|c| !c.is_control())
                .take(length)
                .collect();
            format!(": {line}")
        })
        .collect()
}
