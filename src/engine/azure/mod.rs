//! Engine `azure`: Microsoft's speech service, asked through Microsoft's Speech SDK.
//!
//! The SDK has threads, and cannot be forked once it is used, so each job loads it before its
//! request comes. It hears the whole recording as it arrives, and segments are sent as the service
//! finds them. After a failure, the SDK would take ten seconds to release its objects: the job
//! reports the failure and ends without that.

mod ffi;
mod pace;
mod phrase;
mod settings;

use std::{
    ffi::{CStr, CString},
    ops::ControlFlow,
    path::Path,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

pub use self::settings::{AzureKey, AzureService, AzureSettings, AzureTable};
use self::{
    ffi::{Address, Config, Event, Property, Sdk, SdkError, Session},
    pace::Pace,
    phrase::Scribe,
};
use super::{AudioSource, Emit, Engine, EngineError, Hearing, HearsSamples, SAMPLE_RATE, Said};
use crate::{
    isolation::secret::{self, Secret},
    request::{Ask, Code},
};

const NAME: &str = "azure";

/// Most phrases that the service takes, and the most bytes of one.
const MAX_PHRASES: (usize, usize) = (500, 250);

/// Most characters of the SDK's messages in the journal.
const MAX_DETAILS: usize = 1000;

/// The SDK's own default for `upload_burst`.
const DEFAULT_BURST: Duration = Duration::from_secs(5);

/// A test asks for this: release nothing to the library, as a leaking program would.
const KEEP_HANDLES: &str = "keep-handles";

/// A job's own SDK, ready for a recording.
pub struct Azure {
    settings: AzureSettings,
    /// The key, which must not be in any message.
    key: Option<Key>,
    config: Config,
    /// The recording before, which is over. It is released when there is another recording; most
    /// jobs have none.
    before: Option<Session>,
    /// The language of this recording, without its region.
    language: Option<String>,
}

/// The key, read by this process or inherited from the supervisor.
enum Key {
    Own(Secret),
    Inherited(&'static Secret),
}

impl Key {
    fn secret(&self) -> &Secret {
        match self {
            Self::Own(secret) => secret,
            Self::Inherited(secret) => secret,
        }
    }
}

/// Open the SDK and prepare it for the service of `settings`. The service is not asked anything
/// yet.
///
/// # Errors
/// The library, a file or the key is missing or unusable; the message says what to do.
pub fn load(settings: &AzureSettings) -> Result<Azure, EngineError> {
    let key = key(&settings.key)?;
    let unusable = |reason: String| {
        EngineError::Unavailable(format!(
            "Microsoft's Speech SDK cannot be used: {reason} (models.<name>.azure.library)"
        ))
    };
    let sdk = Sdk::open(&settings.library).map_err(unusable)?;
    let config = configure(sdk, settings, key.as_ref().map(Key::secret))
        .map_err(|error| unusable(words(key.as_ref(), &error.to_string())))?;
    // The SDK opens more libraries for its first recogniser. A job that serves a request could not
    // do that.
    let first = Session::open(&config, SAMPLE_RATE);
    drop(first.map_err(|error| unusable(words(key.as_ref(), &error.to_string())))?);
    Ok(Azure {
        settings: settings.clone(),
        key,
        config,
        before: None,
        language: None,
    })
}

fn key(place: &AzureKey) -> Result<Option<Key>, EngineError> {
    match place {
        AzureKey::None => Ok(None),
        AzureKey::File(file) => Secret::open(file).map(Key::Own).map(Some).map_err(|error| {
            EngineError::Unavailable(format!(
                "the key cannot be read from {}: {error}",
                file.display()
            ))
        }),
        AzureKey::Environment(name) => secret::inherited()
            .map(Key::Inherited)
            .map(Some)
            .ok_or_else(|| EngineError::Unavailable(format!("the key was not passed on ({name})"))),
        AzureKey::NoCredentials(name) => Err(EngineError::Unavailable(format!(
            "systemd gives the service no credentials: name the file of the key in a drop-in of the unit, \
             LoadCredential={name}:/etc/stt-isolated/{name}, or as key_file"
        ))),
    }
}

/// `text` as a C string. It has no NUL: addresses, keys and languages were checked, and phrases are
/// cut at NULs.
fn c(text: &str) -> Result<CString, EngineError> {
    CString::new(text).map_err(|_| failed("a setting has a NUL character in it".into()))
}

fn configure(
    sdk: &'static Sdk,
    settings: &AzureSettings,
    key: Option<&Secret>,
) -> Result<Config, EngineError> {
    let text = match &settings.service {
        AzureService::Region(text) | AzureService::Host(text) | AzureService::Endpoint(text) => {
            c(text)?
        }
    };
    let address = match &settings.service {
        AzureService::Region(_) => Address::Region(&text),
        AzureService::Host(_) => Address::Host(&text),
        AzureService::Endpoint(_) => Address::Endpoint(&text),
    };
    let key = key.map(|secret| Zeroizing::new([secret.bytes(), b"\0"].concat()));
    let key = key
        .as_ref()
        .and_then(|bytes| CStr::from_bytes_with_nul(bytes).ok());
    let mut config = Config::new(sdk, &address, key).map_err(said)?;
    set_up(&mut config, settings).map_err(said)?;
    if let Some(file) = &settings.ca_file {
        trust(&mut config, file)?;
    }
    Ok(config)
}

fn set_up(config: &mut Config, settings: &AzureSettings) -> Result<(), SdkError> {
    config.set(Property::Detailed, c"true")?;
    config.set(Property::WordTimes, c"true")?;
    config.ask_service(c"wordLevelConfidence", c"true")?;
    if settings.upload_burst != DEFAULT_BURST {
        let milliseconds = settings.upload_burst.as_millis();
        // The SDK has this misspelling.
        let name = c"SPEECH-TransmitLengthBeforThrottleMs";
        if let Ok(value) = CString::new(milliseconds.to_string()) {
            config.set_named(name, &value)?;
        }
    }
    Ok(())
}

/// Let the authority whose certificate is in `file` vouch for the service. It has no certificate
/// revocation lists, which the SDK requires by default.
fn trust(config: &mut Config, file: &Path) -> Result<(), EngineError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        EngineError::Unavailable(format!(
            "the certificate cannot be read from {}: {error}",
            file.display()
        ))
    };
    let pem = std::fs::read(file).map_err(|error| unreadable(&error))?;
    let pem = CString::new(pem).map_err(|error| unreadable(&error))?;
    for (name, value) in [
        (c"OPENSSL_SINGLE_TRUSTED_CERT", pem.as_c_str()),
        (c"OPENSSL_SINGLE_TRUSTED_CERT_CRL_CHECK", c"false"),
        (c"OPENSSL_DISABLE_CRL_CHECK", c"true"),
    ] {
        config.set_named(name, value).map_err(said)?;
    }
    Ok(())
}

