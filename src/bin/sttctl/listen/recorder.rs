//! Samples from the microphone, through a program that every desktop has, or from standard input.

use std::{
    env,
    io::{self, IsTerminal as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    pin::Pin,
    process::Stdio,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};

use crate::error::Error;

/// Bytes of 50 ms: 16 bits, mono, 24 kHz.
const PIECE: usize = 2_400;

/// Programs that record, the first that is installed being used, and their arguments.
const PROGRAMS: [(&str, &[&str]); 2] = [
    (
        "pw-record",
        &[
            "--rate",
            "24000",
            "--channels",
            "1",
            "--format",
            "s16",
            "--raw",
            "-",
        ],
    ),
    (
        "arecord",
        &["-q", "-t", "raw", "-f", "S16_LE", "-r", "24000", "-c", "1"],
    ),
];

/// A source of samples: signed, 16 bits, mono, 24 kHz.
pub(super) struct Recorder {
    source: Pin<Box<dyn AsyncRead>>,
    program: Option<(Child, &'static str)>,
    has_heard: bool,
}

impl Recorder {
    /// Begin to record. With `input` (`-`), the samples are standard input.
    ///
    /// # Errors
    /// No program that records is installed, or it cannot be started.
    pub(super) fn start(input: Option<&Path>) -> Result<Self, Error> {
        if input.is_some() {
            let stdin = io::stdin();
            if stdin.is_terminal() {
                return Err(Error::Keyboard);
            }
            let own = stdin.as_fd().try_clone_to_owned().map_err(Error::Read)?;
            return Ok(Self {
                source: Box::pin(tokio::fs::File::from_std(own.into())),
                program: None,
                has_heard: false,
            });
        }
        let installed = |(name, _): &&(&str, &[&str])| find(name).is_some();
        let (name, arguments) = PROGRAMS.iter().find(installed).ok_or(Error::NoRecorder)?;
        let mut program = Command::new(name)
            .args(*arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Ctrl-C is for us: we still want its last samples.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::Read)?;
        let stdout = program.stdout.take();
        let source = stdout.ok_or_else(|| Error::Read(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self {
            source: Box::pin(source),
            program: Some((program, name)),
            has_heard: false,
        })
    }

    /// The next samples; `None` at the end. Cancel-safe: a read gives bytes or nothing.
    ///
    /// # Errors
    /// They cannot be read, or the program that records has failed.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut piece = vec![0; PIECE];
        let length = self.source.read(&mut piece).await.map_err(Error::Read)?;
        if length == 0 {
            if !self.has_heard {
                return Err(Error::Nothing);
            }
            if let Some((program, name)) = &mut self.program {
                let status = program.wait().await.map_err(Error::Read)?;
                if !status.success() {
                    return Err(Error::Recorder { name, status });
                }
            }
            return Ok(None);
        }
        self.has_heard = true;
        piece.truncate(length);
        Ok(Some(piece))
    }

    /// Stop recording.
    pub(super) fn stop(&mut self) {
        if let Some((program, _)) = &mut self.program {
            // If it has ended already, there is nothing to stop.
            let _ = program.start_kill();
        }
    }
}

/// The program `name` in a folder of `PATH`.
fn find(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}
