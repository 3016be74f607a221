//! Turns in audio that arrives live, whatever the protocol: the detector finds them, or the client
//! says where they end. Each turn is a request of its own.
//!
//! While nobody speaks, a conversation holds no job and only the last moments of audio. When speech
//! begins, a turn is queued like any request, and its audio flows to its job. Positions are bytes
//! since the beginning of the conversation, times are milliseconds since then.

mod buffer;
mod texts;
mod turn;
mod words;

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until},
};
use uuid::Uuid;

pub(in crate::api) use self::words::{Completed, Happening, Manner, Order, Over, Wishes};
use self::{
    buffer::Buffer,
    texts::{Texts, failed},
    turn::Origin,
};
use crate::{
    api::{App, error::ApiError, sessions::Held, spool::Spool},
    config::Share,
    detector::{Change, Detection, Judgement, LATEST_NEWS_MS, News},
    dispatch::Client,
};

/// Bytes of audio that may wait in the service. Then the client has to wait.
const MOST_WAITING: u64 = 256 * 1024;

/// Turns of one conversation whose text is not complete.
const MOST_TURNS: usize = 8;

/// Bytes of one piece of audio on its way to a job.
const PIECE: usize = 16 * 1024;

/// Shortest audio that can be committed, in milliseconds: OpenAI's rule.
const SHORTEST: u64 = 100;

/// If no audio comes for so long while somebody speaks, the turn is over: it holds a job.
const STALL: Duration = Duration::from_secs(3);

/// A turn may last so much longer than its audio, and in addition as long as it.
const TRICKLE: Duration = Duration::from_secs(10);

/// How long a commit waits until the turns before it are found: hearing takes a tenth of that.
const CATCH_UP: Duration = Duration::from_secs(2);

/// How often the detector may be lost before it has judged anything again.
const MOST_LOSSES: u32 = 3;

/// The end of a wait.
#[derive(Debug)]
pub(in crate::api) enum Woken {
    /// A turn has news.
    Turn(turn::News),
    /// So has the detector.
    Detector(News),
    /// The current turn has lasted too long.
    Overdue,
    /// There is room again.
    Again,
}

/// The turn that is spoken, or whose last audio is on its way to its job.
#[derive(Debug)]
struct Current {
    item: String,
    audio: mpsc::Sender<Bytes>,
    task: AbortHandle,
    begin: u64,
    begun: Instant,
    /// Position up to which the job was given audio.
    fed: u64,
    /// Position of its end, once that is known.
    end: Option<u64>,
}

/// A conversation with one client, who has these wishes.
#[derive(Debug)]
pub(in crate::api) struct Conversation<W> {
    app: App,
    origin: Origin,
    wishes: W,
    /// Wishes for audio of another kind. They wait until the turns before have all their audio.
    wanted: Option<W>,
    happenings: VecDeque<Happening>,
    buffer: Buffer,
    /// Position at which the detector began to listen, and its time.
    stream: u64,
    stream_ms: u64,
    /// Positions up to which the detector was given audio, and has judged it.
    given: u64,
    judged: u64,
    /// Position after the last turn.
    floor: u64,
    /// Position since when nobody speaks.
    quiet: u64,
    detection: Option<Detection>,
    losses: u32,
    /// The audio until the client says that it is a turn.
    spool: Option<Spool>,
    current: Option<Current>,
    /// Beginning and perhaps end of a turn whose place the current one still has.
    next: Option<(u64, Option<u64>)>,
    texts: Texts,
    turns: JoinSet<()>,
    news: (mpsc::Sender<turn::News>, mpsc::Receiver<turn::News>),
    last_item: Option<String>,
    /// Time of the last audio.
    heard: Instant,
    is_closing: bool,
    held: Held,
}

impl<W: Wishes> Conversation<W> {
    pub(in crate::api) fn new(app: App, client: Client, share: Share, wishes: W) -> Self {
        Self {
            held: app.sessions.enter(client.clone()),
            origin: Origin {
                dispatcher: app.dispatcher.clone(),
                client,
                share,
            },
            app,
            wishes,
            wanted: None,
            happenings: VecDeque::new(),
            buffer: Buffer::default(),
            stream: 0,
            stream_ms: 0,
            given: 0,
            judged: 0,
            floor: 0,
            quiet: 0,
            detection: None,
            losses: 0,
            spool: None,
            current: None,
            next: None,
            texts: Texts::default(),
            turns: JoinSet::new(),
            news: mpsc::channel(MOST_TURNS),
            last_item: None,
            heard: Instant::now(),
            is_closing: false,
        }
    }

