//! The messages and resources of a running job, followed and checked: nothing is trusted.

#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used)]
pub mod fuzzing;
mod partial;

use std::{
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use nix::sys::stat::fstat;
use tokio::{
    sync::mpsc,
    time::{Instant, interval_at, sleep_until},
};

use self::partial::Partials;
use super::{silence::Silence, verdict::Last};
use crate::{
    audio::MOST_VOICES,
    config::Limits,
    dispatch::{
        request::{
            events::RequestEvent,
            feed::{Feed, Wait},
            submission::OwnLimits,
        },
        state::accepted::Accepted,
        statistics::open::JobProgress,
    },
    isolation::{channel::ChannelError, sandbox::system_call_name},
    job::wire::{FromJob, JobProcess},
    language::is_language_code,
    request::{Failure, Figures, Speakers, TimeLimit},
    transcript::{Decoding, Hypothesis, Segment, Word, is_name},
};

/// How often the service looks at a silent job.
const LOOK: Duration = Duration::from_millis(500);

/// How long a job that has served before may take to say that it has its next request. It does
/// nothing but wait for that request.
const TAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// A bound that grows with the audio that a job has read.
struct Allowance {
    /// For each second of audio.
    per_second: u64,
    /// For any recording, in addition.
    base: u64,
}

/// Most memory that a request's segments may take, in bytes. A word with its times takes 100 bytes
/// and nobody speaks ten words in a second: this is twice that.
const MAX_HELD: Allowance = Allowance {
    per_second: 2 << 10,
    base: 320 << 10,
};

/// Fewest bytes of a recording in which a second of speech can be, far below what any codec needs.
/// Only the job tells how much audio it has read, so that earns no memory beyond the upload's size.
const LEAST_BYTES: u64 = 64;

/// Most reports of progress. A job makes one for each second that it reads, and one for each second
/// that its engine has heard.
const MAX_PROGRESS: Allowance = Allowance {
    per_second: 4,
    base: 100,
};

/// Most warnings that are kept of one request.
const MAX_WARNINGS: usize = 8;

/// More languages than any model knows.
const MAX_LANGUAGES: usize = 256;

/// The longest warning, in bytes.
const MAX_WARNING_LENGTH: usize = 500;

/// The conversation with one job about one request.
pub struct JobTalk<'a> {
    id: u64,
    limits: &'a Limits,
    own_limits: &'a OwnLimits,
    /// Whether it may still name the channels that have a speaker each.
    may_name: bool,
    /// Its words that are not final; `None` if nobody asked for them.
    partials: Option<Partials>,
    /// How far the recording has come, if it is still being uploaded.
    feed: Option<&'a Feed>,
    /// The recording, if all of it is there.
    recording: Option<BorrowedFd<'a>>,
    /// Where others see how far the job is.
    shown: &'a JobProgress,
    start: Instant,
    silence: Silence,
    /// Audio that the job has read, as it says.
    pub audio: Duration,
    /// Audio that its engine is done with, as it says.
    heard: Duration,
    /// Start of the last segment.
    last_start: Duration,
    /// Number of reports of progress.
    reports: u64,
    /// Memory that the segments take, in bytes.
    held: u64,
}

impl<'a> JobTalk<'a> {
    /// The conversation about `request`, which begins now.
    pub fn new(request: &'a Accepted) -> Self {
        let (id, shown) = (request.id, request.account.progress());
        Self {
            may_name: matches!(request.ask.speakers, Some(Speakers::Find(_))),
            partials: request.ask.partials.then(Partials::default),
            feed: request.feed.as_deref(),
            recording: Some(request.recording.as_fd()),
            ..Self::about(id, &request.limits, &request.own_limits, shown)
        }
    }

    fn about(
        id: u64,
        limits: &'a Limits,
        own_limits: &'a OwnLimits,
        shown: &'a JobProgress,
    ) -> Self {
        let start = Instant::now();
        Self {
            id,
            limits,
            own_limits,
            shown,
            may_name: false,
            partials: None,
            feed: None,
            recording: None,
            start,
            silence: Silence::new(start),
            audio: Duration::ZERO,
            heard: Duration::ZERO,
            last_start: Duration::ZERO,
            reports: 0,
            held: 0,
        }
    }