impl Engine for Azure {
    fn begin(&mut self) {
        self.before = None;
        self.language = None;
    }

    fn languages(&self) -> Vec<&str> {
        self.language.as_deref().into_iter().collect()
    }
}

impl HearsSamples for Azure {
    fn hearing(&self) -> Hearing {
        Hearing::Whole
    }

    fn transcribe(
        &mut self,
        audio: &mut dyn AudioSource,
        options: &Ask,
        emit: &mut Emit<'_>,
    ) -> Result<(), EngineError> {
        let mut session = self.open(options)?;
        if options.self_test {
            while audio.next_block()?.is_some() {}
            return Ok(());
        }
        let result = self.hear(&mut session, audio, emit);
        match &result {
            Ok(()) | Err(EngineError::Audio(_) | EngineError::Stopped)
                if options.fault.as_deref() != Some(KEEP_HANDLES) =>
            {
                self.before = Some(session)
            }
            // After a failure the SDK would take ten seconds to release it, and the process ends
            // anyway.
            _ => std::mem::forget(session),
        }
        result
    }
}

impl Azure {
    /// A recogniser for this request.
    fn open(&mut self, options: &Ask) -> Result<Session, EngineError> {
        let asked = options.language.as_deref();
        let Some(language) = self.settings.language(asked) else {
            let asked = asked.unwrap_or_default();
            return Err(failed(format!(
                "it is not set up for the language `{asked}`"
            )));
        };
        let primary = language.split('-').next().map(str::to_ascii_lowercase);
        let language = c(language)?;
        self.language = primary;
        let mut open = || {
            self.config.set(Property::Language, &language)?;
            let mut session = Session::open(&self.config, SAMPLE_RATE)?;
            session.expect(&phrases(options))?;
            Ok(session)
        };
        open().map_err(|error: SdkError| failed(words(self.key.as_ref(), &error.to_string())))
    }