    /// The wishes that it follows.
    pub(in crate::api) fn wishes(&self) -> &W {
        &self.wishes
    }

    /// The next thing that the client is to be told.
    pub(in crate::api) fn happening(&mut self) -> Option<Happening> {
        self.happenings.pop_front()
    }

    /// Do all that can be done now: pass audio to the job, and then to the detector.
    ///
    /// # Errors
    /// The service is ending.
    pub(in crate::api) async fn go_on(&mut self) -> Result<(), Over> {
        if self.wishes.manner().is_some() && self.detection.is_none() && !self.is_closing {
            self.begin_stream().await?;
        }
        self.feed();
        if self.current.is_none()
            && let Some((begin, end)) = self.next.take()
        {
            self.begin_turn(begin);
            if let Some(end) = end {
                self.end_turn(end);
            }
            self.feed();
        }
        if self.current.is_none()
            && let Some(new) = self.wanted.take()
        {
            let end = self.buffer.end();
            let at = self.ms(end);
            self.wishes = new;
            self.restart_at(end, at).await?;
            self.happenings.push_back(Happening::Settled);
        }
        let is_busy = self.backlog() > 0 || self.next.is_some();
        if is_busy || self.is_closing || self.is_full() {
            return Ok(());
        }
        if let Some(detection) = &mut self.detection
            && self.given < self.buffer.end()
            && detection.room() > 0
        {
            let bytes = self.buffer.copy(self.given, detection.room());
            self.given += bytes.len() as u64;
            detection.give(bytes).await;
        }
        Ok(())
    }

