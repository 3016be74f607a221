//! A recording as a multipart/form-data request, read while it is sent.

use std::{
    io::{self, Cursor},
    os::unix::fs::FileTypeExt,
    path::Path,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Request,
    body::Frame,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT},
};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncRead, AsyncReadExt},
};

use crate::{client::Body, endpoint::Endpoint, error::Error, progress::Progress, stdin::Recording};

/// Bytes of the file in memory at a time.
const CHUNK: usize = 128 << 10;

/// Everything in a request except the recording itself.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    /// Address of the server.
    pub endpoint: &'a Endpoint,
    /// Path of the request's URL.
    pub page: &'a str,
    /// Names and values of the text fields.
    pub fields: &'a [(&'a str, &'a str)],
    /// Media type of the recording.
    pub media_type: &'a str,
    /// Name of the request, under which the service's statistics show it.
    pub label: &'a str,
}

impl Form<'_> {
    /// Makes the request that uploads `path` as the field `file`, after the text fields.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or its length is unknown.
    pub async fn of_file(&self, path: &Path, progress: &Progress) -> Result<Request<Body>, Error> {
        let (file, size) = open(path).await?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        let (boundary, head, tail) = self.around(&name.to_string_lossy());
        let total = head.len() as u64 + size + tail.len() as u64;
        let content = Cursor::new(head)
            .chain(file.take(size))
            .chain(Cursor::new(tail));
        progress.start(total);
        let body = StreamBody::new(frames(content, total, progress.clone()));
        let request = self.request(&boundary).header(CONTENT_LENGTH, total);
        request
            .body(body.boxed_unsync())
            .map_err(|error| Error::Http(error.to_string()))
    }

    /// Makes the request that uploads standard input as the field `file`, in chunks as it comes.
    ///
    /// # Errors
    ///
    /// A field cannot be sent.
    pub fn of_stdin(&self, stdin: Recording, progress: &Progress) -> Result<Request<Body>, Error> {
        let (boundary, head, tail) = self.around("stdin");
        progress.listen();
        let (during, after) = (progress.clone(), progress.clone());
        let content = stdin
            .pieces()
            .inspect_ok(move |piece| during.sent(piece.len() as u64, false));
        let tail = stream::once(async move {
            after.sent(0, true);
            Ok(tail.into())
        });
        let body = stream::iter([Ok(head.into())]).chain(content).chain(tail);
        let body = StreamBody::new(body.map_ok(Frame::data));
        self.request(&boundary)
            .body(body.boxed_unsync())
            .map_err(|error| Error::Http(error.to_string()))
    }

    fn request(&self, boundary: &str) -> hyper::http::request::Builder {
        Request::post(self.page)
            .header(HOST, self.endpoint.host())
            .header(USER_AGENT, concat!("sttctl/", env!("CARGO_PKG_VERSION")))
            .header("x-client-request-id", self.label)
            .header(
                CONTENT_TYPE,
                format!("multipart/form-data; boundary={boundary}"),
            )
    }

    /// The separator of the body's parts, and the bytes before and after the recording.
    fn around(&self, name: &str) -> (String, String, String) {
        let boundary = format!("sttctl-{}", uuid::Uuid::new_v4().simple());
        let head = head(&boundary, self, name);
        let tail = format!("\r\n--{boundary}--\r\n");
        (boundary, head, tail)
    }
}

async fn open(path: &Path) -> Result<(File, u64), Error> {
    // Without O_NONBLOCK, opening a named pipe without a writer would block here forever.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .await
        .map_err(Error::Read)?;
    let metadata = file.metadata().await.map_err(Error::Read)?;
    match metadata.file_type() {
        kind if kind.is_file() => Ok((file, metadata.len())),
        kind if kind.is_dir() => Err(Error::NotAFile("a directory")),
        kind if kind.is_fifo() => Err(Error::Pipe),
        _ => Err(Error::NotAFile("a device")),
    }
}

/// Everything before the file's own bytes. The text fields come first, so that a server can refuse
/// them before it has read the audio.
fn head(boundary: &str, form: &Form<'_>, file_name: &str) -> String {
    let mut head = String::new();
    for (name, value) in form.fields {
        head.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
    }
    head.push_str(&format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
         Content-Type: {}\r\n\r\n",
        quoted(file_name),
        form.media_type
    ));
    head
}

/// A file name inside quotes, percent-encoded as browsers do it for characters that would end the
/// quotes or the line. Other control characters do not belong in a header either, and some parsers
/// take a backslash for an escape. Characters beyond ASCII stay UTF-8.
fn quoted(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '"' | '\\' => quoted.push_str(&format!("%{:02X}", u32::from(c))),
            c if c.is_ascii_control() => quoted.push_str(&format!("%{:02X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted
}

/// Exactly `total` bytes of `content` in pieces, with memory for one piece at a time.
fn frames(
    content: impl AsyncRead + Send + Unpin + 'static,
    total: u64,
    progress: Progress,
) -> impl Stream<Item = Result<Frame<Bytes>, io::Error>> + Send {
    stream::try_unfold((content, total), move |(mut content, left)| {
        let progress = progress.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            let mut chunk = BytesMut::with_capacity(CHUNK);
            let count = content.read_buf(&mut chunk).await? as u64;
            // The server already knows the promised length.
            let Some(left) = left.checked_sub(count).filter(|_| count > 0) else {
                return Err(io::Error::other("it became shorter while it was sent"));
            };
            progress.sent(count, left == 0);
            Ok(Some((Frame::data(chunk.freeze()), (content, left))))
        }
    })
}
