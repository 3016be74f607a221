//! One request: the client's wishes, the progress of its recording, and the job that hears it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    error::Problem,
    event::{Format, Wish},
};
use crate::{
    api::{
        App, Peer,
        error::ApiError,
        live::{Live, Step},
        patience::Patience,
    },
    config::{Config, Share},
    dispatch::{self, OwnLimits},
    language::tag,
    request::Ask,
};

/// While a job is reserved, a live recording must average at least 1/SLOWEST of real time.
const SLOWEST: u64 = 2;

/// A request from its first event to its answer.
#[derive(Debug)]
pub(super) struct Request {
    id: String,
    config: Arc<Config>,
    share: Share,
    wish: Wish,
    /// The wished language, as the engine is told it.
    language: Option<String>,
    format: Option<Format>,
    /// Bytes of the recording so far, including announced ones.
    size: u64,
    /// `None` until the first samples are announced.
    pub(super) live: Option<Live>,
    /// True once `audio-stop` has come.
    is_complete: bool,
    patience: Patience,
    /// Time since when we wait for the client.
    waiting: Option<Instant>,
    /// True once the client was told that its transcript begins.
    pub(super) is_begun: bool,
}

impl Request {
    pub(super) fn new(config: Arc<Config>, share: Share) -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            patience: Patience::new(&config.http),
            config,
            share,
            wish: Wish::default(),
            language: None,
            format: None,
            size: 0,
            live: None,
            is_complete: false,
            waiting: None,
            is_begun: false,
        }
    }

    /// Set model and language. The last event before the recording counts.
    ///
    /// # Errors
    /// The model does not exist or does not support the language, or the recording has already
    /// begun with other wishes.
    pub(super) fn wish(&mut self, wish: Wish) -> Result<(), Problem> {
        if self.live.is_some() {
            let text = "`transcribe` must come before the recording";
            return (wish == self.wish)
                .then_some(())
                .ok_or_else(|| Problem::order(text));
        }
        let name = wish.model.as_ref().unwrap_or(&self.config.default_model);
        let name = &self.config.split_fault(name.clone()).0;
        let model = self.config.model(name);
        let model = model.ok_or_else(|| Problem::model_not_found(name, &self.config))?;
        let asked = wish.language.as_deref();
        if let Some(asked) = asked.filter(|asked| !asked.eq_ignore_ascii_case("auto")) {
            let tag = tag(asked).ok_or_else(|| {
                let text = "`language` must be a language's code such as `en`, or its name";
                Problem::parameter(text)
            })?;
            self.language = Some(model.engine.understands(&tag).ok_or_else(|| {
                let text = format!("the model `{name}` does not know the language `{tag}`");
                Problem::parameter(text)
            })?);
        } else {
            self.language = None;
        }
        self.wish = wish;
        Ok(())
    }

    /// Begin a recording.
    ///
    /// # Errors
    /// The format is not supported, another one has already begun, or too many requests wait. In
    /// the last case the client should not send a recording in vain.
    pub(super) fn start(&mut self, format: Format, app: &App, peer: &Peer) -> Result<(), Problem> {
        if self.live.is_some() {
            let text = "`audio-start` announced other samples in the middle of a recording";
            return (self.format == Some(format))
                .then_some(())
                .ok_or_else(|| Problem::order(text));
        }
        app.dispatcher
            .announce(&self.id, &peer.client(), self.share)
            .map_err(|refusal| ApiError::refused(&refusal, ""))?;
        self.format = Some(format.check()?);
        Ok(())
    }

    /// Announce `bytes` bytes of the recording. If the client did not begin the recording, it
    /// begins here. From the first byte on it is a request like any other: it is queued, assigned
    /// to a job, and transcribed.
    ///
    /// # Errors
    /// The samples have another format than announced, the recording becomes too large, or the
    /// request is refused.
    pub(super) fn expect(
        &mut self,
        format: Option<Format>,
        length: u64,
        app: &App,
        peer: &Peer,
    ) -> Result<(), Problem> {
        let begun = match self.format {
            Some(begun) => begun,
            None => {
                let format = format.ok_or_else(|| {
                    Problem::parameter("nobody said what samples come: send `audio-start` first")
                })?;
                self.start(format, app, peer)?;
                format
            }
        };
        if format.is_some_and(|format| format != begun) {
            let text = "the samples of `audio-chunk` are not those that `audio-start` announced";
            return Err(Problem::parameter(text));
        }
        let limit = self.config.http.max_upload;
        self.size = self.size.saturating_add(length);
        if self.size > limit.bytes() {
            return Err(ApiError::too_large(limit).into());
        }
        if self.live.is_none() && length > 0 {
            self.live = Some(self.begin(begun, app, peer)?);
            let rate = begun.bytes_per_second() / SLOWEST;
            self.patience = Patience::at_least(&self.config.http, rate);
        }
        Ok(())
    }

    fn begin(&self, format: Format, app: &App, peer: &Peer) -> Result<Live, ApiError> {
        let name = self.model();
        let (name, fault) = self.config.split_fault(name);
        Live::begin(&app.dispatcher, |recording| dispatch::Submission {
            model: name,
            ask: Ask {
                language: self.language.clone(),
                media_type: Some(format.media_type()),
                partials: self.wish.partials,
                fault,
                ..Ask::default()
            },
            own_limits: OwnLimits::default(),
            recording,
            upload: None,
            request_id: self.id.clone(),
            label: None,
            client: peer.client(),
            share: self.share,
            follows: false,
        })
    }

    fn model(&self) -> String {
        let wished = self.wish.model.as_ref();
        wished.unwrap_or(&self.config.default_model).clone()
    }

    /// The spoken language, if it is known.
    pub(super) fn language(&self) -> Option<String> {
        let known = || {
            let name = self.model();
            let name = self.config.split_fault(name).0;
            match self.config.model(&name)?.engine.languages()[..] {
                [only] => Some(only.to_owned()),
                _ => None,
            }
        };
        let wished = self.language.is_some().then(|| self.wish.language.clone());
        wished.flatten().or_else(known)
    }

    /// Take samples that were announced.
    pub(super) fn take(&mut self, samples: Bytes) {
        self.patience.arrived(samples.len(), Duration::ZERO);
        if let Some(live) = &mut self.live {
            live.take(samples);
        }
    }

    /// Mark the recording as complete.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
        if let Some(live) = &mut self.live {
            live.complete();
        }
    }

    /// True if the whole recording has arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// True if the whole recording has arrived and the job has succeeded.
    pub(super) fn is_answered(&self) -> bool {
        self.is_complete && self.live.as_ref().is_none_or(Live::is_answered)
    }

    /// True if the whole recording has arrived, and nothing can be said in it: it lasts less than
    /// the 0.1 s below which jobs refuse one.
    pub(super) fn is_next_to_nothing(&self) -> bool {
        let is_short = |format: Format| self.size.saturating_mul(10) < format.bytes_per_second();
        self.is_complete && self.format.is_some_and(is_short)
    }

    /// True if there is room for more samples.
    pub(super) fn has_room(&self) -> bool {
        !self.is_complete && self.live.as_ref().is_none_or(Live::has_room)
    }

    /// Wait for the next step of the job.
    pub(super) async fn step(&mut self, hears: bool) -> Step {
        match &mut self.live {
            Some(live) => live.step(hears).await,
            None => std::future::pending().await,
        }
    }

    /// Record whether we wait for the client from now on; if so, returns the deadline.
    pub(super) fn waits(&mut self, waits: bool) -> Option<Instant> {
        if let Some(live) = &self.live {
            live.waits(waits);
        }
        if !waits {
            self.arrived(0);
            return None;
        }
        let since = *self.waiting.get_or_insert_with(Instant::now);
        Some(since + self.patience.left())
    }

    /// Record that bytes arrived. Once a job is reserved, only samples earn more time.
    pub(super) fn arrived(&mut self, bytes: usize) {
        let waited = self.waiting.take();
        let waited = waited.map_or(Duration::ZERO, |since| since.elapsed());
        let earned = match self.live {
            Some(_) => 0,
            None => bytes,
        };
        self.patience.arrived(earned, waited);
    }

    /// The problem to report when the client was too slow.
    pub(super) fn too_slow(&self) -> Problem {
        let left = self.patience.left();
        let rate = self.config.http.body_min_rate;
        match (self.patience.is_paused(left), &self.live, self.format) {
            (true, ..) => ApiError::too_slow(left).into(),
            (false, Some(_), Some(format)) => {
                Problem::trickling(rate.bytes().max(format.bytes_per_second() / SLOWEST))
            }
            (false, ..) => ApiError::trickling(self.patience.received(), rate).into(),
        }
    }
}
