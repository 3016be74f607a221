//! The multipart body of a transcription request: parameters checked, the recording spooled as it arrives.

use std::{
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use futures_util::{Stream, StreamExt};
use multer::{Field, Multipart};

use super::{error::ApiError, patience::Patience};
use crate::{
    api::spool::Spool,
    config::{ByteSize, Http},
    dispatch::Lower,
};

/// Longest value of a parameter, in bytes. OpenAI's longest is the prompt, of a few hundred words.
const MAX_VALUE: usize = 16 * 1024;

/// Most parts of one body.
const MAX_PARTS: usize = 64;

/// What may surround the recording in a body that still is no larger than it may be.
pub(super) const ENVELOPE: ByteSize = ByteSize::mib(1);

/// Most bytes in front of the first part, and in front of the content of each: the parser keeps them all.
const MAX_HEAD: usize = 256 * 1024;

/// Longest file name and media type that are used as a hint, in bytes.
const MAX_HINT: usize = 255;

/// What the client sent, each value of the right kind.
#[derive(Debug)]
pub(super) struct Upload {
    /// The recording, sealed and readable only.
    pub(super) recording: OwnedFd,
    /// Extension of its file name.
    pub(super) extension: Option<String>,
    /// Its media type, with parameters.
    pub(super) media_type: Option<String>,
    /// Model by name or alias; `None` means the default one.
    pub(super) model: Option<String>,
    /// ISO 639-1 code.
    pub(super) language: Option<String>,
    /// What the answer shall look like.
    pub(super) format: Format,
    /// Limits that the client sets for this request.
    pub(super) lower: Lower,
}

/// Shapes of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    /// `{"text": …}`
    #[default]
    Json,
    /// The bare text.
    Text,
}

/// Read the whole body.
///
/// The first mistake is the one that is reported, but the rest of the body is still read (and dropped): a client that
/// is busy sending would otherwise see a broken connection instead of its answer.
pub(super) async fn receive(
    headers: &HeaderMap,
    body: Body,
    limits: &Http,
    directory: &Path,
) -> Result<Upload, ApiError> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| {
            ApiError::body("the request has no content-type; send multipart/form-data")
        })?;
    let boundary = multer::parse_boundary(content_type)
        .and_then(|boundary| match boundary.len() {
            // RFC 2046, 5.1.1.
            1..=70 => Ok(boundary),
            _ => Err(multer::Error::NoBoundary),
        })
        .map_err(|error| {
            ApiError::body(format!(
                "the body must be multipart/form-data with a boundary: {error}"
            ))
        })?;
    let unparsed = Unparsed::default();
    let mut chunks = Box::pin(chunks(body, limits, unparsed.clone()).fuse());
    let mut multipart = Multipart::new(&mut chunks, boundary);
    let mut parts = Parts::default();
    let mut mistake = None;
    let mut count = 0;
    loop {
        let mut field = match multipart.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) => break,
            Err(error) => return Err(mistake.unwrap_or_else(|| broken(&error, limits))),
        };
        unparsed.clear();
        count += 1;
        if count > MAX_PARTS {
            let too_many = || ApiError::body(format!("the body has more than {MAX_PARTS} parts"));
            return Err(mistake.unwrap_or_else(too_many));
        }
        let mut content = Content {
            field: &mut field,
            unparsed: &unparsed,
            limits,
        };
        if mistake.is_none() {
            match parts.take(&mut content, directory).await {
                Ok(()) => {}
                Err(Trouble::Mistake(error)) => mistake = Some(error),
                Err(Trouble::Final(error)) => return Err(error),
            }
        }
        // What is left of it after a mistake.
        loop {
            match content.next().await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return Err(mistake.unwrap_or(error)),
            }
        }
    }
    drop(multipart);
    // What follows the form is nothing to us, but as long as it was not read, nobody watches whether the client is
    // still there.
    while let Some(chunk) = chunks.next().await {
        unparsed.clear();
        if let Err(interruption) = chunk {
            return Err(mistake.unwrap_or_else(|| interruption.refusal(limits)));
        }
    }
    match mistake {
        Some(error) => Err(error),
        None => parts.finish(),
    }
}

