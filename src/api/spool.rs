//! Stores an upload until it is complete: in a sealed memfd or an unlinked file, never on the heap.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, Write},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::isolation::sealed;

/// A recording that is still arriving.
#[derive(Debug)]
pub struct Spool {
    store: Store,
    size: u64,
    memory: u64,
    directory: PathBuf,
}

#[derive(Debug)]
enum Store {
    /// A memfd: it touches no disk, and a seal makes it unchangeable.
    Memory(File),
    /// An unlinked file, so that large recordings do not fill the memory.
    Disk(File),
}

impl Spool {
    /// Make an empty spool that keeps up to `memory` bytes in memory and moves to `directory`
    /// beyond that.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn new(memory: u64, directory: &Path) -> io::Result<Self> {
        Ok(Self {
            store: Store::Memory(sealed::unsealed(c"upload")?),
            size: 0,
            memory,
            directory: directory.into(),
        })
    }

    /// Bytes received so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Append `chunk`.
    ///
    /// # Errors
    /// The memory or the disk is full.
    pub async fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        let size = self.size + chunk.len() as u64;
        match &mut self.store {
            // Copying within memory takes less time than handing the chunk to another thread.
            Store::Memory(file) if size <= self.memory => file.write_all(&chunk)?,
            Store::Memory(file) => {
                let mut from = file.try_clone()?;
                let directory = self.directory.clone();
                self.store = Store::Disk(
                    blocking(move || {
                        let mut file = unlinked_file(&directory)?;
                        from.rewind()?;
                        io::copy(&mut from, &mut file)?;
                        file.write_all(&chunk)?;
                        Ok(file)
                    })
                    .await?,
                );
            }
            Store::Disk(file) => {
                let mut file = file.try_clone()?;
                blocking(move || file.write_all(&chunk)).await?;
            }
        }
        self.size = size;
        Ok(())
    }

    /// Return the complete recording: read-only, positioned at its start, and unchangeable by
    /// anybody.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn finish(self) -> io::Result<OwnedFd> {
        let file = match self.store {
            Store::Memory(file) => {
                sealed::seal(&file)?;
                file
            }
            Store::Disk(file) => file,
        };
        // Opens a new file description, without the right to write and with its own position.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(OpenOptions::new().read(true).open(path)?.into())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

fn unlinked_file(directory: &Path) -> io::Result<File> {
    tempfile::tempfile_in(directory).map_err(|error| {
        let place = directory.display();
        io::Error::new(
            error.kind(),
            format!("no upload can be spooled in {place}: {error}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    async fn spool(memory: u64, chunks: &[&[u8]]) -> (bool, File) {
        let mut spool = Spool::new(memory, &std::env::temp_dir()).unwrap();
        for chunk in chunks {
            spool.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        assert_eq!(spool.size(), chunks.concat().len() as u64);
        let on_disk = matches!(spool.store, Store::Disk(_));
        (on_disk, spool.finish().unwrap().into())
    }

    #[tokio::test]
    async fn what_is_spooled_comes_out_whole_and_cannot_be_changed() {
        for (memory, disk) in [(100, false), (9, false), (8, true), (0, true)] {
            let (on_disk, mut file) = spool(memory, &[b"abc", b"", b"def", b"ghi"]).await;
            assert_eq!(on_disk, disk, "with {memory} bytes of memory");
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "abcdefghi");
            assert!(file.write_all(b"x").is_err());
            assert!(file.set_len(1).is_err());
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let reopened = OpenOptions::new().write(true).open(path);
            // Root can open even an unlinked file for writing again; the seal also holds against
            // root.
            if !on_disk {
                assert!(reopened.is_err() || reopened.unwrap().write_all(b"x").is_err());
            }
        }
    }
}