    /// Wait until a job that has served before takes this request. Until then it owes this client
    /// nothing: anything else that it says or does has its cause in an earlier request, and is not
    /// held against this one.
    ///
    /// # Errors
    /// The job did not take it.
    pub async fn taken(
        &self,
        job: &JobProcess,
        events: &mpsc::Sender<RequestEvent>,
    ) -> Result<(), Last> {
        let message = tokio::select! {
            biased;
            message = job.receive() => message,
            () = events.closed() => return Err(Last::Cancelled),
            () = sleep_until(self.start + TAKE_TIMEOUT) => {
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
    pub async fn follow(&mut self, job: &JobProcess, events: &mpsc::Sender<RequestEvent>) -> Last {
        let mut unread = false;
        let mut look = interval_at(self.start + LOOK, LOOK);
        loop {
            // A job that talks without a pause always has its next message there already. No other
            // job on this thread would have a turn, nor would the clock.
            tokio::task::consume_budget().await;
            if events.is_closed() {
                return Last::Cancelled;
            }
            if Instant::now() >= self.deadline() {
                return self.out_of(TimeLimit::Wall);
            }
            let message = tokio::select! {
                biased;
                message = job.receive() => message,
                () = events.closed() => return Last::Cancelled,
                // The loop looks at the deadline: a wait for the client has perhaps moved it.
                () = sleep_until(self.deadline()) => continue,
                _ = look.tick() => match self.look(job) {
                    Some(limit) => return self.out_of(limit),
                    None => continue,
                },
            };
            self.silence.broken(Instant::now());
            let message = match message {
                Ok(message) => message,
                // The messages that it sent before it went come first.
                Err(ChannelError::Unread) if !unread => {
                    unread = true;
                    continue;
                }
                Err(ChannelError::HungUp) if unread => return Last::Lost(ChannelError::Unread),
                Err(error) => return Last::Lost(error),
            };
            let end = match self.check(message) {
                Ok(Checked::Nothing) => None,
                Ok(Checked::Event(event)) => self.pass_on(event, events).await,
                Ok(Checked::Done(figures)) => Some(Last::Done(figures)),
                Ok(Checked::Failed(failure)) => Some(Last::Failed(failure)),
                Ok(Checked::Forbidden(call)) => Some(Last::Forbidden(call)),
                Err(what) => Some(Last::Violation(what)),
            };
            if let Some(last) = end {
                return last;
            }
        }
    }

    /// Give the client an event. A client that does not take its events holds up nobody but its own
    /// job: gives the end of the request if that happens for too long.
    async fn pass_on(
        &self,
        event: RequestEvent,
        events: &mpsc::Sender<RequestEvent>,
    ) -> Option<Last> {
        // Another guess comes soon: nobody waits for a client to take this one.
        if matches!(&event, RequestEvent::Hypothesis(guess) if guess.committed.is_empty()) {
            let _ = events.try_send(event);
            return None;
        }
        tokio::select! {
            biased;
            sent = events.send(event) => sent.err().map(|_| Last::Cancelled),
            () = sleep_until(self.deadline()) => Some(self.out_of(TimeLimit::Wall)),
        }
    }

    fn out_of(&self, limit: TimeLimit) -> Last {
        Last::OutOfTime(limit, self.allowance(limit))
    }

    /// Check one message; nothing in it is trusted.
    fn check(&mut self, message: FromJob) -> Result<Checked, String> {
        match message {
            FromJob::Ready | FromJob::LoadFailed(_) => {
                Err("it said twice whether it is ready".into())
            }
            FromJob::Violation { call } => Ok(Checked::Forbidden(call)),
            // A job that has served before says so once, and it was heard then.
            FromJob::Taken { .. } => Err("it took the request twice".into()),
            FromJob::Progress { id, audio } => {
                self.is_about_this_request(id)?;
                self.progress(audio)?;
                Ok(Checked::Nothing)
            }
            FromJob::Heard { id, audio, total } => {
                self.is_about_this_request(id)?;
                self.heard(audio, total)?;
                Ok(Checked::Nothing)
            }
            FromJob::Segment { id, segment } => {
                self.is_about_this_request(id)?;
                self.segment(&segment)?;
                Ok(Checked::Event(RequestEvent::Segment(segment)))
            }
            FromJob::Hypothesis { id, hypothesis } => {
                self.is_about_this_request(id)?;
                Ok(match self.hypothesis(hypothesis)? {
                    Some(hypothesis) => Checked::Event(RequestEvent::Hypothesis(hypothesis)),
                    None => Checked::Nothing,
                })
            }
            FromJob::Channels { id, channels } => {
                self.is_about_this_request(id)?;
                self.channels(&channels)?;
                Ok(Checked::Event(RequestEvent::Channels(channels)))
            }
            FromJob::Done { id, figures } => {
                self.is_about_this_request(id)?;
                self.done(figures).map(Checked::Done)
            }
            FromJob::Failed { id, failure } => {
                self.is_about_this_request(id)?;
                if !failure.code.is_for_jobs() {
                    return Err("its reason for failing is not a job's".into());
                }
                if !is_clean(&failure.message) {
                    return Err("its reason for failing is no text".into());
                }
                Ok(Checked::Failed(failure))
            }
        }
    }

    fn is_about_this_request(&self, id: u64) -> Result<(), String> {
        if id == self.id {
            Ok(())
        } else {
            Err(format!("it answered request {id} instead of {}", self.id))
        }
    }

    /// Check the figures of a job that is done, and cut its times to those that can be true.
    fn done(&mut self, mut figures: Figures) -> Result<Figures, String> {
        self.progress(figures.audio)?;
        if let Some(partials) = &self.partials {
            partials.finish()?;
        }
        let is_bad = |warning: &String| warning.len() > MAX_WARNING_LENGTH || !is_clean(warning);
        if figures.warnings.len() > MAX_WARNINGS || figures.warnings.iter().any(is_bad) {
            return Err("its warnings are too many, too long or no text".into());
        }
        let wall = self.start.elapsed();
        if figures.languages.len() > MAX_LANGUAGES
            || figures.languages.iter().any(|code| !is_language_code(code))
        {
            return Err("the languages that it heard are too many or none".into());
        }
        figures.decode = figures.decode.min(wall);
        figures.transcribe = figures.transcribe.min(wall);
        Ok(figures)
    }

    /// Each second of audio earns time, so a job must not claim more audio than it may have.
    fn progress(&mut self, audio: Duration) -> Result<(), String> {
        if audio < self.audio {
            return Err("its recording became shorter".into());
        }
        if audio > self.limits.max_audio {
            return Err("it read on behind the longest recording that it may read".into());
        }
        self.count_report(audio)?;
        self.audio = audio;
        self.shown.read(audio);
        Ok(())
    }

    /// Others see this much as done. It earns nothing.
    fn heard(&mut self, audio: Duration, total: Option<Duration>) -> Result<(), String> {
        let longest = self.limits.max_audio;
        if audio < self.heard || audio > longest || total.is_some_and(|total| total > longest) {
            return Err("it tells of work that cannot be done".into());
        }
        self.count_report(self.audio)?;
        self.heard = audio;
        self.shown.heard(audio, total);
        Ok(())
    }

    /// One more report, of a job that has read this much `audio`.
    fn count_report(&mut self, audio: Duration) -> Result<(), String> {
        self.reports += 1;
        if self.reports > MAX_PROGRESS.after(audio) {
            return Err("it floods the service with reports of progress".into());
        }
        Ok(())
    }

    /// How much of this time the job has, with the audio that it has read by now.
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
                let for_audio = self.audio.mul_f64(*deadline_per_audio_second);
                let earned = *deadline + for_audio + self.waited().total;
                let lowered = self.own_limits.deadline;
                lowered.map_or(earned, |lowered| earned.min(lowered))
            }
            TimeLimit::Cpu => *cpu_time + self.audio.mul_f64(*cpu_time_per_audio_second),
            TimeLimit::Stall => *stall,
        }
    }

