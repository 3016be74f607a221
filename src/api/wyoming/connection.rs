//! One Wyoming connection: handles its events one after the other, and ends it in good order.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use nix::errno::Errno;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    error::Problem,
    event::Event,
    frame::{Frame, Malformed},
    info::info,
    request::Request,
    wire::{Moved, Wire},
};
use crate::{
    api::{
        App, Peer,
        deltas::Deltas,
        error::ApiError,
        keyless, linger,
        listener::{Connection, peek},
        live::Step,
        server::{FIRST_BYTE, stopped},
        word::Word,
    },
    config::Share,
    request::{Code, Refusal},
    transcript::Transcript,
};

/// How often to check clients whose state the socket does not report. Some hung up behind bytes for
/// which we have no room, some after closing their sending side, and some do not read.
const LOOK: Duration = Duration::from_millis(500);

/// Serve `connection` until its client hangs up, makes a mistake or falls silent, or the service
/// stops.
pub(super) async fn serve(
    connection: Connection,
    peer: Peer,
    app: App,
    stopping: watch::Receiver<bool>,
) {
    let mut client = Client {
        wire: Wire::new(connection),
        peer,
        app,
        stopping,
        is_fresh: true,
        looked: Instant::now(),
    };
    if let Err(End::Problem(problem)) = client.events().await {
        client.refuse(&problem).await;
    }
}

/// A client, and the state of the conversation with it.
struct Client {
    wire: Wire<Connection>,
    peer: Peer,
    app: App,
    stopping: watch::Receiver<bool>,
    /// True until the client has sent something.
    is_fresh: bool,
    /// Time of the last check whether the client is still there.
    looked: Instant,
}

/// The words of a request so far.
#[derive(Default)]
struct Said {
    transcript: Transcript,
    deltas: Deltas,
}

/// Reasons why a connection ends.
enum End {
    /// The client is gone, or gets no answer.
    Quiet,
    /// The last event tells the client why.
    Problem(Problem),
}

impl From<Problem> for End {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        Self::Problem(error.into())
    }
}

impl From<Malformed> for End {
    fn from(malformed: Malformed) -> Self {
        Self::Problem(malformed.into())
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        // Clients may hang up; that is not our error.
        tracing::debug!(%error, "a connection ended early");
        Self::Quiet
    }
}

impl Client {
    async fn events(&mut self) -> Result<(), End> {
        loop {
            let event = self.first_event().await?;
            self.is_fresh = false;
            if let Some(event) = self.small_talk(event)? {
                self.request(event).await?;
            }
            self.wire.flush(self.patience()).await?;
        }
    }

    /// Answer an event that does not belong to a request; return any other event.
    fn small_talk(&mut self, event: Event) -> Result<Option<Event>, End> {
        match event {
            // Like `/healthz`, this is open to every client.
            Event::Ping(text) => self.wire.say("pong", &json!({"text": text})),
            Event::Describe => {
                self.share()?;
                let info = info(&self.app.dispatcher.config());
                self.wire.say("info", &info);
            }
            Event::Unknown => {}
            event => return Ok(Some(event)),
        }
        Ok(None)
    }

    /// The client's share of the service.
    fn share(&self) -> Result<Share, ApiError> {
        let config = self.app.dispatcher.config();
        keyless::share(&self.peer, &config.clients)
    }

    /// How long a client may leave our output unread.
    fn patience(&self) -> Duration {
        self.app.dispatcher.config().http.body_timeout
    }

    /// Handle one request from its first event to its answer. If this is dropped, its job is
    /// killed.
    async fn request(&mut self, first: Event) -> Result<(), End> {
        let share = self.share()?;
        let mut request = Request::new(self.app.dispatcher.config(), share);
        let mut said = Said::default();
        self.take(&mut request, first)?;
        loop {
            self.work_off(&mut request)?;
            if request.is_answered() {
                break;
            }
            self.turn(&mut request, &mut said).await?;
        }
        self.begin_transcript(&mut request);
        let mut data = json!({"text": said.transcript.text()});
        if let Some(language) = request
            .language()
            .or(said.transcript.languages.first().cloned())
        {
            data["language"] = language.into();
        }
        self.wire.say("transcript", &data);
        self.wire.say("transcript-stop", &Value::Null);
        Ok(())
    }

    /// Interpret `frame`. Only an audio chunk keeps its payload.
    fn event(&mut self, frame: &Frame) -> Result<Event, End> {
        let event = Event::of(frame)?;
        if !matches!(event, Event::AudioChunk(_)) {
            self.wire.frames.pass_over();
        }
        Ok(event)
    }

