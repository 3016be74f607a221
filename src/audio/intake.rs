//! The bytes of a recording as they lie in its descriptor, and what happened to that on the way.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::FileType;

use super::AudioError;

/// How many bytes may be read between one decoded sample and the next: 40 s of video at 50 Mbit/s. It ends the
/// search for audio in what is only noise.
const SEARCH_BUDGET: u64 = 256 << 20;

/// How much of a pipe is passed over at once, in bytes.
const PIPE_PIECE: u64 = 4096;

/// What happened to the descriptor below the demuxer, which reports it in its own words or not at all.
#[derive(Debug, Default)]
pub(super) struct Watch {
    budget: AtomicU64,
    refused: AtomicBool,
    failure: OnceLock<io::Error>,
}

impl Watch {
    /// Audio was decoded: the search for the next starts from here.
    pub(super) fn progress(&self) {
        self.allow(SEARCH_BUDGET);
    }

    /// From now on so many bytes may be read.
    pub(super) fn allow(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::Relaxed);
    }

    /// A read is refused.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// A read was refused, because it was too long or because audio was searched for too long.
    pub(super) fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// The error of the descriptor itself, as an error to hand on.
    pub(super) fn failure(&self) -> Option<AudioError> {
        let error = self.failure.get()?;
        Some(AudioError::Read(match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::from(error.kind()),
        }))
    }

    pub(super) fn spend(&self, bytes: usize) {
        let left = self.budget.load(Ordering::Relaxed);
        self.allow(left.saturating_sub(bytes as u64));
    }

    pub(super) fn is_spent(&self) -> bool {
        self.budget.load(Ordering::Relaxed) == 0
    }
}

/// How long a recording is, in bytes; `None`: it is a pipe, and nobody knows.
///
/// # Errors
/// What the kernel says.
pub fn length(recording: &File) -> io::Result<Option<u64>> {
    // Not File::metadata, which asks by statx: a job's sandbox cannot tell that from a look at any file, and answers it
    // through a signal.
    let about = rustix::fs::fstat(recording)?;
    let is_file = FileType::from_raw_mode(about.st_mode).is_file();
    Ok(u64::try_from(about.st_size).ok().filter(|_| is_file))
}

/// The bytes as they lie in the descriptor, read from front to back.
pub(super) struct Intake {
    pub(super) file: Arc<File>,
    /// `None`: a pipe, which can neither be measured nor sought.
    pub(super) len: Option<u64>,
    pub(super) at: u64,
    pub(super) watch: Arc<Watch>,
}

impl Intake {
    pub(super) fn new(file: Arc<File>) -> Result<Self, AudioError> {
        Ok(Self {
            len: length(&file).map_err(AudioError::Read)?,
            file,
            at: 0,
            watch: Arc::default(),
        })
    }

    /// How far into the file the next read is, in bytes.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            // A regular file may be shared with other processes, and its offset with it: neither use nor move that.
            let result = match self.len {
                Some(len) => {
                    let room = usize::try_from(len.saturating_sub(self.at)).unwrap_or(usize::MAX);
                    let room = room.min(buf.len());
                    self.file.read_at(&mut buf[..room], self.at)
                }
                None => (&*self.file).read(buf),
            };
            match result {
                Ok(read) => {
                    self.at += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let kind = error.kind();
                    // Only the first failure is told; a second one adds nothing.
                    let _ = self.watch.failure.set(error);
                    return Err(kind.into());
                }
            }
        }
    }

    /// The next `count` bytes; fewer only at the end of the file. Allocates `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<Vec<u8>, AudioError> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match self.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => return Err(self.watch.failure().unwrap_or(AudioError::Read(error))),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Passes over `count` bytes; `false` when the file ends before.
    pub(super) fn skip(&mut self, mut count: u64) -> Result<bool, AudioError> {
        if let Some(len) = self.len {
            self.at = self.at.saturating_add(count);
            return Ok(self.at <= len);
        }
        while count > 0 {
            match self.take(count.min(PIPE_PIECE) as usize)?.len() as u64 {
                0 => return Ok(false),
                passed => count -= passed,
            }
        }
        Ok(true)
    }

    /// Whether more bytes follow; unknown for a pipe.
    pub(super) fn has_more(&self) -> Option<bool> {
        self.len.map(|len| self.at < len)
    }
}