    /// How long the job has waited for its client.
    fn waited(&self) -> Wait {
        self.feed.map(Feed::waited).unwrap_or_default()
    }

    fn deadline(&self) -> Instant {
        self.start + self.allowance(TimeLimit::Wall)
    }

    /// Look at what the job does while it says nothing. Gives the time limit that it has exceeded,
    /// if any.
    fn look(&mut self, job: &JobProcess) -> Option<TimeLimit> {
        let cpu = job.cpu()?;
        if cpu > self.allowance(TimeLimit::Cpu) {
            return Some(TimeLimit::Cpu);
        }
        let now = Instant::now();
        if self.waited().is_on {
            self.silence.broken(now);
        }
        let stall = self.limits.stall;
        let hangs = self.silence.hangs(now, cpu, stall, || job.delay());
        hangs.then_some(TimeLimit::Stall)
    }

    /// How much memory the request's segments may take by now, in bytes.
    fn may_hold(&self) -> u64 {
        let size = || Some(fstat(self.recording?).ok()?.st_size.unsigned_abs());
        let arrived = self.feed.map(Feed::given).or_else(size).unwrap_or(0);
        let audio = self.audio.min(Duration::from_secs(arrived / LEAST_BYTES));
        MAX_HELD.after(audio)
    }

    /// Each channel costs a job, so a job must not name more than there can be.
    fn channels(&mut self, channels: &[u16]) -> Result<(), String> {
        if !std::mem::take(&mut self.may_name) {
            return Err("it names channels though nobody asked for them, or too late".into());
        }
        let is_possible = (1..=MOST_VOICES).contains(&channels.len())
            && channels.is_sorted_by(|one, next| one < next);
        if !is_possible {
            return Err("the channels that it names are impossible".into());
        }
        Ok(())
    }

