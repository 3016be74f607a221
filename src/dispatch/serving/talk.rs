//! What a running job says and does, followed and checked: nothing in it is trusted.

#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used)]
pub(crate) mod fuzzing;

use std::{
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use nix::sys::stat::fstat;
use tokio::{
    sync::mpsc,
    time::{interval_at, sleep_until},
};

use crate::{
    config::Limits,
    dispatch::{Feed, Lower, state::accepted::Waiting, state::ticket::Event, statistics::Progress},
    isolation::{channel::ChannelError, sandbox::system_call_name},
    job::wire::{FromJob, JobProcess},
    language::is_language_code,
    request::TimeLimit,
    transcript::{Decoding, Segment, Word},
};

/// How often a silent job is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// CPU time below which a job did nothing between two looks: wake-ups of idle threads, no work.
const IDLE_CPU: Duration = Duration::from_millis(2);

/// How long a job that has served before may take to say that it has its next request: it does nothing but wait for it.
const TAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// Most memory that a request's segments may take, in bytes, for each second of audio read and for any recording beside
/// that. A word with its times takes 100 bytes and nobody speaks ten in a second: twice that.
const MAX_HELD: (u64, u64) = (2 << 10, 256 << 10);

/// Fewest bytes of a recording in which a second of speech can be, far below what any codec needs: how much audio was
/// read is nothing but the job's own word, and earns no memory beyond what was uploaded.
const LEAST_BYTES: u64 = 64;

/// Most reports of progress, for each second of audio read and for any recording beside that. A job makes one a second.
const MAX_PROGRESS: (u64, u64) = (4, 100);

/// Most warnings that are kept of one request, and the longest of them in bytes.
const MAX_WARNINGS: (usize, usize) = (8, 500);

/// Why a job is not listened to any more.
pub(in crate::dispatch) enum Last {
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
    /// The service stops, and waits no longer.
    Stopped,
    /// The channel broke.
    Lost(ChannelError),
    /// It misbehaved, hung or ended before it took this request: over the one before, whose client has its answer.
    Stale(String),
}

/// What was heard from one job so far.
pub(in crate::dispatch) struct Talk<'a> {
    id: u64,
    limits: &'a Limits,
    lower: &'a Lower,
    /// How its recording comes, if it is still coming.
    feed: Option<&'a Feed>,
    /// Its recording, if it is all there.
    recording: Option<BorrowedFd<'a>>,
    /// Where others see how far it is.
    shown: &'a Progress,
    start: Instant,
    /// When it last spoke or was seen to use the CPU, and how much of it until then.
    alive: (Instant, Duration),
    pub(in crate::dispatch) audio: Duration,
    last_start: Duration,
    progress: u64,
    held: u64,
}

impl<'a> Talk<'a> {
    pub(in crate::dispatch) fn new(waiting: &'a Waiting) -> Self {
        let (id, shown) = (waiting.id, waiting.account.progress());
        Self {
            feed: waiting.feed.as_deref(),
            recording: Some(waiting.recording.as_fd()),
            ..Self::about(id, &waiting.limits, &waiting.lower, shown)
        }
    }

    fn about(id: u64, limits: &'a Limits, lower: &'a Lower, shown: &'a Progress) -> Self {
        let start = Instant::now();
        Self {
            id,
            limits,
            lower,
            shown,
            feed: None,
            recording: None,
            start,
            alive: (start, Duration::ZERO),
            audio: Duration::ZERO,
            last_start: Duration::ZERO,
            progress: 0,
            held: 0,
        }
    }

    /// Wait until a job that has served before takes this request. Until then it owes this client nothing: whatever else
    /// it says or does has its cause in an earlier request, and is not held against this one.
    pub(in crate::dispatch) async fn taken(
        &self,
        job: &JobProcess,
        events: &mpsc::Sender<Event>,
    ) -> Result<(), Last> {
        let message = tokio::select! {
            biased;
            message = job.receive() => message,
            () = events.closed() => return Err(Last::Cancelled),
            () = sleep_until((self.start + TAKE_TIMEOUT).into()) => {
                let what = format!("it did not take its request within {TAKE_TIMEOUT:?}");
                return Err(Last::Stale(what));
            }
        };
        match message {
            Ok(FromJob::Taken { id }) if id == self.id => Ok(()),
            Ok(message) => Err(Last::Stale(unasked(&message))),
            Err(error) => Err(Last::Stale(error.to_string())),
        }
    }