    /// Wait until something is to be done. Cancel-safe.
    pub(in crate::api) async fn wait(&mut self) -> Woken {
        let needs_room = self.backlog() > 0;
        let due = self.turn_due();
        let detection = async {
            match &mut self.detection {
                Some(detection) if detection.room() == 0 => detection.next().await,
                _ => std::future::pending().await,
            }
        };
        let room = async {
            match &self.current {
                // An error means that the turn is over; its news tell that.
                Some(current) if needs_room => drop(current.audio.reserve().await),
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(news) = self.news.1.recv() => Woken::Turn(news),
            news = detection => Woken::Detector(news),
            () = room => Woken::Again,
            Some(_) = self.turns.join_next() => Woken::Again,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Woken::Overdue,
        }
    }

    /// Do what [`Self::wait`] has found.
    ///
    /// # Errors
    /// The conversation cannot go on.
    pub(in crate::api) async fn handle(&mut self, woken: Woken) -> Result<(), Over> {
        match woken {
            Woken::Turn(news) => self.hear(news),
            Woken::Detector(News::Heard(judgement)) => self.judge(judgement),
            Woken::Detector(News::Lost) => self.lost().await?,
            Woken::Overdue => {
                let end = self.buffer.end();
                self.end_turn(end);
                self.restart(end).await?;
            }
            Woken::Again => {}
        }
        Ok(())
    }

    /// Whether more may come from the client.
    pub(in crate::api) fn has_room(&self) -> bool {
        let waiting = self.buffer.end() - self.judged.max(self.buffer.start());
        let is_busy = self.is_closing || self.wanted.is_some();
        !is_busy && waiting < MOST_WAITING && !self.is_full()
    }

    /// Whether no more turns may begin. A text that waits for an earlier one counts, too.
    fn is_full(&self) -> bool {
        self.turns.len().max(self.texts.count()) >= MOST_TURNS
    }

    /// Take the next audio. Call this only if there is room.
    ///
    /// # Errors
    /// It cannot be stored, or is too long for one turn; it is passed over.
    pub(in crate::api) async fn append(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        self.heard = Instant::now();
        if self.wishes.manner().is_some() {
            self.buffer.push(bytes);
            return Ok(());
        }
        let http = &self.app.dispatcher.config().http;
        let spool = match &mut self.spool {
            Some(spool) => spool,
            none => {
                let spool = Spool::new(http.spool_memory.bytes(), &http.spool_folder());
                none.insert(spool.map_err(|error| ApiError::storage(&error))?)
            }
        };
        if spool.size() + bytes.len() as u64 > http.max_upload.bytes() {
            return Err(ApiError::too_large(http.max_upload));
        }
        let written = spool.write(Bytes::copy_from_slice(bytes)).await;
        written.map_err(|error| ApiError::storage(&error))
    }

    /// The client says that the audio until now is a turn.
    ///
    /// # Errors
    /// The service is ending; inside, it is too little audio, or cannot be stored.
    pub(in crate::api) async fn commit(&mut self) -> Result<Result<(), ApiError>, Over> {
        if self.wishes.manner().is_none() {
            return Ok(self.commit_spool());
        }
        self.catch_up().await?;
        let end = self.buffer.end();
        if self.next.is_none() && !self.is_spoken() {
            let begin = self.floor.max(self.buffer.start());
            let length = end.saturating_sub(begin);
            let milliseconds = self.wishes.format().milliseconds(length);
            if milliseconds < SHORTEST {
                return Ok(Err(ApiError::empty_commit(milliseconds)));
            }
            match self.current {
                Some(_) => self.next = Some((begin, None)),
                None => self.begin_turn(begin),
            }
        }
        self.end_all(end);
        self.restart(end).await?;
        Ok(Ok(()))
    }

    /// Find the turns in the audio that has come. If a turn before has to wait for a job, the rest
    /// is taken as it is.
    async fn catch_up(&mut self) -> Result<(), Over> {
        let until = Instant::now() + CATCH_UP;
        loop {
            self.go_on().await?;
            let is_judged = self.detection.as_ref().is_none_or(|one| one.room() > 0);
            if is_judged && self.given == self.buffer.end() {
                return Ok(());
            }
            tokio::select! {
                woken = self.wait() => self.handle(woken).await?,
                () = sleep_until(until) => return Ok(()),
            }
        }
    }

    fn commit_spool(&mut self) -> Result<(), ApiError> {
        let size = self.spool.as_ref().map_or(0, Spool::size);
        let milliseconds = self.wishes.format().milliseconds(size);
        let spool = self.spool.take_if(|_| milliseconds >= SHORTEST);
        let spool = spool.ok_or_else(|| ApiError::empty_commit(milliseconds))?;
        let recording = spool.finish().map_err(|error| ApiError::storage(&error))?;
        let item = new_item();
        self.tell_committed(&item);
        match self.order(&item) {
            Ok(order) => {
                let (origin, news) = (self.origin.clone(), self.news.0.clone());
                let turn = turn::whole(origin, order, item, recording, news);
                self.turns.spawn(turn);
            }
            Err(error) => self.happenings.push_back(failed(item, error, None)),
        }
        Ok(())
    }

    /// Forget the audio that is no turn yet.
    ///
    /// # Errors
    /// The service is ending.
    pub(in crate::api) async fn clear(&mut self) -> Result<(), Over> {
        self.spool = None;
        self.next = None;
        if let Some(current) = self.current.take_if(|current| current.end.is_none()) {
            current.task.abort();
            self.texts.forget(&current.item, &mut self.happenings);
        }
        self.restart(self.buffer.end()).await
    }

    /// Follow other wishes from now on. [`Happening::Settled`] tells that they are in force.
    ///
    /// # Errors
    /// The service is ending; inside, they cannot be followed yet.
    pub(in crate::api) async fn wish(&mut self, new: W) -> Result<Result<(), ApiError>, Over> {
        let rule = |wishes: &W| wishes.manner().map(|manner| manner.rule);
        let is_other_audio = new.format() != self.wishes.format()
            || new.manner().is_some() != self.wishes.manner().is_some();
        if !is_other_audio {
            let changed = rule(&new).filter(|new| Some(*new) != rule(&self.wishes));
            self.wishes = new;
            if let (Some(rule), Some(detection)) = (changed, &mut self.detection) {
                detection.judge(rule).await;
            }
            self.happenings.push_back(Happening::Settled);
            return Ok(Ok(()));
        }
        if self.spool.as_ref().is_some_and(|spool| spool.size() > 0) {
            let what = "commit or clear the audio before its format or turn_detection change";
            return Ok(Err(ApiError::parameter("session", what)));
        }
        self.end_all(self.buffer.end());
        self.wanted = Some(new);
        self.go_on().await?;
        Ok(Ok(()))
    }

    /// All that is spoken ends at `position`.
    fn end_all(&mut self, position: u64) {
        match &mut self.next {
            Some((_, end)) => {
                end.get_or_insert(position);
            }
            None => self.end_turn(position),
        }
    }

    /// End the turn that is spoken, and begin no other one.
    pub(in crate::api) fn close(&mut self) {
        self.is_closing = true;
        self.end_all(self.buffer.end());
    }

    /// True if no text is to come, and the client was told everything.
    pub(in crate::api) fn is_quiet(&self) -> bool {
        let is_heard = self.current.is_none() && self.next.is_none();
        is_heard && self.texts.is_empty() && self.happenings.is_empty()
    }

    /// True if somebody speaks.
    fn is_spoken(&self) -> bool {
        let is_spoken = |current: &Current| current.end.is_none();
        self.current.as_ref().is_some_and(is_spoken)
    }

    /// Begin to listen with what comes next.
    async fn begin_stream(&mut self) -> Result<(), Over> {
        let Some(manner) = self.wishes.manner() else {
            self.detection = None;
            return Ok(());
        };
        let (format, rule) = (self.wishes.format(), manner.rule);
        let is_there = match &mut self.detection {
            Some(detection) => detection.again(format, rule).await,
            None => {
                self.detection = self.app.detector.listen(format, rule).await;
                self.detection.is_some()
            }
        };
        is_there.then_some(()).ok_or(Over::Stopping)
    }

    /// Time of a position.
    fn ms(&self, position: u64) -> u64 {
        let bytes = position.saturating_sub(self.stream);
        self.stream_ms + self.wishes.format().milliseconds(bytes)
    }

    /// Position of a time in the detector's stream.
    fn position(&self, milliseconds: u64) -> u64 {
        let bytes = self.wishes.format().bytes(milliseconds);
        self.stream.saturating_add(bytes)
    }

    /// Bytes that the current turn's job should have by now, and has not.
    fn backlog(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| {
            let until = current.end.unwrap_or(self.judged);
            until.saturating_sub(current.fed)
        })
    }