    /// Words that are not final are only for a client that asked for them.
    fn hypothesis(&mut self, hypothesis: Hypothesis) -> Result<Option<Hypothesis>, String> {
        self.may_name = false;
        match &mut self.partials {
            Some(partials) => partials.take(hypothesis, self.audio, self.start),
            None => Err("it gives words that are not final, and nobody asked for them".into()),
        }
    }

    fn segment(&mut self, segment: &Segment) -> Result<(), String> {
        let Segment {
            text,
            start,
            end,
            words,
            decoding,
            speaker,
        } = segment;
        self.may_name = false;
        self.held += segment.held() as u64;
        // The recording is asked for its size only when it matters.
        if self.held > MAX_HELD.base && self.held > self.may_hold() {
            return Err("it floods the service with text".into());
        }
        if text.is_empty() || !is_clean(text) {
            return Err("a segment is empty or no text".into());
        }
        if let Some(partials) = &mut self.partials {
            partials.settle(segment)?;
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
        if !speaker.as_deref().is_none_or(is_name) {
            return Err("the speaker of a segment has no name".into());
        }
        if !decoding.as_ref().is_none_or(is_possible) {
            return Err("the figures of a segment are impossible".into());
        }
        Ok(())
    }
}

/// Whether the figures are within their ranges. JSON has no word for a value that is not a number.
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

impl Allowance {
    /// The bound after this much audio.
    fn after(&self, audio: Duration) -> u64 {
        audio
            .as_secs()
            .saturating_mul(self.per_second)
            .saturating_add(self.base)
    }
}

/// The fault of a job that says this though nobody asked it anything.
pub fn unasked(message: &FromJob) -> String {
    match message {
        FromJob::Violation { call } => {
            let call = system_call_name(*call).unwrap_or("unknown");
            format!("it was stopped at a forbidden system call ({call})")
        }
        _ => "it spoke before it was asked".into(),
    }
}

/// A message that passed the checks.
enum Checked {
    Nothing,
    Event(RequestEvent),
    Done(Figures),
    Failed(Failure),
    Forbidden(u32),
}

/// Whether a text is fit for terminals, logs and subtitle files: it must not contain control
/// characters.
fn is_clean(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// For a recording of this many `bytes`, a day of a speaker who never pauses: how many seconds
    /// of it the job may tell, and how many bytes of memory they take.
    fn told(bytes: u64) -> (u64, u64) {
        let recording = tempfile::tempfile().unwrap();
        recording.set_len(bytes).unwrap();
        let limits = Limits {
            max_audio: DAY,
            ..Limits::default()
        };
        let (own_limits, shown) = (OwnLimits::default(), JobProgress::default());
        let mut talk = JobTalk {
            recording: Some(recording.as_fd()),
            ..JobTalk::about(1, &limits, &own_limits, &shown)
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
                speaker: None,
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
        // At 6 kbit/s: no codec is used with less.
        let (seconds, held) = told(DAY.as_secs() * 750);
        assert_eq!(seconds, DAY.as_secs());
        assert!(held > 64 << 20, "{held}");
    }

    #[test]
    fn a_job_that_makes_up_audio_may_tell_no_more_than_was_uploaded() {
        for bytes in [0, 1000, 100_000] {
            let (seconds, held) = told(bytes);
            assert!(seconds > 100, "{seconds}");
            assert!(
                held <= MAX_HELD.base + bytes * 32,
                "{held} for {bytes} bytes"
            );
        }
    }
}
