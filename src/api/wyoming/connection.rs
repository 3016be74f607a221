//! One connection: its events one after the other, and its end in good order.

use std::{io, time::Duration};

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
    live::Step,
    request::Request,
    wire::{Moved, Wire},
};
use crate::{
    api::{
        App, Peer,
        error::ApiError,
        linger,
        listener::Connection,
        server::{FIRST_BYTE, stopped},
        word::Word,
    },
    config::Share,
    dispatch::Refusal,
    transcript::Transcript,
};

/// How often to look after what tells nothing of itself: a client that hung up behind bytes for which there is no room, or
/// after it had said that it sends no more, and one that does not read.
const LOOK: Duration = Duration::from_millis(500);

/// Serve `connection` until its client hangs up, errs, falls silent, or the service stops.
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

/// Who is connected, and how far the talk with it is.
struct Client {
    wire: Wire<Connection>,
    peer: Peer,
    app: App,
    stopping: watch::Receiver<bool>,
    /// It has not said anything yet.
    is_fresh: bool,
    /// When it was last looked whether it is still there.
    looked: Instant,
}

/// Why a connection ends.
enum End {
    /// Nobody is there, or nobody is owed a word.
    Quiet,
    /// The last event tells why.
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
        // Clients that hang up: their own business.
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

    /// Answer what is no part of a request, and give back what is.
    fn small_talk(&mut self, event: Event) -> Result<Option<Event>, End> {
        match event {
            // Like `/healthz`, this is for everybody.
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

    /// How much of the service the client may have.
    fn share(&self) -> Result<Share, ApiError> {
        let share = self.peer.share(&self.app.dispatcher.config().clients);
        share.ok_or_else(|| ApiError::forbidden(&self.peer))
    }

    /// How long a client may take nothing of what it is told.
    fn patience(&self) -> Duration {
        self.app.dispatcher.config().http.body_timeout
    }

    /// One request from its first event to its answer. Dropping it, on any way out of here, kills its job.
    async fn request(&mut self, first: Event) -> Result<(), End> {
        let share = self.share()?;
        let mut request = Request::new(self.app.dispatcher.config(), share);
        let mut transcript = Transcript::default();
        self.take(&mut request, first)?;
        loop {
            self.work_off(&mut request)?;
            if request.is_answered() {
                break;
            }
            self.turn(&mut request, &mut transcript).await?;
        }
        self.begin_transcript(&mut request);
        let mut data = json!({"text": transcript.text()});
        if let Some(language) = request.language().or(transcript.language.take()) {
            data["language"] = language.into();
        }
        self.wire.say("transcript", &data);
        self.wire.say("transcript-stop", &Value::Null);
        Ok(())
    }

    /// What `frame` says. Only a piece of a recording has a payload that is of use.
    fn event(&mut self, frame: &Frame) -> Result<Event, End> {
        let event = Event::of(frame)?;
        if !matches!(event, Event::AudioChunk(_)) {
            self.wire.frames.pass_over();
        }
        Ok(event)
    }

    /// Make of what has arrived what can be made of it.
    fn work_off(&mut self, request: &mut Request) -> Result<(), End> {
        while request.has_room() && !self.wire.is_backed_up() {
            // Whatever other events carry is passed over by then.
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

    /// Wait for whatever comes next: more from the client, room for what is there, or a word of the job.
    async fn turn(
        &mut self,
        request: &mut Request,
        transcript: &mut Transcript,
    ) -> Result<(), End> {
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
                Step::Fed => {}
                Step::Said(word) => self.hear(request, transcript, word)?,
            },
            moved = self.wire.exchange(reads) => match moved? {
                Moved::In(0) => self.look(request)?,
                Moved::In(bytes) => request.arrived(bytes),
                Moved::Out => {}
            },
            () = too_late => return Err(request.too_slow().into()),
            // At the next turn.
            () = sleep_until(self.looked + LOOK), if !reads || untaken.is_some() => {}
            () = self.app.dispatcher.aborted(), if has_no_job => {
                return Err(ApiError::refused(&Refusal::ShuttingDown, "").into());
            }
        }
        Ok(())
    }

    /// Whether the client is still there. One that sends no more may be waiting for its transcript, and is no different
    /// over TCP from one that hung up, until it was sent something: so the transcript begins now.
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

    /// A word of the job. Each piece of the transcript is told at once; the pieces together are the text of the whole.
    fn hear(
        &mut self,
        request: &mut Request,
        transcript: &mut Transcript,
        word: Word,
    ) -> Result<(), End> {
        match word {
            Word::Segment(segment) => {
                self.begin_transcript(request);
                let text = format!("{}{}", transcript.separator(), segment.text);
                self.wire.say("transcript-chunk", &json!({"text": text}));
                transcript.segments.push(segment.bare());
            }
            Word::Finished(report) => {
                if let Some(error) = ApiError::of_outcome(&report.outcome) {
                    return Err(error.into());
                }
                transcript.language = report.figures.language;
                if let Some(live) = &mut request.live {
                    live.answered();
                }
            }
            Word::Refused(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Tell the client that its transcript begins, if it was not told yet.
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

    /// The next event, between requests. Nobody is waited for when the service stops, but for whoever has not said
    /// anything yet, or has begun to.
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
            let until = match is_amid {
                true => begin + patience,
                false => until_begun,
            };
            tokio::select! {
                biased;
                moved = self.wire.exchange(true) => match moved? {
                    Moved::In(0) if is_amid => return Err(Problem::cut_off().into()),
                    Moved::In(0) => return Err(End::Quiet),
                    Moved::In(_) | Moved::Out => {}
                },
                () = sleep_until(until) => {
                    return Err(match is_amid {
                        true => Problem::slow_header(patience).into(),
                        false => End::Quiet,
                    });
                }
                () = stopped(&mut self.stopping), if !is_stopping => {
                    is_stopping = true;
                    // Looked for in the socket itself: what has just come may not have been told of.
                    if !self.is_fresh && !is_amid && !self.wire.stream.is_readable() {
                        return Err(End::Quiet);
                    }
                    until_begun = until_begun.min(Instant::now() + FIRST_BYTE);
                }
            }
        }
    }

    /// Say what is wrong, and hang up.
    async fn refuse(mut self, problem: &Problem) {
        let Problem { code, text } = problem;
        self.wire.say("error", &json!({"text": text, "code": code}));
        if self.wire.flush(self.patience()).await.is_ok() {
            linger::close(self.wire.stream).await;
        }
    }
}
