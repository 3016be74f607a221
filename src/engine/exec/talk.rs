//! The pipes to and from a program. No function here waits for one of them alone.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::protocol::{Answer, MAX_LINE, parse, quote};
use crate::isolation::{How, Program};

/// Bytes that are read at once: the capacity of a pipe (pipe(7)).
const CHUNK: usize = 64 * 1024;

/// How long a program may go on after it has closed its stdout.
const PATIENCE: u16 = 2000;

/// Bytes of its stderr that are kept for messages, from the end.
const MAX_TAIL: usize = 1024;

/// The next thing that happens in a conversation.
#[derive(Debug)]
pub(super) enum Event {
    /// The program has said this.
    Said(Answer),
    /// The program has ended, and everything that it said was read.
    Ended(How),
    /// There is room in a pipe, and data was written into it.
    Room,
    /// The other descriptor can be read.
    Other,
}

/// A running program, with the pipes to it.
#[derive(Debug)]
pub(super) struct Talk {
    program: Program,
    /// Bytes from its stdout that do not make a whole line yet.
    heard: Vec<u8>,
    /// Number of these bytes that were searched for the end of a line.
    searched: usize,
    /// How the program ended, if it has.
    end: Option<How>,
    /// When its stdout was found closed.
    closed: Option<Instant>,
    /// The end of its stderr.
    tail: Vec<u8>,
    /// Data that must still be written to its stdin, and to its audio pipe.
    request: Outflow,
    audio: Outflow,
}

/// Bytes on their way into a pipe.
#[derive(Debug, Default)]
struct Outflow {
    bytes: Vec<u8>,
    written: usize,
}

impl Outflow {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// Write as much as there is room for; whether the program still reads.
    fn push(&mut self, pipe: &mut File) -> io::Result<bool> {
        while !self.is_empty() {
            match pipe.write(&self.bytes[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => break,
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::BrokenPipe => return Ok(false),
                    _ => return Err(error),
                },
            }
        }
        Ok(true)
    }
}

impl Talk {
    pub(super) fn new(program: Program) -> Self {
        Self {
            program,
            heard: Vec::new(),
            searched: 0,
            end: None,
            closed: None,
            tail: Vec::new(),
            request: Outflow::default(),
            audio: Outflow::default(),
        }
    }

    /// Write this to its stdin, and then close its stdin.
    ///
    /// # Errors
    /// It cannot be written to.
    pub(super) fn ask(&mut self, request: Vec<u8>) -> Result<(), String> {
        self.request = Outflow {
            bytes: request,
            written: 0,
        };
        // This must come before the wait for audio, which may still be on its way.
        self.write()
    }

    /// Whether it has got its request.
    pub(super) fn is_asked(&self) -> bool {
        !self.request.bytes.is_empty()
    }

    /// Whether it reads audio and has taken everything that there was.
    pub(super) fn wants_audio(&self) -> bool {
        self.program.audio.is_some() && self.audio.is_empty()
    }

