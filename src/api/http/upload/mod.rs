//! The body of a transcription request: a form, or the recording alone with its parameters in the
//! query string.

mod arrival;
mod multipart;
mod simple;

use std::{os::fd::OwnedFd, path::Path};

use axum::{
    body::Body,
    extract::Query,
    http::{HeaderMap, Uri, header},
};

use super::options::{Options, Page};
use crate::{
    api::{error::ApiError, spool::Spool},
    config::Http,
    units::ByteSize,
};

/// Bytes allowed on top of `max_upload` for form framing and other fields.
pub(super) const ENVELOPE: ByteSize = ByteSize::mib(1);

/// Longest file name and media type that are used as a hint, in bytes.
const MAX_HINT: usize = 255;

/// Media type of samples that whisper-asr-webservice's clients send without a header.
const RAW: &str = "audio/pcm;rate=16000";

/// A received recording with its parameters.
#[derive(Debug)]
pub(super) struct Upload {
    /// The recording, sealed and read-only.
    pub(super) recording: OwnedFd,
    /// Parameters, each with a valid value.
    pub(super) options: Options,
}

/// A recording that is arriving.
struct File {
    spool: Spool,
    extension: Option<String>,
    media_type: Option<String>,
}

impl File {
    fn finish(self, options: Options) -> Result<Upload, ApiError> {
        let recording = (self.spool.finish()).map_err(|error| ApiError::storage(&error))?;
        let mut options = options.finish()?;
        options.ask.extension = self.extension;
        options.ask.media_type = match options.is_raw {
            true => Some(RAW.to_owned()),
            false => self.media_type,
        };
        Ok(Upload { recording, options })
    }
}

/// Read the whole body.
///
/// Reports the first mistake, but still reads and drops the rest of the body: a client that is busy
/// sending would otherwise see a broken connection instead of its answer.
pub(super) async fn receive(
    page: Page,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
    limits: &Http,
    directory: &Path,
) -> Result<Upload, ApiError> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(ApiError::compressed(&String::from_utf8_lossy(
            encoding.as_bytes(),
        )));
    }
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| {
            ApiError::bad_body(
                "the request has no content-type; send multipart/form-data, or audio/…",
            )
        })?;
    let options = in_query(page, uri);
    if simple::is_recording(content_type) {
        simple::receive(content_type, options, body, limits, directory).await
    } else {
        multipart::receive(content_type, options, body, limits, directory).await
    }
}

/// Parameters in the query string.
fn in_query(page: Page, uri: &Uri) -> Result<Options, ApiError> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|error| {
        ApiError::parameter("query", format!("the query string is malformed: {error}"))
    })?;
    let mut options = Options::of(page);
    for (name, value) in pairs {
        options.set(options.field(&name)?, &name, value)?;
    }
    Ok(options)
}

/// A file name or media type, unless it is too long.
fn hint(text: &str) -> Option<String> {
    (text.len() <= MAX_HINT).then(|| text.to_owned())
}
