//! Gets one file over HTTPS, as often as it takes, and never more of it than it should have.

use std::{
    error::Error as _,
    io,
    time::{Duration, Instant},
};

use reqwest::{
    Client, Response, StatusCode, Url,
    header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, RANGE},
};
use stt_isolated::catalogue::ModelFile;

use super::{address, error::Error, partial::Partial};

/// Longest time until a connection stands, TLS included.
const CONNECT: Duration = Duration::from_secs(20);

/// Connections in a row over which nothing came.
const TRIES: u32 = 3;

/// Connections in all.
const CONNECTIONS: u32 = 1000;

/// Pause before the second of these connections; it doubles each time.
const PAUSE: Duration = Duration::from_millis(500);

/// Fewest bytes that must come in the time of `--timeout`.
const TRICKLE: u64 = 1 << 10;

/// Gets the rest of `file` into `partial`. A connection that breaks is made again; `timeout` is the
/// longest time for 1 KiB. `progress` is told the bytes that are there.
///
/// # Errors
///
/// The file cannot be had, or is another one. If what came is useless, `partial` is empty.
pub async fn fetch(
    file: &ModelFile,
    partial: &mut Partial,
    timeout: Duration,
    mut progress: impl FnMut(Event<'_>),
) -> Result<(), Error> {
    let mut source = Source::new(file, timeout)?;
    let (mut tries, mut best) = (0, partial.length());
    for _ in 0..CONNECTIONS {
        if partial.length() > file.size {
            partial.restart().await?;
        }
        if partial.length() == file.size {
            let found = partial.sum();
            if found == file.sha256.as_str() {
                return Ok(());
            }
            partial.restart().await?;
            if !source.old {
                return Err(source.wrong_sum(found));
            }
            // The bytes that an earlier run left may be to blame.
            source.old = false;
            progress(Event::Note(
                "its parts do not fit together: all is downloaded again",
            ));
        }
        let broken = match source.attempt(partial, &mut progress).await {
            Ok(()) => continue,
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Broken(reason)) => reason,
        };
        // A server that begins again each time makes no progress.
        if partial.length() > best {
            (tries, best) = (0, partial.length());
        } else {
            tries += 1;
        }
        if tries == TRIES || !source.reached {
            return Err(source.give_up(broken, partial.length()));
        }
        progress(Event::Note(&format!("{broken}: trying again")));
        tokio::time::sleep(PAUSE * 2_u32.pow(tries)).await;
    }
    let reason = format!("the connection broke {CONNECTIONS} times");
    Err(source.give_up(reason, partial.length()))
}

/// News about a download.
#[derive(Debug)]
pub enum Event<'a> {
    /// So many bytes are there.
    Have(u64),
    /// A line for the user.
    Note(&'a str),
}

/// Reasons why one connection did not bring the rest.
enum Failure {
    /// Another connection may do better.
    Broken(String),
    /// No other connection would.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(error)
    }
}

/// One file on a server.
struct Source<'a> {
    file: &'a ModelFile,
    client: Client,
    url: Url,
    timeout: Duration,
    /// True as long as some bytes may be of an earlier run.
    old: bool,
    /// True if the server was ever reached in this run.
    reached: bool,
}

