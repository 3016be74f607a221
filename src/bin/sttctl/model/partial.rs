//! A file that is being downloaded: hidden in the models directory until it is whole, and there
//! again when the download goes on.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::{error::Error, place::EXTENSION};

/// Bytes read at once.
const BLOCK: usize = 1 << 20;

/// Longest entity tag that is kept.
const MAX_TAG: u64 = 256;

/// The path of the file with this SHA-256.
pub fn path(directory: &Path, sum: &str) -> PathBuf {
    directory.join(format!(".pull-{sum}.{EXTENSION}"))
}

/// A file that has come in part, and the sum of that part.
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
    directory: PathBuf,
    file: tokio::fs::File,
    /// Bytes that have come.
    length: u64,
    hash: Sha256,
}

impl Partial {
    /// Opens the file with this SHA-256, or makes it. Nobody else can download it meanwhile.
    ///
    /// # Errors
    ///
    /// Another process has it, or the directory cannot be written.
    pub async fn open(directory: &Path, sum: &str) -> Result<Partial, Error> {
        let path = path(directory, sum);
        let unwritable = Error::in_directory(directory);
        let file = open(&path).map_err(&unwritable)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| Error::Busy)?;
        // Its former owner may have given it its name just now.
        let same = fs::symlink_metadata(&path).is_ok_and(|there| {
            file.metadata()
                .is_ok_and(|own| own.ino() == there.ino() && own.dev() == there.dev())
        });
        if !same {
            return Err(Error::Busy);
        }
        let mut partial = Partial {
            path,
            directory: directory.into(),
            file: tokio::fs::File::from_std(file),
            length: 0,
            hash: Sha256::new(),
        };
        partial.read_again().await.map_err(unwritable)?;
        Ok(partial)
    }

    /// Computes the sum of what is there.
    async fn read_again(&mut self) -> io::Result<()> {
        let mut block = vec![0; BLOCK];
        loop {
            let length = self.file.read(&mut block).await?;
            let Some(read @ [_, ..]) = block.get(..length) else {
                return Ok(());
            };
            self.hash.update(read);
            self.length += length as u64;
        }
    }

    /// Bytes that have come.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The SHA-256 of what has come, in hexadecimal.
    pub fn sum(&self) -> String {
        let sum = self.hash.clone().finalize();
        sum.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    ///
    /// The directory cannot be written.
    pub async fn add(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all(bytes).await;
        // An error of the last write shows here.
        let written = match written {
            Ok(()) => self.file.flush().await,
            error => error,
        };
        written.map_err(Error::in_directory(&self.directory))?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Drops all that has come.
    ///
    /// # Errors
    ///
    /// The directory cannot be written.
    pub async fn restart(&mut self) -> Result<(), Error> {
        let _ = fs::remove_file(self.tag_path());
        let emptied = match self.file.set_len(0).await {
            Ok(()) => self.file.rewind().await.map(drop),
            error => error,
        };
        emptied.map_err(Error::in_directory(&self.directory))?;
        (self.length, self.hash) = (0, Sha256::new());
        Ok(())
    }

    /// The server's entity tag of the file of which this is a part.
    pub fn tag(&self) -> Option<String> {
        let file = plain(OpenOptions::new().read(true))
            .open(self.tag_path())
            .ok()?;
        let mut tag = String::new();
        io::Read::read_to_string(&mut io::Read::take(file, MAX_TAG), &mut tag).ok()?;
        Some(tag)
    }

    /// Remembers the server's entity tag.
    pub fn set_tag(&self, tag: &str) {
        let path = self.tag_path();
        let _ = fs::remove_file(&path);
        if tag.len() as u64 <= MAX_TAG {
            // Without a tag, the sum of the whole file tells whether the parts fit.
            let file = plain(OpenOptions::new().write(true).create_new(true)).open(path);
            let _ = file.and_then(|mut file| io::Write::write_all(&mut file, tag.as_bytes()));
        }
    }

    fn tag_path(&self) -> PathBuf {
        self.path.with_extension("etag")
    }

    /// Makes the file readable for everybody and its bytes safe, and gives its path.
    ///
    /// # Errors
    ///
    /// The directory cannot be written.
    pub async fn finish(&self) -> Result<&Path, Error> {
        let _ = fs::remove_file(self.tag_path());
        let readable = self
            .file
            .set_permissions(Permissions::from_mode(0o644))
            .await;
        let safe = match readable {
            Ok(()) => self.file.sync_all().await,
            error => error,
        };
        safe.map_err(Error::in_directory(&self.directory))?;
        Ok(&self.path)
    }

    /// Removes the file.
    pub fn discard(self) {
        let _ = fs::remove_file(self.tag_path());
        let _ = fs::remove_file(&self.path);
    }
}

/// Options that neither follow a link nor wait for a pipe: the directory may belong to another user
/// than the one who downloads, who is often root.
fn plain(options: &mut OpenOptions) -> &mut OpenOptions {
    options
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
}

/// Opens the file, or makes it anew if somebody else put something there.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    plain(options.read(true).write(true));
    if let Ok(file) = options.open(path) {
        let own = file.metadata()?;
        if own.is_file() && own.nlink() == 1 && own.uid() == nix::unistd::geteuid().as_raw() {
            return Ok(file);
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    options.create_new(true).open(path)
}