    /// Pass audio to the current turn's job, as far as there is room.
    fn feed(&mut self) {
        while self.backlog() > 0
            && let Some(current) = &mut self.current
        {
            let until = current.end.unwrap_or(self.judged);
            let most = usize::try_from(until - current.fed).unwrap_or(PIECE);
            let piece = self.buffer.copy(current.fed, most.min(PIECE));
            let length = piece.len() as u64;
            if length == 0 {
                // This cannot be: nothing that is needed is dropped.
                current.fed = until;
                break;
            }
            match current.audio.try_send(piece) {
                Ok(()) => current.fed += length,
                Err(mpsc::error::TrySendError::Full(_)) => break,
                // Its task has ended: nobody needs the rest.
                Err(mpsc::error::TrySendError::Closed(_)) => current.fed = until,
            }
        }
        let needed = match &self.current {
            Some(current) => current.fed.min(self.judged),
            None => {
                let prefix = self.wishes.manner().map_or(0, |manner| manner.prefix);
                let kept = self.wishes.format().bytes(prefix + LATEST_NEWS_MS);
                self.judged.saturating_sub(kept)
            }
        };
        let next = self.next.map_or(u64::MAX, |(begin, _)| begin);
        self.buffer.drop_before(needed.min(next));
        self.current
            .take_if(|current| current.end == Some(current.fed));
    }

    /// Time when the current turn is over although nobody says so.
    fn turn_due(&self) -> Option<Instant> {
        let current = self.current.as_ref()?;
        if current.end.is_some() || self.backlog() > 0 {
            return None;
        }
        let bytes = self.judged.saturating_sub(current.begin);
        let audio = self.wishes.format().milliseconds(bytes);
        let slowest = current.begun + TRICKLE + Duration::from_millis(2 * audio);
        Some(slowest.min(self.heard + STALL))
    }

    /// Listen anew from `position` on.
    async fn restart(&mut self, position: u64) -> Result<(), Over> {
        let at = self.ms(position);
        self.restart_at(position, at).await
    }

    /// As [`Self::restart`]; the time of `position` is `at`.
    async fn restart_at(&mut self, position: u64, at: u64) -> Result<(), Over> {
        self.stream = position;
        self.stream_ms = at;
        self.given = position;
        self.judged = position;
        self.floor = self.floor.max(position);
        self.quiet = position;
        if self.wishes.manner().is_none() {
            self.detection = None;
            return Ok(());
        }
        self.begin_stream().await
    }

    fn judge(&mut self, judgement: Judgement) {
        self.losses = 0;
        let Judgement { until, changes } = judgement;
        // The detector's words are hostile: no time may be outside the audio.
        let most = self.given.max(self.judged);
        let until = self.position(until).clamp(self.judged, most);
        for change in changes {
            match change {
                Change::Began(at) => self.began(at, until),
                Change::Ended(at) => self.ended(at, until),
            }
        }
        self.judged = until;
        self.idle();
    }