    /// Send the recording to the service, and emit its segments, until it is done.
    fn hear(
        &self,
        session: &mut Session,
        audio: &mut dyn AudioSource,
        emit: &mut Emit<'_>,
    ) -> Result<(), EngineError> {
        let said = |error: SdkError| failed(words(self.key.as_ref(), &error.to_string()));
        let limit = self.settings.response_timeout;
        session.start(limit).map_err(said)?;
        let mut pace = Pace::new(Instant::now(), self.settings.upload_burst);
        let mut scribe = Scribe::default();
        let mut last_word = Instant::now();
        let mut is_sent = false;
        // True while a result must still come.
        let mut is_owed = false;
        loop {
            let patience = last_word.max(pace.arrival()) + limit;
            let mut wait = if is_sent {
                patience.saturating_duration_since(Instant::now())
            } else {
                pace.wait(Instant::now())
            };
            let mut is_silent = is_sent;
            while let Some(event) = session.next(wait) {
                last_word = Instant::now();
                wait = Duration::ZERO;
                is_silent = false;
                is_owed = match event {
                    Event::Begun => true,
                    Event::Phrase { .. } | Event::Nothing => false,
                    _ => is_owed,
                };
                // Its SDK may take the end of a connection for that of the recording.
                if matches!(event, Event::Stopped) && is_owed {
                    let details = "it ended without a result for what it had begun to hear";
                    return Err(self.trouble(Code::UpstreamFailed, details));
                }
                if self
                    .take(event, &mut scribe, &mut pace, is_sent, emit)?
                    .is_break()
                {
                    return Ok(());
                }
            }
            if is_silent && Instant::now() >= patience {
                let details = format!("it said nothing for {limit:?}");
                return Err(self.trouble(Code::Timeout, &details));
            }
            if !is_sent && pace.wait(Instant::now()).is_zero() {
                match audio.next_block()? {
                    Some(block) => {
                        let samples: Vec<i16> = block.iter().map(|sample| pcm(*sample)).collect();
                        session.push(&samples).map_err(said)?;
                        pace.sending(Instant::now(), samples.len());
                    }
                    None => {
                        // The recording is empty, so there is nothing to ask.
                        if pace.sent().is_zero() {
                            return Ok(());
                        }
                        session.finish().map_err(said)?;
                        is_sent = true;
                    }
                }
            }
        }
    }

    /// Handle one event of a recording. `is_all`: the whole recording was sent. `Break` at the end.
    fn take(
        &self,
        event: Event,
        scribe: &mut Scribe,
        pace: &mut Pace,
        is_all: bool,
        emit: &mut Emit<'_>,
    ) -> Result<ControlFlow<()>, EngineError> {
        match event {
            Event::Sign | Event::Begun | Event::Nothing => Ok(ControlFlow::Continue(())),
            Event::Phrase { json, offset } => match scribe.segment(&json, offset, pace.sent()) {
                Ok(Some(segment)) => {
                    pace.heard(segment.end);
                    Ok(emit(Said::Segment(segment)))
                }
                Ok(None) => Ok(ControlFlow::Continue(())),
                Err(error) => {
                    let details = format!("it answered what is no answer: {error}");
                    Err(self.trouble(Code::UpstreamFailed, &details))
                }
            },
            Event::Failed { code, details } => Err(self.failure(code, &details)),
            Event::Stopped if is_all => Ok(ControlFlow::Break(())),
            Event::Stopped => {
                Err(self.trouble(Code::UpstreamFailed, "it ended before the recording did"))
            }
        }
    }

