//! A body that consists of the recording only.

use std::path::Path;

use axum::body::Body;
use futures_util::StreamExt;

use super::{File, Upload, arrival, hint};
use crate::{
    api::{error::ApiError, http::options::Options, spool::Spool},
    config::Http,
};

/// True if a body of this media type is the recording itself.
pub(super) fn is_recording(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    kind.starts_with("audio/")
        || kind.starts_with("video/")
        || kind == "application/octet-stream"
        || kind == "application/ogg"
}

/// Spool the body as it arrives. After a mistake, the rest is read and dropped.
pub(super) async fn receive(
    content_type: &str,
    options: Result<Options, ApiError>,
    body: Body,
    limits: &Http,
    directory: &Path,
) -> Result<Upload, ApiError> {
    let storage = |error: std::io::Error| ApiError::storage(&error);
    let unparsed = arrival::Unparsed::default();
    let mut chunks = Box::pin(arrival::chunks(body, limits, unparsed.clone()));
    let mut taken = options.and_then(|options| {
        let spool = Spool::new(limits.spool_memory.bytes(), directory).map_err(storage)?;
        Ok((options, spool))
    });
    let mut size = 0;
    while let Some(chunk) = chunks.next().await {
        unparsed.clear();
        let chunk = match (chunk, &taken) {
            (Ok(chunk), _) => chunk,
            (Err(_), Err(_)) => break,
            (Err(interruption), Ok(_)) => return Err(interruption.refusal(limits)),
        };
        size += chunk.len() as u64;
        if size > limits.max_upload.bytes() {
            return Err(taken
                .err()
                .unwrap_or(ApiError::too_large(limits.max_upload)));
        }
        if let Ok((_, spool)) = &mut taken
            && let Err(error) = spool.write(chunk).await
        {
            taken = Err(storage(error));
        }
    }
    let (options, spool) = taken?;
    if size == 0 {
        return Err(ApiError::parameter("file", "the recording is empty"));
    }
    let file = File {
        spool,
        extension: None,
        media_type: hint(content_type),
    };
    file.finish(options)
}
