//! A multipart body: checks the parameters and spools the recording as it arrives.

use std::path::Path;

use axum::{
    body::{Body, Bytes},
    http::header,
};
use futures_util::StreamExt;
use multer::{Field, Multipart};

use super::{
    File, Upload,
    arrival::{self, Interruption, cut_off},
    hint,
};
use crate::{
    api::{
        error::ApiError,
        http::options::{Options, Reference, check_length},
        spool::Spool,
    },
    config::Http,
};

/// Largest number of parts in one body: each of `keywords[]` is one.
const MAX_PARTS: usize = 1024;

/// Parse the form as it arrives. After a mistake, the rest is read and dropped.
pub(super) async fn receive(
    content_type: &str,
    options: Result<Options, ApiError>,
    body: Body,
    limits: &Http,
    directory: &Path,
) -> Result<Upload, ApiError> {
    let boundary = multer::parse_boundary(content_type)
        .and_then(|boundary| match boundary.len() {
            // RFC 2046, section 5.1.1.
            1..=70 => Ok(boundary),
            _ => Err(multer::Error::NoBoundary),
        })
        .map_err(|error| {
            ApiError::bad_body(format!(
                "the body must be multipart/form-data with a boundary, or audio/…: {error}"
            ))
        })?;
    let unparsed = arrival::Unparsed::default();
    let mut chunks = Box::pin(arrival::chunks(body, limits, unparsed.clone()).fuse());
    let mut multipart = Multipart::new(&mut chunks, boundary);
    let (mut parts, mut mistake) = match options {
        Ok(options) => (Parts::of(options), None),
        Err(error) => (Parts::of(Options::default()), Some(error)),
    };
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
            let too_many =
                || ApiError::bad_body(format!("the body has more than {MAX_PARTS} parts"));
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
        // Read and drop the rest after a mistake.
        loop {
            match content.next().await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return Err(mistake.unwrap_or(error)),
            }
        }
    }
    drop(multipart);
    // Bytes after the form mean nothing, but hyper notices a disconnected client only while the
    // body is read.
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

/// Content of one part.
struct Content<'a, 'f> {
    field: &'a mut Field<'f>,
    unparsed: &'a arrival::Unparsed,
    limits: &'a Http,
}

impl Content<'_, '_> {
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let chunk = self.field.chunk().await;
        self.unparsed.clear();
        chunk.map_err(|error| broken(&error, self.limits))
    }
}

fn broken(error: &multer::Error, limits: &Http) -> ApiError {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast_ref::<Interruption>() {
            Some(interruption) => interruption.refusal(limits),
            None => cut_off(),
        },
        multer::Error::IncompleteStream | multer::Error::IncompleteFieldData { .. } => cut_off(),
        error => ApiError::bad_body(format!("the multipart body is malformed: {error}")),
    }
}

/// Severity of a bad part.
enum Trouble {
    /// Reported to the client after the body has been read.
    Mistake(ApiError),
    /// Reading on makes no sense.
    Final(ApiError),
}

/// Everything received so far.
struct Parts {
    file: Option<File>,
    options: Options,
}

impl Parts {
    fn of(options: Options) -> Self {
        Self {
            file: None,
            options,
        }
    }

    async fn take(
        &mut self,
        content: &mut Content<'_, '_>,
        directory: &Path,
    ) -> Result<(), Trouble> {
        let name = name(content.field);
        if name == self.options.page.recording() {
            if self.file.is_some() {
                return Err(Trouble::Mistake(ApiError::given_twice(&name)));
            }
            self.file = Some(spool(content, directory).await?);
            return Ok(());
        }
        // Check the name before the value is read: the value of an unknown parameter may be long.
        let field = self.options.field(&name).map_err(Trouble::Mistake)?;
        if field.is_reference() {
            let mut reference = Reference::default();
            while let Some(chunk) = content.next().await.map_err(Trouble::Final)? {
                reference.take(&chunk);
            }
            let added = self.options.speakers.add_reference(&name, &reference);
            return added.map_err(Trouble::Mistake);
        }
        let value = text(&name, content).await?;
        (self.options.set(field, &name, value)).map_err(Trouble::Mistake)
    }

    fn finish(self) -> Result<Upload, ApiError> {
        let file = self.file.ok_or_else(|| {
            let part = self.options.page.recording();
            let message = format!("the part `{part}` with the recording is missing");
            ApiError::parameter(part, message)
        })?;
        file.finish(self.options)
    }
}

/// The name of a part. multer reads the word `name` only in small letters, but it may have any
/// (RFC 2045, 5.1).
fn name(field: &Field<'_>) -> String {
    let of_any_letters = || {
        let header = field.headers().get(header::CONTENT_DISPOSITION)?;
        let parameters = header.to_str().ok()?.split(';');
        let mut pairs = parameters.filter_map(|pair| pair.split_once('='));
        let (_, name) = pairs.find(|(word, _)| word.trim().eq_ignore_ascii_case("name"))?;
        let name = name.trim().strip_prefix('"')?.strip_suffix('"')?;
        Some(name.to_owned())
    };
    let name = field.name().map(ToOwned::to_owned);
    name.or_else(of_any_letters).unwrap_or_default()
}

async fn spool(content: &mut Content<'_, '_>, directory: &Path) -> Result<File, Trouble> {
    let Content { field, limits, .. } = content;
    let limits = *limits;
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
        check_length(name, value.len() + chunk.len()).map_err(Trouble::Mistake)?;
        value.extend(chunk);
    }
    String::from_utf8(value).map_err(|_| {
        let message = format!("the parameter `{name}` is not UTF-8 text");
        Trouble::Mistake(ApiError::parameter(name, message))
    })
}