    /// Give it more audio, which `fill` writes. If `fill` gives `false`, that was all.
    pub(super) fn give<E>(
        &mut self,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<(), E> {
        self.audio.bytes.clear();
        self.audio.written = 0;
        if !fill(&mut self.audio.bytes)? {
            self.program.audio = None;
        }
        Ok(())
    }

    /// Write as much as the pipes have room for.
    fn write(&mut self) -> Result<(), String> {
        let Program { stdin, audio, .. } = &mut self.program;
        let flows = [(stdin, &mut self.request), (audio, &mut self.audio)];
        for (pipe, flow) in flows {
            let Some(open) = pipe else { continue };
            let reads = flow.push(open);
            if !reads.map_err(|error| format!("it cannot be written to: {error}"))? {
                *pipe = None;
            }
        }
        if self.is_asked() && self.request.is_empty() {
            self.program.stdin = None;
        }
        Ok(())
    }

    /// Wait for the next event. `other` is watched, too, but the program comes first.
    ///
    /// # Errors
    /// The program broke the protocol.
    pub(super) fn next(&mut self, other: Option<BorrowedFd<'_>>) -> Result<Event, String> {
        loop {
            if let Some(line) = self.line()? {
                return parse(&line).map(Event::Said);
            }
            if let (Some(how), None) = (self.end, &self.program.stdout) {
                return Ok(Event::Ended(how));
            }
            if self.program.stdout.is_none() {
                let since = *self.closed.get_or_insert_with(Instant::now);
                if since.elapsed() >= Duration::from_millis(PATIENCE.into()) {
                    return Err("it closed its stdout without a last word, and went on".into());
                }
            }
            self.write()?;
            let ready = self.wait(other)?;
            if ready.stderr {
                self.relay();
            }
            if ready.stdout {
                self.hear()?;
            } else if ready.ended {
                // Another process that still holds the other end of its stdout is ignored.
                self.program.stdout = None;
            }
            if ready.ended && self.end.is_none() {
                let end = self.program.ended();
                self.end = end.map_err(|error| format!("its end is unknown: {error}"))?;
            }
            if ready.ended || ready.stdout {
                continue;
            }
            if ready.room {
                return Ok(Event::Room);
            }
            if ready.other {
                return Ok(Event::Other);
            }
        }
    }

    fn wait(&self, other: Option<BorrowedFd<'_>>) -> Result<Ready, String> {
        let Program {
            stdin,
            audio,
            stdout,
            stderr,
            ..
        } = &self.program;
        let (input, output) = (PollFlags::POLLIN, PollFlags::POLLOUT);
        let pending = |pipe: &'_ Option<File>, flow: &Outflow| pipe.is_some() && !flow.is_empty();
        let process = self.end.is_none().then(|| self.program.as_fd());
        let audio_pending = pending(audio, &self.audio);
        let stdin_pending = pending(stdin, &self.request);
        let watched = [
            (stdout.as_ref().map(File::as_fd), input),
            (stderr.as_ref().map(File::as_fd), input),
            (process, input),
            (
                stdin.as_ref().filter(|_| stdin_pending).map(File::as_fd),
                output,
            ),
            (
                audio.as_ref().filter(|_| audio_pending).map(File::as_fd),
                output,
            ),
            (other, input),
        ];
        let mut fds = Vec::with_capacity(watched.len());
        let mut places = [None; 6];
        for ((fd, flags), place) in watched.into_iter().zip(&mut places) {
            if let Some(fd) = fd {
                *place = Some(fds.len());
                fds.push(PollFd::new(fd, flags));
            }
        }
        let timeout = match (self.end, stdout) {
            // Everything that was said is already there.
            (Some(_), _) => PollTimeout::ZERO,
            // A caller that wants more audio must not be kept waiting, so audio is fetched if there
            // is nothing else to do.
            _ if self.wants_more() => PollTimeout::ZERO,
            (None, None) => PollTimeout::from(PATIENCE),
            (None, Some(_)) => PollTimeout::NONE,
        };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(format!("it cannot be waited for: {error}")),
        }
        let is_ready = |place: Option<usize>| {
            let events = place.and_then(|place| fds.get(place)?.revents());
            events.is_some_and(|events| !events.is_empty())
        };
        let [stdout, stderr, process, stdin, audio, other] = places.map(is_ready);
        Ok(Ready {
            stdout,
            stderr,
            ended: process || self.end.is_some(),
            room: stdin || audio || self.wants_more(),
            other,
        })
    }

    /// Whether the program takes audio that was not fetched yet. It never does before it was asked.
    fn wants_more(&self) -> bool {
        self.is_asked() && self.wants_audio()
    }

    /// The next whole line from its stdout, without the line's end.
    fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        let end = self.heard[self.searched..].iter().position(|b| *b == b'\n');
        let Some(end) = end.map(|end| end + self.searched) else {
            self.searched = self.heard.len();
            if self.searched > MAX_LINE {
                return Err(format!(
                    "a line of its stdout is longer than {MAX_LINE} bytes"
                ));
            }
            return Ok(None);
        };
        if end > MAX_LINE {
            return Err(format!(
                "a line of its stdout is longer than {MAX_LINE} bytes"
            ));
        }
        let mut line: Vec<u8> = self.heard.drain(..=end).collect();
        self.searched = 0;
        line.pop();
        Ok(Some(line))
    }

    fn hear(&mut self) -> Result<(), String> {
        let Some(stdout) = &mut self.program.stdout else {
            return Ok(());
        };
        let mut chunk = vec![0; CHUNK];
        match stdout.read(&mut chunk) {
            Ok(0) => self.program.stdout = None,
            Ok(length) => self.heard.extend_from_slice(&chunk[..length]),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                _ => return Err(format!("its stdout cannot be read: {error}")),
            },
        }
        Ok(())
    }

    /// Copy its stderr to our own, as much as that has room for. The rest is lost, and nobody
    /// waits.
    fn relay(&mut self) {
        let Some(stderr) = &mut self.program.stderr else {
            return;
        };
        let mut chunk = vec![0; CHUNK];
        match stderr.read(&mut chunk) {
            Ok(length @ 1..) => {
                let words = &chunk[..length];
                let _ = io::stderr().write(words);
                self.tail.extend_from_slice(words);
                let surplus = self.tail.len().saturating_sub(MAX_TAIL);
                self.tail.drain(..surplus);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => self.program.stderr = None,
        }
    }

    /// The last line that it wrote to stderr, if there is one, as the end of a message.
    pub(super) fn last_words(&mut self) -> String {
        // The program wrote it before its end, so it is already in the pipe.
        self.relay();
        let text = String::from_utf8_lossy(&self.tail);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        last.map(|line| format!(": {}", quote(line.trim())))
            .unwrap_or_default()
    }
}

/// The operations that are possible without waiting.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // one for each descriptor
struct Ready {
    stdout: bool,
    stderr: bool,
    ended: bool,
    room: bool,
    other: bool,
}