    /// Process the events that have arrived.
    fn work_off(&mut self, request: &mut Request) -> Result<(), End> {
        while request.has_room() && !self.wire.is_backed_up() {
            // Payloads of other events have been skipped by then.
            if let Some(samples) = self.wire.frames.payload() {
                request.take(samples);
                continue;
            }
            if self.wire.frames.payload_left() > 0 {
                break;
            }
            match self.wire.frames.next()? {
                Some(frame) => {
                    let event = self.event(&frame)?;
                    if let Some(event) = self.small_talk(event)? {
                        self.take(request, event)?;
                    }
                }
                None => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, request: &mut Request, event: Event) -> Result<(), End> {
        match event {
            Event::Transcribe(wish) => request.wish(wish)?,
            Event::AudioStart(format) => request.start(format, &self.app, &self.peer)?,
            Event::AudioChunk(format) => {
                let length = self.wire.frames.payload_left();
                request.expect(format, length, &self.app, &self.peer)?;
            }
            Event::AudioStop => request.complete(),
            Event::Describe | Event::Ping(_) | Event::Unknown => {}
        }
        Ok(())
    }

    /// Wait for the next thing to happen: bytes from the client, room for output, or an event of
    /// the job.
    async fn turn(&mut self, request: &mut Request, said: &mut Said) -> Result<(), End> {
        let waits = request.has_room() && !self.wire.is_backed_up();
        if waits && self.wire.has_ended() {
            return Err(Problem::cut_off().into());
        }
        if self.looked.elapsed() >= LOOK {
            self.look(request)?;
        }
        let until = request.waits(waits);
        let reads = self.wire.frames.has_room() && !self.wire.has_ended();
        let untaken = self.wire.untaken();
        if untaken.is_some_and(|untaken| untaken >= self.patience()) {
            return Err(End::Quiet);
        }
        let hears = !self.wire.is_backed_up();
        let has_no_job = request.live.is_none();
        let too_late = async {
            match until {
                Some(until) => sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            step = request.step(hears) => match step {
                Step::Fed | Step::Begun => {}
                Step::Said(word) => self.hear(request, said, word)?,
            },
            moved = self.wire.exchange(reads) => match moved? {
                Moved::In(0) => self.look(request)?,
                Moved::In(bytes) => request.arrived(bytes),
                Moved::Out => {}
            },
            () = too_late => return Err(request.too_slow().into()),
            // Then `look` runs at the next turn.
            () = sleep_until(self.looked + LOOK), if !reads || untaken.is_some() => {}
            () = self.app.dispatcher.aborted(), if has_no_job => {
                return Err(ApiError::refused(&Refusal::ShuttingDown, "").into());
            }
        }
        Ok(())
    }

    /// Check whether the client is still there. A client that has closed its sending side may wait
    /// for its transcript. Over TCP it looks like one that hung up until we send something, so the
    /// transcript begins now.
    fn look(&mut self, request: &mut Request) -> Result<(), End> {
        self.looked = Instant::now();
        if self.wire.stream.is_gone() {
            return Err(End::Quiet);
        }
        if self.wire.has_ended() && request.is_complete() {
            self.begin_transcript(request);
        }
        Ok(())
    }

    /// Handle an event of the job. New text is sent at once; all pieces together are the whole
    /// text.
    fn hear(&mut self, request: &mut Request, said: &mut Said, word: Word) -> Result<(), End> {
        match word {
            Word::Segment(segment) => {
                let text = said.deltas.segment(&segment);
                self.tell(request, &text);
                said.transcript.segments.push(segment.bare());
            }
            // No event of the protocol has words that may still change.
            Word::Hypothesis(hypothesis) => {
                let (text, _) = said.deltas.hypothesis(&hypothesis);
                self.tell(request, &text);
            }
            Word::Finished(report) => {
                // As a recording of nothing, one of next to nothing has an empty transcript.
                if let Some(error) = ApiError::of_outcome(&report.outcome)
                    && !(error.code() == Code::InvalidAudio && request.is_next_to_nothing())
                {
                    return Err(error.into());
                }
                said.transcript.languages = report.figures.languages;
                if let Some(live) = &mut request.live {
                    live.answered();
                }
            }
            Word::Refused(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Send new text, if there is any.
    fn tell(&mut self, request: &mut Request, text: &str) {
        if !text.is_empty() {
            self.begin_transcript(request);
            self.wire.say("transcript-chunk", &json!({"text": text}));
        }
    }

    /// Tell the client that its transcript begins, if that was not done yet.
    fn begin_transcript(&mut self, request: &mut Request) {
        if request.is_begun {
            return;
        }
        request.is_begun = true;
        let data = match request.language() {
            Some(language) => json!({"language": language}),
            None => Value::Null,
        };
        self.wire.say("transcript-start", &data);
    }

    /// Wait for the next event between requests. When the service stops, only clients that have
    /// sent nothing yet, or a part of an event, get more time.
    async fn first_event(&mut self) -> Result<Event, End> {
        let patience = self.app.dispatcher.config().http.header_timeout;
        let begin = Instant::now();
        let mut until_begun = begin + patience;
        let mut is_stopping = false;
        loop {
            if let Some(frame) = self.wire.frames.next()? {
                return self.event(&frame);
            }
            let is_amid = self.wire.frames.is_amid();
            let until = if is_amid {
                begin + patience
            } else {
                until_begun
            };
            tokio::select! {
                biased;
                moved = self.wire.exchange(true) => match moved? {
                    Moved::In(0) if is_amid => return Err(Problem::cut_off().into()),
                    Moved::In(0) => return Err(End::Quiet),
                    Moved::In(_) | Moved::Out => {}
                },
                () = sleep_until(until) => {
                    return Err(if is_amid {
                        Problem::slow_header(patience).into()
                    } else {
                        End::Quiet
                    });
                }
                () = stopped(&mut self.stopping), if !is_stopping => {
                    is_stopping = true;
                    // Ask the socket itself: the runtime may not have reported bytes that have just
                    // come.
                    let nothing = || peek(self.wire.stream.as_fd().as_raw_fd()) == Err(Errno::EAGAIN);
                    if !self.is_fresh && !is_amid && nothing() {
                        return Err(End::Quiet);
                    }
                    until_begun = until_begun.min(Instant::now() + FIRST_BYTE);
                }
            }
        }
    }

    /// Report the problem and hang up.
    async fn refuse(mut self, problem: &Problem) {
        let Problem { code, text } = problem;
        self.wire
            .say("error", &json!({"text": text, "code": code.told()}));
        if self.wire.flush(self.patience()).await.is_ok() {
            linger::close(self.wire.stream).await;
        }
    }
}
