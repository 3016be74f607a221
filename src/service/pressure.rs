//! Memory pressure as reported by systemd (`MEMORY_PRESSURE_WATCH`,
//! <https://systemd.io/MEMORY_PRESSURE>).

use std::{
    env, fs,
    io::{self, ErrorKind, Write},
    os::unix::{
        fs::{FileTypeExt, OpenOptionsExt},
        net,
    },
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use nix::libc::O_NONBLOCK;
use tokio::net::{UnixStream, unix::pipe};

use crate::{events, isolation::PressureFile};

/// Interval of log messages; while pressure lasts, it is reported every two seconds.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Pause after each event: all spares are gone by then, and nothing else can be released.
const PAUSE: Duration = Duration::from_secs(1);

/// Most reads at once of data that nobody needs.
const CHUNKS: usize = 16;

/// The source of pressure events.
pub(super) struct Pressure {
    watch: Option<Watch>,
    /// Time before which the source is not checked again.
    not_before: Instant,
    logged: Option<Instant>,
    unlogged: u32,
}

enum Watch {
    /// A file of the kernel: ready with priority, never read.
    Kernel(PressureFile),
    /// A FIFO: anything that comes out of it means pressure.
    Fifo(pipe::Receiver),
    /// A stream socket: anything that comes out of it means pressure.
    Socket(UnixStream),
}

impl Pressure {
    /// Configured by the environment. Without the variable nothing is watched; if it cannot be
    /// used, that is logged.
    pub(super) fn from_environment() -> Self {
        let watch = env::var_os("MEMORY_PRESSURE_WATCH").and_then(|path| {
            let path = Path::new(&path);
            let first = env::var("MEMORY_PRESSURE_WRITE").ok();
            match open(path, first.as_deref()) {
                Ok(watch) => watch,
                Err(error) => {
                    let path = path.display();
                    tracing::warn!("memory pressure cannot be watched ({path}): {error}");
                    None
                }
            }
        });
        Self {
            watch,
            not_before: Instant::now(),
            logged: None,
            unlogged: 0,
        }
    }

    /// Wait until memory is scarce; forever if nothing reports it.
    pub(super) async fn told(&mut self) {
        tokio::time::sleep_until(self.not_before.into()).await;
        if let Some(watch) = &mut self.watch {
            match watch.told().await {
                Ok(()) => {
                    self.not_before = Instant::now() + PAUSE;
                    return;
                }
                Err(error) => {
                    tracing::warn!("memory pressure is not watched any more: {error}");
                    self.watch = None;
                }
            }
        }
        std::future::pending().await
    }

    /// Log the pressure, but not each time.
    pub(super) fn log(&mut self) {
        self.unlogged += 1;
        if self
            .logged
            .is_none_or(|last| last.elapsed() >= LOG_INTERVAL)
        {
            tracing::warn!(
                target: events::MEMORY_PRESSURE,
                events = self.unlogged,
                "memory is scarce: spare jobs are let go, and none are kept for a while"
            );
            self.logged = Some(Instant::now());
            self.unlogged = 0;
        }
    }
}

impl Watch {
    async fn told(&self) -> io::Result<()> {
        match self {
            Self::Kernel(file) => file.told().await,
            Self::Fifo(pipe) => loop {
                pipe.readable().await?;
                if discard(|buffer| pipe.try_read(buffer))? {
                    return Ok(());
                }
            },
            Self::Socket(stream) => loop {
                stream.readable().await?;
                if discard(|buffer| stream.try_read(buffer))? {
                    return Ok(());
                }
            },
        }
    }
}

/// Discard pending data, in a bounded number of reads because a writer may never stop. Returns true
/// if there was any.
fn discard(mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<bool> {
    for chunk in 0..CHUNKS {
        match read(&mut [0; 4096]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(chunk > 0),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Open `path`, write `first` (Base64) to it, and watch it; `None` if systemd says that nothing
/// should be watched.
fn open(path: &Path, first: Option<&str>) -> io::Result<Option<Watch>> {
    if path == Path::new("/dev/null") {
        return Ok(None);
    }
    if !path.is_absolute() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "the path is not absolute",
        ));
    }
    let first = match first {
        Some(text) => BASE64_STANDARD
            .decode(text)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?,
        None => Vec::new(),
    };
    let kind = fs::metadata(path)?.file_type();
    if kind.is_socket() {
        let mut stream = net::UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        stream.write_all(&first)?;
        return Ok(Some(Watch::Socket(UnixStream::from_std(stream)?)));
    }
    if !kind.is_file() && !kind.is_fifo() {
        let what = "it is neither a file nor a FIFO nor a socket";
        return Err(io::Error::new(ErrorKind::InvalidInput, what));
    }
    let mut options = fs::OpenOptions::new();
    // Open for writing, too: the kernel takes the threshold that way, and a FIFO then does not end
    // when its last writer goes.
    let mut file = options
        .read(true)
        .write(true)
        .custom_flags(O_NONBLOCK)
        .open(path)?;
    file.write_all(&first)?;
    Ok(Some(if kind.is_file() {
        Watch::Kernel(PressureFile::watch(file)?)
    } else {
        Watch::Fifo(pipe::Receiver::from_file(file)?)
    }))
}
