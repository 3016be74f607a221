//! The multipart body of a transcription request: parameters checked, the recording spooled as it arrives.

use std::{os::fd::OwnedFd, path::Path, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use futures_util::StreamExt;
use multer::{Field, Multipart};

use super::error::ApiError;
use crate::{api::spool::Spool, config::Http, dispatch::Lower};

/// Longest value of a parameter, in bytes. OpenAI's longest is the prompt, of a few hundred words.
const MAX_VALUE: usize = 16 * 1024;

/// Most parts of one body.
const MAX_PARTS: usize = 64;

/// Longest file name and media type that are used as a hint, in bytes.
const MAX_HINT: usize = 255;

/// What the client sent, each value of the right kind.
#[derive(Debug)]
pub(super) struct Upload {
    /// The recording, sealed and readable only.
    pub(super) recording: OwnedFd,
    /// Extension of its file name.
    pub(super) extension: Option<String>,
    /// Its media type.
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
    let boundary = multer::parse_boundary(content_type).map_err(|error| {
        ApiError::body(format!(
            "the body must be multipart/form-data with a boundary: {error}"
        ))
    })?;
    let timeout = limits.body_timeout;
    let chunks =
        futures_util::stream::unfold(body.into_data_stream(), move |mut stream| async move {
            match tokio::time::timeout(timeout, stream.next()).await {
                Ok(next) => next.map(|chunk| (chunk.map_err(Interruption::from), stream)),
                Err(_) => Some((Err(Interruption::TooSlow(timeout)), stream)),
            }
        });
    let mut multipart = Multipart::new(Box::pin(chunks), boundary);
    let mut parts = Parts::default();
    let mut mistake = None;
    let mut count = 0;
    loop {
        let field = match multipart.next_field().await {
            Ok(Some(field)) => field,
            Ok(None) => break,
            Err(error) => return Err(mistake.unwrap_or_else(|| broken(error))),
        };
        count += 1;
        if count > MAX_PARTS {
            return Err(ApiError::body(format!(
                "the body has more than {MAX_PARTS} parts"
            )));
        }
        if mistake.is_some() {
            continue;
        }
        match parts.take(field, limits, directory).await {
            Ok(()) => {}
            Err(Trouble::Mistake(error)) => mistake = Some(error),
            Err(Trouble::Final(error)) => return Err(error),
        }
    }
    match mistake {
        Some(error) => Err(error),
        None => parts.finish(),
    }
}

/// Why the body's stream ended before its end.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error("the connection broke: {0}")]
    Broken(#[from] axum::Error),
    #[error("the body stopped arriving")]
    TooSlow(Duration),
}

fn broken(error: multer::Error) -> ApiError {
    if let multer::Error::StreamReadFailed(cause) = &error
        && let Some(Interruption::TooSlow(after)) = cause.downcast_ref()
    {
        return ApiError::too_slow(*after);
    }
    ApiError::body(match error {
        multer::Error::IncompleteStream
        | multer::Error::IncompleteFieldData { .. }
        | multer::Error::StreamReadFailed(_) => {
            "the body ends in the middle: its closing boundary never came".into()
        }
        error => format!("the multipart body is malformed: {error}"),
    })
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
        field: Field<'_>,
        limits: &Http,
        directory: &Path,
    ) -> Result<(), Trouble> {
        let name = field.name().unwrap_or_default().to_owned();
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
            self.file = Some(spool(field, limits, directory).await?);
            return Ok(());
        }
        let value = text(&name, field).await?;
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

async fn spool(mut field: Field<'_>, limits: &Http, directory: &Path) -> Result<File, Trouble> {
    let hint = |text: &str| (text.len() <= MAX_HINT).then(|| text.to_owned());
    let extension = field
        .file_name()
        .and_then(|name| Path::new(name).extension()?.to_str())
        .and_then(hint);
    let media_type = field
        .content_type()
        .and_then(|mime| hint(mime.essence_str()));
    let storage = |error: std::io::Error| Trouble::Mistake(ApiError::storage(&error));
    let mut spool = Spool::new(limits.spool_memory.bytes(), directory).map_err(storage)?;
    loop {
        let chunk: Bytes = match field.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(error) => return Err(Trouble::Final(broken(error))),
        };
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

async fn text(name: &str, mut field: Field<'_>) -> Result<String, Trouble> {
    let mut value = Vec::new();
    loop {
        match field.chunk().await {
            Ok(Some(chunk)) if value.len() + chunk.len() <= MAX_VALUE => value.extend(chunk),
            Ok(Some(_)) => {
                let message = format!("the parameter `{name}` is longer than {MAX_VALUE} bytes");
                return Err(Trouble::Mistake(ApiError::parameter(name, message)));
            }
            Ok(None) => break,
            Err(error) => return Err(Trouble::Final(broken(error))),
        }
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