/// The body as it arrives, cut off where a client breaks the rules.
fn chunks(
    body: Body,
    limits: &Http,
    unparsed: Unparsed,
) -> impl Stream<Item = Result<Bytes, Interruption>> + Send + use<> {
    let pause = limits.body_timeout;
    let limit = (limits.max_upload.bytes()).saturating_add(ENVELOPE.bytes());
    let start = (body.into_data_stream(), Patience::new(limits));
    futures_util::stream::unfold(start, move |(mut stream, mut patience)| {
        let unparsed = unparsed.clone();
        async move {
            let (begin, left) = (Instant::now(), patience.left());
            let next = match tokio::time::timeout(left, stream.next()).await {
                Ok(next) => next?.map_err(Interruption::from),
                Err(_) if left == pause => Err(Interruption::TooSlow(pause)),
                Err(_) => Err(Interruption::Trickling(patience.received())),
            };
            let checked = next.and_then(|chunk| {
                patience.arrived(chunk.len(), begin.elapsed());
                if patience.received() > limit {
                    return Err(Interruption::TooLarge);
                }
                unparsed.add(chunk.len())?;
                Ok(chunk)
            });
            Some((checked, (stream, patience)))
        }
    })
}

/// Bytes given to the parser since it last gave something back. It keeps all that it makes no sense of, and a body
/// that never has its boundary must not end up in our memory.
#[derive(Clone, Default)]
struct Unparsed(Arc<AtomicUsize>);

impl Unparsed {
    fn add(&self, length: usize) -> Result<(), Interruption> {
        match self.0.fetch_add(length, Ordering::Relaxed) {
            before if before + length <= MAX_HEAD => Ok(()),
            _ => Err(Interruption::Senseless),
        }
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// The content of one part.
struct Content<'a, 'f> {
    field: &'a mut Field<'f>,
    unparsed: &'a Unparsed,
    limits: &'a Http,
}

impl Content<'_, '_> {
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let chunk = self.field.chunk().await;
        self.unparsed.clear();
        chunk.map_err(|error| broken(&error, self.limits))
    }
}

/// Why the body's stream ended before its end.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error("the connection broke: {0}")]
    Broken(#[from] axum::Error),
    #[error("the body stopped arriving")]
    TooSlow(Duration),
    #[error("after {0} bytes the body hardly arrives any more")]
    Trickling(u64),
    #[error("the body is too large")]
    TooLarge,
    #[error("the body's boundary does not come")]
    Senseless,
}

impl Interruption {
    fn refusal(&self, limits: &Http) -> ApiError {
        match self {
            Self::Broken(_) => cut_off(),
            Self::TooSlow(after) => ApiError::too_slow(*after),
            Self::Trickling(received) => ApiError::trickling(*received, limits.body_min_rate),
            Self::TooLarge => ApiError::too_large(limits.max_upload),
            Self::Senseless => {
                ApiError::body("the boundary of the multipart body does not come where it must")
            }
        }
    }
}

fn cut_off() -> ApiError {
    ApiError::body("the body ends in the middle: its closing boundary never came")
}

fn broken(error: &multer::Error, limits: &Http) -> ApiError {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast_ref::<Interruption>() {
            Some(interruption) => interruption.refusal(limits),
            None => cut_off(),
        },
        multer::Error::IncompleteStream | multer::Error::IncompleteFieldData { .. } => cut_off(),
        error => ApiError::body(format!("the multipart body is malformed: {error}")),
    }
}

/// How bad a part is.
enum Trouble {
    /// Tell the client, once the body has been read.
    Mistake(ApiError),
    /// Reading on makes no sense.
    Final(ApiError),
}

/// What has arrived so far.
#[derive(Default)]
struct Parts {
    file: Option<File>,
    model: Option<String>,
    language: Option<String>,
    format: Option<Format>,
    lower: Lower,
}

struct File {
    spool: Spool,
    extension: Option<String>,
    media_type: Option<String>,
}

