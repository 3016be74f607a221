//! A recording that comes through standard input, perhaps from a microphone: it is over when its writer says so, or soon
//! after Ctrl-C.

use std::fs::File as StdFile;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{self, Either};
use futures_util::{Stream, StreamExt, stream};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Error;

/// How much is in memory at a time.
const CHUNK: usize = 128 << 10;

/// The terminal sends Ctrl-C to the recorder, too, whose last samples are still to come. A writer that does not heed it is
/// waited for no longer.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What Ctrl-C means: the end of the recording while there is one, and of the program otherwise.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    recording: Arc<AtomicBool>,
}

impl Interrupt {
    /// Ends when Ctrl-C is to end the program.
    ///
    /// # Errors
    ///
    /// The signal cannot be had.
    pub async fn given(&self) -> io::Result<()> {
        let mut interrupts = interrupts()?;
        while interrupts.recv().await.is_some() {
            if !self.recording.swap(false, Ordering::Relaxed) {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn interrupts() -> io::Result<Signal> {
    signal(SignalKind::interrupt())
}

/// A recording whose first bytes are there.
pub struct Recording {
    first: Bytes,
    rest: File,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    open: Open,
}

/// As long as this lives, Ctrl-C ends the recording. A service that refuses drops it unread.
struct Open(Interrupt);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.recording.store(false, Ordering::Relaxed);
    }
}

impl Recording {
    /// Waits for the first bytes, for which a service would not wait as long.
    ///
    /// # Errors
    ///
    /// Standard input is a terminal, cannot be read, or ends at once.
    pub async fn begin(interrupt: &Interrupt) -> Result<Recording, Error> {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            return Err(Error::Keyboard);
        }
        let descriptor = stdin.as_fd().try_clone_to_owned().map_err(Error::Read)?;
        let mut rest = File::from_std(StdFile::from(descriptor));
        let first = read(&mut rest).await.map_err(Error::Read)?;
        if first.is_empty() {
            return Err(Error::Nothing);
        }
        let mut interrupts = interrupts().map_err(Error::Read)?;
        interrupt.recording.store(true, Ordering::Relaxed);
        let open = Open(interrupt.clone());
        let over = async move {
            interrupts.recv().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        Ok(Recording {
            first,
            rest,
            over: Box::pin(over),
            open,
        })
    }

    /// The bytes as they come.
    pub fn pieces(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        let first = stream::iter([Ok(self.first)]);
        let state = (self.rest, self.over, self.open);
        first.chain(stream::try_unfold(
            state,
            |(mut rest, mut over, open)| async move {
                let piece = match future::select(Box::pin(read(&mut rest)), &mut over).await {
                    Either::Left((piece, _)) => piece?,
                    Either::Right(((), _)) => Bytes::new(),
                };
                Ok((!piece.is_empty()).then_some((piece, (rest, over, open))))
            },
        ))
    }
}

/// What is there, once there is something; nothing at the end.
async fn read(file: &mut File) -> io::Result<Bytes> {
    let mut piece = BytesMut::with_capacity(CHUNK);
    file.read_buf(&mut piece).await?;
    Ok(piece.freeze())
}
