//! Reads the bytes of a recording from its descriptor, and records errors and limits on the way.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, ErrorKind, Read},
    mem,
    os::unix::fs::FileExt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rustix::fs::FileType;

use super::AudioError;

/// Number of bytes that may be read between two decoded samples: 40 s of video at 50 Mbit/s. It
/// ends the search for audio in noise.
const SEARCH_BUDGET: u64 = 256 << 20;

/// Bytes of a file that are read at once, since formats are told, and headers read, in small steps.
/// A system call costs as much as the copy of some 4 KiB.
const BLOCK: usize = 16 << 10;

/// Bytes of a pipe skipped at once.
const PIPE_PIECE: u64 = 4096;

/// Events at the descriptor. The demuxer above it reports them in its own words or not at all.
#[derive(Debug, Default)]
pub(super) struct Watch {
    budget: AtomicU64,
    refused: AtomicBool,
    failure: OnceLock<io::Error>,
}

impl Watch {
    /// Called when audio was decoded: the search for the next sample starts anew.
    pub(super) fn progress(&self) {
        self.allow(SEARCH_BUDGET);
    }

    /// Allow this many bytes to be read from now on.
    pub(super) fn allow(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::Relaxed);
    }

    /// Record that a read was refused.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// True if a read was refused, because it was too long or the search for audio took too long.
    pub(super) fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// The error of the descriptor itself, as an error for the caller.
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

/// Length of a recording in bytes; `None` for a pipe, whose length is unknown.
///
/// # Errors
/// The error of the system call.
pub fn length(recording: &File) -> io::Result<Option<u64>> {
    // Not File::metadata, which uses statx: a job's sandbox cannot distinguish such a call from one
    // about any file, and answers it through a signal.
    let about = rustix::fs::fstat(recording)?;
    let is_file = FileType::from_raw_mode(about.st_mode).is_file();
    Ok(u64::try_from(about.st_size).ok().filter(|_| is_file))
}

/// Reads the bytes of the descriptor from front to back.
pub(super) struct Intake {
    pub(super) file: Arc<File>,
    /// Length in bytes; `None` for a pipe, which cannot seek either.
    pub(super) len: Option<u64>,
    pub(super) at: u64,
    pub(super) watch: Arc<Watch>,
    /// Bytes of a pipe that were looked at, and are still to be read.
    seen: VecDeque<u8>,
    /// Bytes of a file, and the position of the first of them.
    block: (u64, Vec<u8>),
}

impl Intake {
    pub(super) fn new(file: Arc<File>) -> Result<Self, AudioError> {
        Ok(Self {
            len: length(&file).map_err(AudioError::Read)?,
            file,
            at: 0,
            watch: Arc::default(),
            seen: VecDeque::new(),
            block: (0, Vec::new()),
        })
    }

    /// The same file from `at` on, with a record of events of its own.
    pub(super) fn again(&self, at: u64) -> Self {
        Self {
            file: Arc::clone(&self.file),
            len: self.len,
            at,
            watch: Arc::default(),
            seen: VecDeque::new(),
            block: (0, Vec::new()),
        }
    }

    /// Position of the next read, in bytes.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            // Other processes may share a regular file and its offset: neither use nor move the
            // offset.
            let result = match self.len {
                Some(len) => {
                    let room = usize::try_from(len.saturating_sub(self.at)).unwrap_or(usize::MAX);
                    let room = room.min(buf.len());
                    self.read_file(&mut buf[..room])
                }
                None if !self.seen.is_empty() => self.seen.read(buf),
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
                    // Only the first failure is kept; a second one adds nothing.
                    let _ = self.watch.failure.set(error);
                    return Err(kind.into());
                }
            }
        }
    }

    /// Bytes of a regular file from the current position on.
    fn read_file(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.len() >= BLOCK {
            return self.file.read_at(buf, self.at);
        }
        let (start, block) = &mut self.block;
        let mut ahead = self.at.checked_sub(*start).map_or(0..0, |passed| {
            usize::try_from(passed)
                .unwrap_or(usize::MAX)
                .min(block.len())..block.len()
        });
        if ahead.is_empty() && !buf.is_empty() {
            let left = self.len.unwrap_or(u64::MAX).saturating_sub(self.at);
            block.resize(usize::try_from(left).unwrap_or(BLOCK).min(BLOCK), 0);
            // Nothing of the block counts until it was read.
            let result = self.file.read_at(block, self.at);
            block.truncate(*result.as_ref().unwrap_or(&0));
            *start = self.at;
            result?;
            ahead = 0..block.len();
        }
        let read = ahead.len().min(buf.len());
        buf[..read].copy_from_slice(&block[ahead][..read]);
        Ok(read)
    }

    /// Read the next `count` bytes; fewer only at the end of the file. Allocates `count` bytes.
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

    /// The next `count` bytes, which remain to be read. They are fewer only at the end of the file.
    /// Allocates `count` bytes.
    pub(super) fn peek(&mut self, count: usize) -> Result<Vec<u8>, AudioError> {
        let at = self.at;
        let bytes = self.take(count)?;
        self.at = at;
        if self.len.is_none() {
            // All that was seen before was taken just now, or the rest of it comes behind.
            let rest = mem::replace(&mut self.seen, bytes.iter().copied().collect());
            self.seen.extend(rest);
        }
        Ok(bytes)
    }

    /// The bytes that are left; `None` for a pipe.
    pub(super) fn left(&self) -> Option<u64> {
        self.len.map(|len| len.saturating_sub(self.at))
    }

    /// Skip `count` bytes; returns false if the file ends before.
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
}