impl Parts {
    async fn take(
        &mut self,
        content: &mut Content<'_, '_>,
        directory: &Path,
    ) -> Result<(), Trouble> {
        let name = content.field.name().unwrap_or_default().to_owned();
        let twice = match name.as_str() {
            "file" => self.file.is_some(),
            "model" => self.model.is_some(),
            "language" => self.language.is_some(),
            "response_format" => self.format.is_some(),
            "memory_limit" => self.lower.memory.is_some(),
            "deadline" => self.lower.deadline.is_some(),
            _ => {
                let shown: String = name.chars().take(100).collect();
                let message = format!("the parameter `{shown}` is not supported");
                return Err(Trouble::Mistake(ApiError::parameter(&shown, message)));
            }
        };
        if twice {
            let message = format!("the parameter `{name}` is given twice");
            return Err(Trouble::Mistake(ApiError::parameter(&name, message)));
        }
        if name == "file" {
            self.file = Some(spool(content, directory).await?);
            return Ok(());
        }
        let value = text(&name, content).await?;
        let empty = value.is_empty();
        match name.as_str() {
            "model" => self.model = Some(value).filter(|_| !empty),
            "language" => self.language = language(value).map_err(Trouble::Mistake)?,
            "memory_limit" => {
                let mistake = |what| Trouble::Mistake(ApiError::parameter(&name, what));
                self.lower.memory = Some(value.parse().map_err(mistake)?);
            }
            "deadline" => self.lower.deadline = Some(time(&name, &value)?),
            _ => {
                self.format = Some(match value.as_str() {
                    "json" | "" => Format::Json,
                    "text" => Format::Text,
                    other => {
                        let message =
                            format!("the format `{other}` is not supported; use json or text");
                        return Err(Trouble::Mistake(ApiError::parameter(&name, message)));
                    }
                });
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Upload, ApiError> {
        let file = self.file.ok_or_else(|| {
            ApiError::parameter("file", "the part `file` with the recording is missing")
        })?;
        Ok(Upload {
            recording: file
                .spool
                .finish()
                .map_err(|error| ApiError::storage(&error))?,
            extension: file.extension,
            media_type: file.media_type,
            model: self.model,
            language: self.language,
            format: self.format.unwrap_or_default(),
            lower: self.lower,
        })
    }
}

async fn spool(content: &mut Content<'_, '_>, directory: &Path) -> Result<File, Trouble> {
    let Content { field, limits, .. } = content;
    let limits = *limits;
    let hint = |text: &str| (text.len() <= MAX_HINT).then(|| text.to_owned());
    let extension = field
        .file_name()
        .and_then(|name| Path::new(name).extension()?.to_str())
        .and_then(hint);
    let media_type = field.content_type().and_then(|mime| hint(mime.as_ref()));
    let storage = |error: std::io::Error| Trouble::Mistake(ApiError::storage(&error));
    let mut spool = Spool::new(limits.spool_memory.bytes(), directory).map_err(storage)?;
    while let Some(chunk) = content.next().await.map_err(Trouble::Final)? {
        if spool.size() + chunk.len() as u64 > limits.max_upload.bytes() {
            return Err(Trouble::Final(ApiError::too_large(limits.max_upload)));
        }
        spool.write(chunk).await.map_err(storage)?;
    }
    if spool.size() == 0 {
        let message = "the part `file` is empty";
        return Err(Trouble::Mistake(ApiError::parameter("file", message)));
    }
    Ok(File {
        spool,
        extension,
        media_type,
    })
}

async fn text(name: &str, content: &mut Content<'_, '_>) -> Result<String, Trouble> {
    let mut value = Vec::new();
    while let Some(chunk) = content.next().await.map_err(Trouble::Final)? {
        if value.len() + chunk.len() > MAX_VALUE {
            let message = format!("the parameter `{name}` is longer than {MAX_VALUE} bytes");
            return Err(Trouble::Mistake(ApiError::parameter(name, message)));
        }
        value.extend(chunk);
    }
    let value = String::from_utf8(value).ok().filter(|v| !v.contains('\0'));
    value.ok_or_else(|| {
        let message = format!("the parameter `{name}` is not UTF-8 text");
        Trouble::Mistake(ApiError::parameter(name, message))
    })
}

/// A time as in the configuration, or a bare number of seconds.
fn time(name: &str, value: &str) -> Result<Duration, Trouble> {
    let seconds = value
        .parse()
        .ok()
        .and_then(|s| Duration::try_from_secs_f64(s).ok());
    let time = seconds.or_else(|| humantime::parse_duration(value).ok());
    time.filter(|time| !time.is_zero()).ok_or_else(|| {
        let message = format!("`{name}` must be a number of seconds or a time such as `90s`");
        Trouble::Mistake(ApiError::parameter(name, message))
    })
}

/// An ISO 639-1 code, optionally with a region; an empty value means that the engine decides.
fn language(value: String) -> Result<Option<String>, ApiError> {
    if value.is_empty() {
        return Ok(None);
    }
    let (primary, region) = value.split_once(['-', '_']).unwrap_or((&value, "US"));
    let alphabetic = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric());
    if !(2..=3).contains(&primary.len())
        || !alphabetic(primary)
        || region.len() > 8
        || !alphabetic(region)
    {
        let message = "`language` must be an ISO 639-1 code such as `en`";
        return Err(ApiError::parameter("language", message));
    }
    Ok(Some(value.to_ascii_lowercase()))
}