impl Source<'_> {
    fn new(file: &ModelFile, timeout: Duration) -> Result<Source<'_>, Error> {
        let url = address::of(file.url.as_str())?;
        // Another one can only be there already if another part of this program set it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("sttctl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(timeout)
            .redirect(address::policy(&url))
            .build()
            .map_err(|error| Error::Client(cause(&error)))?;
        Ok(Source {
            file,
            client,
            url,
            timeout,
            old: true,
            reached: false,
        })
    }

    /// The address without anybody's password.
    fn shown(&self) -> String {
        let mut url = self.url.clone();
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.into()
    }

    fn wrong_sum(&self, found: String) -> Error {
        Error::WrongSum {
            url: self.shown(),
            found,
            expected: self.file.sha256.to_string(),
        }
    }

    fn wrong_size(&self, found: Option<u64>) -> Error {
        Error::Size {
            url: self.shown(),
            found,
            expected: self.file.size,
        }
    }

    fn give_up(&self, reason: String, have: u64) -> Error {
        let url = self.shown();
        if self.reached {
            Error::Broken {
                url,
                reason,
                have,
                all: self.file.size,
            }
        } else {
            Error::Unreachable { url, reason }
        }
    }

    /// Asks for the rest and adds what comes.
    async fn attempt(
        &mut self,
        partial: &mut Partial,
        progress: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Failure> {
        let response = self.ask(partial).await?;
        self.reached = true;
        self.check(&response, partial).await?;
        progress(Event::Have(partial.length()));
        self.receive(response, partial, progress).await
    }

    async fn ask(&self, partial: &Partial) -> Result<Response, Failure> {
        let request = self.client.get(self.url.clone());
        let mut request = request.header(ACCEPT_ENCODING, "identity");
        if partial.length() > 0 {
            request = request.header(RANGE, format!("bytes={}-", partial.length()));
            if let Some(tag) = partial.tag() {
                request = request.header(IF_RANGE, tag);
            }
        }
        request.send().await.map_err(|error| {
            let reason = cause(&error);
            match error.is_redirect() {
                true => Failure::Final(Error::Redirect {
                    url: self.shown(),
                    reason,
                }),
                false => Failure::Broken(self.timed_out(&error).unwrap_or(reason)),
            }
        })
    }

    fn timed_out(&self, error: &reqwest::Error) -> Option<String> {
        let stalled = format!(
            "nothing came for {}",
            humantime::format_duration(self.timeout)
        );
        (error.is_timeout() && !error.is_connect()).then_some(stalled)
    }

    /// Looks whether the answer is the rest of the file, or all of it.
    async fn check(&mut self, response: &Response, partial: &mut Partial) -> Result<(), Failure> {
        match response.status() {
            StatusCode::OK => {
                if partial.length() > 0 {
                    partial.restart().await?;
                }
                self.old = false;
                match response.content_length() {
                    Some(length) if length != self.file.size => {
                        return Err(self.wrong_size(Some(length)).into());
                    }
                    _ => {}
                }
                let tag = response
                    .headers()
                    .get(ETAG)
                    .and_then(|tag| tag.to_str().ok());
                if let Some(tag) = tag.filter(|tag| tag.starts_with('"')) {
                    partial.set_tag(tag);
                }
                Ok(())
            }
            StatusCode::PARTIAL_CONTENT if partial.length() > 0 => {
                let (start, all) = range(response.headers()).unwrap_or((0, None));
                if all.is_some_and(|all| all != self.file.size) {
                    partial.restart().await?;
                    return Err(self.wrong_size(all).into());
                }
                if start == partial.length() {
                    return Ok(());
                }
                partial.restart().await?;
                Err(Failure::Broken(
                    "the server sent another part than the one asked for".into(),
                ))
            }
            StatusCode::RANGE_NOT_SATISFIABLE if partial.length() > 0 => {
                partial.restart().await?;
                Err(Failure::Broken("the server does not have the rest".into()))
            }
            status => Err(Error::Status {
                url: self.shown(),
                status,
            }
            .into()),
        }
    }

    /// Adds what comes, up to the size of the file.
    async fn receive(
        &self,
        mut response: Response,
        partial: &mut Partial,
        progress: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Failure> {
        let (mut since, mut come) = (Instant::now(), 0);
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) if partial.length() == self.file.size => return Ok(()),
                Ok(None) => return Err(Failure::Broken("the connection ended too early".into())),
                Err(error) => {
                    let reason = self.timed_out(&error).unwrap_or_else(|| cause(&error));
                    return Err(Failure::Broken(reason));
                }
            };
            let length = chunk.len() as u64;
            if length > self.file.size - partial.length() {
                partial.restart().await?;
                return Err(self.wrong_size(None).into());
            }
            partial.add(&chunk).await?;
            progress(Event::Have(partial.length()));
            come += length;
            if come >= TRICKLE {
                (since, come) = (Instant::now(), 0);
            } else if since.elapsed() > self.timeout && partial.length() < self.file.size {
                let time = humantime::format_duration(self.timeout);
                return Err(Failure::Broken(format!("only {come} bytes came in {time}")));
            }
        }
    }
}

/// First byte and whole length of `Content-Range: bytes 5-9/10`.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (part, all) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = part.split_once('-')?;
    Some((start.trim().parse().ok()?, all.trim().parse().ok()))
}

/// The reason at the bottom, which says more than the words above it.
fn cause(error: &reqwest::Error) -> String {
    let mut reason = error.source();
    let mut text = None;
    while let Some(deeper) = reason {
        // Its own words are about lengths of messages.
        let is_cut_off = (deeper.downcast_ref::<io::Error>())
            .is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
        text = Some(match is_cut_off {
            true => "the connection was cut off".into(),
            false => deeper.to_string(),
        });
        reason = deeper.source();
    }
    text.unwrap_or_else(|| error.to_string())
}