    /// Listen until the job is done with the request, or must not go on.
    pub(in crate::dispatch) async fn follow(
        &mut self,
        job: &JobProcess,
        events: &mpsc::Sender<Event>,
    ) -> Last {
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
                // Looked at above: a client that was waited for meanwhile has moved it.
                () = sleep_until(self.deadline().into()) => continue,
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
            FromJob::Ready | FromJob::LoadFailed(_) => {
                return Err("it said twice whether it is ready".into());
            }
            FromJob::Violation { call } => return Ok(Heard::Forbidden(*call)),
            // A job that has served before says so once, and it was heard then.
            FromJob::Taken { .. } => return Err("it took the request twice".into()),
            FromJob::Progress { id, .. }
            | FromJob::Segment { id, .. }
            | FromJob::Done { id, .. }
            | FromJob::Failed { id, .. } => *id,
        };
        if id != self.id {
            return Err(format!("it answered request {id} instead of {}", self.id));
        }
        match message {
            FromJob::Ready
            | FromJob::LoadFailed(_)
            | FromJob::Taken { .. }
            | FromJob::Violation { .. } => Ok(Heard::Nothing),
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
                if figures
                    .language
                    .as_ref()
                    .is_some_and(|code| !is_language_code(code))
                {
                    return Err("the language that it heard is none".into());
                }
                figures.decode = figures.decode.min(wall);
                figures.transcribe = figures.transcribe.min(wall);
                Ok(Heard::End(FromJob::Done { id, figures }))
            }
            FromJob::Failed { id, failure } => {
                if !failure.code.is_for_jobs() {
                    return Err("its reason for failing is not a job's".into());
                }
                if !is_clean(&failure.message) {
                    return Err("its reason for failing is no text".into());
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
        self.shown.heard(audio);
        Ok(())
    }

    /// How much of this time the job has, after the audio that it has read.
    pub(in crate::dispatch) fn allowance(&self, limit: TimeLimit) -> Duration {
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
                let earned =
                    *deadline + self.audio.mul_f64(*deadline_per_audio_second) + self.waited().1;
                self.lower
                    .deadline
                    .map_or(earned, |lowered| earned.min(lowered))
            }
            TimeLimit::Cpu => *cpu_time + self.audio.mul_f64(*cpu_time_per_audio_second),
            TimeLimit::Stall => *stall,
        }
    }

    /// Whether its client is waited for, and how long it was until now.
    fn waited(&self) -> (bool, Duration) {
        self.feed.map_or((false, Duration::ZERO), Feed::waited)
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
        if cpu > before + IDLE_CPU || self.waited().0 {
            self.alive = (Instant::now(), cpu);
        } else if since.elapsed() > self.limits.stall {
            return Some(TimeLimit::Stall);
        }
        None
    }

    /// How much memory the request's segments may take by now, in bytes.
    fn may_hold(&self) -> u64 {
        let size = || Some(fstat(self.recording?).ok()?.st_size.unsigned_abs());
        let arrived = self.feed.map(Feed::given).or_else(size).unwrap_or(0);
        let audio = self.audio.min(Duration::from_secs(arrived / LEAST_BYTES));
        let (each_second, beside) = MAX_HELD;
        most(audio, each_second, beside)
    }

    fn segment(&mut self, segment: &Segment) -> Result<(), String> {
        let Segment {
            text,
            start,
            end,
            words,
            decoding,
        } = segment;
        self.held += segment.held() as u64;
        // The recording is asked for its size only when it matters.
        if self.held > MAX_HELD.1 && self.held > self.may_hold() {
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
        if !decoding.as_ref().is_none_or(is_possible) {
            return Err("the figures of a segment are impossible".into());
        }
        Ok(())
    }
}

/// Whether the figures are what they are said to be; JSON has no word for what is no number.
fn is_possible(decoding: &Decoding) -> bool {
    let Decoding {
        seek: _,
        tokens: _,
        temperature,
        avg_logprob,
        compression_ratio,
        no_speech_prob,
    } = decoding;
    (0.0..=1.0).contains(temperature)
        && (0.0..=1.0).contains(no_speech_prob)
        && (f32::MIN..=0.0).contains(avg_logprob)
        && (0.0..=f32::MAX).contains(compression_ratio)
}

/// So many for each second of audio, and so many beside that.
fn most(audio: Duration, each_second: u64, beside: u64) -> u64 {
    audio
        .as_secs()
        .saturating_mul(each_second)
        .saturating_add(beside)
}

/// What is wrong with a job that says this though nobody asked it anything.
pub(in crate::dispatch) fn unasked(message: &FromJob) -> String {
    match message {
        FromJob::Violation { call } => {
            let call = system_call_name(*call).unwrap_or("unknown");
            format!("it was stopped at a forbidden system call ({call})")
        }
        _ => "it spoke before it was asked".into(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// How many seconds of an ever talking speaker's day a job may tell of whose recording has so many bytes, and how much
    /// memory that takes.
    fn told(bytes: u64) -> (u64, u64) {
        let recording = tempfile::tempfile().unwrap();
        recording.set_len(bytes).unwrap();
        let limits = Limits {
            max_audio: DAY,
            ..Limits::default()
        };
        let (lower, shown) = (Lower::default(), Progress::default());
        let mut talk = Talk {
            recording: Some(recording.as_fd()),
            ..Talk::about(1, &limits, &lower, &shown)
        };
        for second in 0..DAY.as_secs() {
            let (start, end) = (Duration::from_secs(second), Duration::from_secs(second + 1));
            talk.progress(end).unwrap();
            let word = |_| Word {
                text: "consideration".into(),
                start,
                end,
                confidence: Some(0.5),
            };
            let words: Vec<Word> = (0..8).map(word).collect();
            let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
            let segment = Segment {
                text: texts.join(" "),
                start,
                end,
                words,
                decoding: None,
            };
            let before = talk.held;
            if let Err(why) = talk.segment(&segment) {
                assert!(why.contains("floods"), "{why}");
                return (second, before);
            }
        }
        (DAY.as_secs(), talk.held)
    }

    #[test]
    fn a_day_of_fast_speech_may_be_told() {
        // At 6 kbit/s, less than which no codec is used with.
        let (seconds, held) = told(DAY.as_secs() * 750);
        assert_eq!(seconds, DAY.as_secs());
        assert!(held > 64 << 20, "{held}");
    }

    #[test]
    fn a_job_that_makes_up_audio_may_tell_no_more_than_was_uploaded() {
        for bytes in [0, 1000, 100_000] {
            let (seconds, held) = told(bytes);
            assert!(seconds > 100, "{seconds}");
            assert!(held <= MAX_HELD.1 + bytes * 32, "{held} for {bytes} bytes");
        }
    }
}