    /// The error for this code of the SDK (`CancellationErrorCode`).
    fn failure(&self, code: i32, details: &str) -> EngineError {
        match code {
            // Authentication, a bad request, forbidden. The service also answers "bad request" if a
            // quota is used up.
            1 | 2 | 4 => self.trouble(Code::UpstreamRefused, details),
            // Too many requests, unavailable.
            3 | 8 => self.trouble(Code::UpstreamBusy, details),
            // Connection, service.
            5 | 7 => self.trouble(Code::UpstreamFailed, details),
            // A time-out; or more audio was sent than the SDK keeps while the service does not
            // answer.
            6 => self.trouble(Code::Timeout, details),
            _ => failed(words(self.key.as_ref(), details)),
        }
    }

    /// The client is told what it can do about it. The SDK's words go to the journal, because they
    /// have addresses in them.
    fn trouble(&self, code: Code, details: &str) -> EngineError {
        eprintln!(
            "the speech service, as its SDK tells: {}",
            words(self.key.as_ref(), details)
        );
        let message = match code {
            Code::UpstreamRefused => {
                "the speech service that this model asks refuses: its key, its region or host, or what its subscription \
                 allows is wrong; the administrator of this service finds the reason in the journal"
            }
            Code::UpstreamBusy => {
                "the speech service that this model asks has too many requests at the moment"
            }
            Code::Timeout => "the speech service that this model asks did not answer in time",
            _ => {
                "the speech service that this model asks failed or cannot be reached; the administrator of this service \
                 finds the reason in the journal"
            }
        };
        EngineError::Upstream {
            code,
            message: message.into(),
        }
    }
}

/// The SDK's words in one line, without the key.
fn words(key: Option<&Key>, text: &str) -> String {
    let text = match key {
        Some(key) => key.secret().scrub(text),
        None => text.into(),
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars()
        .filter(|c| !c.is_control())
        .take(MAX_DETAILS)
        .collect()
}

fn said(error: SdkError) -> EngineError {
    failed(error.to_string())
}

fn failed(reason: String) -> EngineError {
    EngineError::Failed {
        engine: NAME,
        reason,
    }
}

/// Full scale is 1; values beyond are clipped.
#[allow(clippy::cast_possible_truncation)]
fn pcm(sample: f32) -> i16 {
    (sample * f32::from(i16::MAX)).round() as i16
}

/// Phrases that are likely to be said: the keywords, and the parts of the prompt between
/// punctuation marks.
fn phrases(options: &Ask) -> Vec<CString> {
    let is_mark = |c: char| matches!(c, ',' | ';' | '.' | ':' | '!' | '?') || c.is_control();
    let prompt = options.prompt.as_deref().unwrap_or_default();
    let keywords = options
        .keywords
        .iter()
        .flat_map(|keyword| keyword.split(char::is_control));
    let (count, length) = MAX_PHRASES;
    keywords
        .chain(prompt.split(is_mark))
        .map(str::trim)
        .filter(|phrase| !phrase.is_empty() && phrase.len() <= length)
        .filter_map(|phrase| CString::new(phrase).ok())
        .take(count)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_keywords_and_the_parts_of_a_prompt() {
        let options = Ask {
            prompt: Some("Contoso, Jessie. \n Rehaan?".into()),
            keywords: vec!["ggml\0x".into(), String::new()],
            ..Ask::default()
        };
        let expected = [c"ggml", c"x", c"Contoso", c"Jessie", c"Rehaan"];
        let phrases = phrases(&options);
        let phrases: Vec<&CStr> = phrases.iter().map(CString::as_c_str).collect();
        assert_eq!(phrases, expected);
    }

    #[test]
    fn samples_keep_within_their_bits() {
        assert_eq!(
            [0.0, 1.0, -1.0, 7.0, -7.0].map(pcm),
            [0, 32767, -32767, 32767, -32768]
        );
    }
}
