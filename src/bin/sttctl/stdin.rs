//! A recording from standard input, perhaps from a microphone. It ends when its writer ends it, or
//! soon after Ctrl-C.

use std::{
    fs::File as StdFile,
    io::{self, IsTerminal},
    os::fd::AsFd,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    Stream, StreamExt,
    future::{self, Either},
    stream,
};
use tokio::{
    fs::File,
    io::AsyncReadExt,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::error::Error;

/// Bytes in memory at a time.
const CHUNK: usize = 128 << 10;

/// After Ctrl-C, longest wait for the end of the input. The terminal sends Ctrl-C to the recorder,
/// too, which then writes its last samples. A writer that ignores it is not waited for any longer.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Meaning of Ctrl-C: while there is a recording it ends the recording, otherwise the program.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    recording: Arc<AtomicBool>,
}

impl Interrupt {
    /// Waits for a Ctrl-C that ends the program.
    ///
    /// # Errors
    ///
    /// The signal cannot be caught.
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

/// A recording whose first bytes have arrived.
pub struct Recording {
    first: Bytes,
    rest: File,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    open: Open,
}

/// While this lives, Ctrl-C ends the recording. If the service refuses the request, it is dropped
/// unread.
struct Open(Interrupt);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.recording.store(false, Ordering::Relaxed);
    }
}

impl Recording {
    /// Waits for the first bytes. A service would not wait that long.
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

    /// The bytes as they arrive.
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

/// Reads the available bytes, once there are some; empty at the end.
async fn read(file: &mut File) -> io::Result<Bytes> {
    let mut piece = BytesMut::with_capacity(CHUNK);
    file.read_buf(&mut piece).await?;
    Ok(piece.freeze())
}