    /// Somebody began to speak at this time of the detector's stream; all before `until` is judged.
    fn began(&mut self, at: u64, until: u64) {
        let prefix = self.wishes.manner().map_or(0, |manner| manner.prefix);
        let least = self.floor.max(self.buffer.start()).min(until);
        let begin = self.position(at.saturating_sub(prefix)).clamp(least, until);
        match &self.current {
            None => self.begin_turn(begin),
            Some(current) if current.end.is_some() => self.next = Some((begin, None)),
            // A detector that says it twice.
            Some(_) => {}
        }
    }

    /// Nobody has spoken since this time, for as long as ends a turn.
    fn ended(&mut self, at: u64, until: u64) {
        let silence = self.wishes.manner().map_or(0, |manner| manner.rule.silence);
        let end = self.position(at.saturating_add(silence.into()));
        let end = end.clamp(self.judged, until);
        self.end_all(end);
    }

    /// Tell that nobody has spoken for long, if the client wants to know.
    fn idle(&mut self) {
        let idle = self.wishes.manner().and_then(|manner| manner.idle);
        let (from, until) = (self.ms(self.quiet), self.ms(self.judged));
        if self.current.is_some() || idle.is_none_or(|idle| until - from.min(until) < idle) {
            return;
        }
        self.quiet = self.judged;
        self.floor = self.judged;
        let item = new_item();
        let previous = self.last_item.replace(item.clone());
        self.happenings.push_back(Happening::Idle {
            item,
            previous,
            from,
            until,
        });
    }

    /// The detector is lost. What it has not judged is given to the next one.
    async fn lost(&mut self) -> Result<(), Over> {
        self.losses += 1;
        if self.losses > MOST_LOSSES {
            return Err(Over::Deaf);
        }
        let what = "the detector of speech was lost: the turn at hand, if there is one, ends here";
        let error = ApiError::internal(what.into());
        self.happenings.push_back(Happening::Trouble(error));
        self.end_turn(self.judged);
        self.restart(self.judged).await
    }

    /// The request for the turn `item`.
    fn order(&mut self, item: &str) -> Result<Order, ApiError> {
        self.held.turn();
        let order = self.wishes.order(&self.app.dispatcher.config())?;
        self.texts.begin(item, &order);
        Ok(order)
    }

    /// A turn begins at `position`.
    fn begin_turn(&mut self, position: u64) {
        let item = new_item();
        let (audio, pieces) = mpsc::channel(turn::MOST_PIECES);
        let news = self.news.0.clone();
        let task = match self.order(&item) {
            Ok(order) => {
                let origin = self.origin.clone();
                let turn = turn::live(origin, order, item.clone(), pieces, news);
                self.turns.spawn(turn)
            }
            // That is told like the end of a turn that ran.
            Err(error) => self.turns.spawn(turn::refuse(error, item.clone(), news)),
        };
        self.happenings.push_back(Happening::Began {
            item: item.clone(),
            at: self.ms(position),
        });
        self.current = Some(Current {
            item,
            audio,
            task,
            begin: position,
            begun: Instant::now(),
            fed: position,
            end: None,
        });
    }

    /// The turn that is spoken, if there is one, ends at `position`.
    fn end_turn(&mut self, position: u64) {
        let Some(current) = self
            .current
            .as_mut()
            .filter(|current| current.end.is_none())
        else {
            return;
        };
        let position = position.max(current.fed);
        current.end = Some(position);
        let item = current.item.clone();
        self.floor = position;
        self.quiet = position;
        self.happenings.push_back(Happening::Ended {
            item: item.clone(),
            at: self.ms(position),
        });
        self.tell_committed(&item);
        self.feed();
    }

    fn tell_committed(&mut self, item: &str) {
        let item = item.to_owned();
        let previous = self.last_item.replace(item.clone());
        self.happenings
            .push_back(Happening::Committed { item, previous });
    }

    /// Take news of a turn.
    fn hear(&mut self, news: turn::News) {
        if news.what.is_last() {
            self.end_early(&news.item);
        }
        self.texts.hear(news, &mut self.happenings);
    }

    /// If `item` is still spoken although its job has ended, it ends here. The next turn begins
    /// after the next pause.
    fn end_early(&mut self, item: &str) {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.item == item)
        {
            self.end_turn(self.judged);
        }
    }
}

/// The id of a new turn.
fn new_item() -> String {
    format!("item_{}", Uuid::new_v4().simple())
}
