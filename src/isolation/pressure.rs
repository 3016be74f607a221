//! Waits for the kernel to report that memory is scarce, through a file of pressure stall
//! information.
#![allow(unsafe_code)]

use std::{fs::File, io};

use tokio::io::{Interest, unix::AsyncFd};

/// A `memory.pressure` file to which a trigger was written.
#[derive(Debug)]
pub struct PressureFile(AsyncFd<File>);

impl PressureFile {
    /// Watch `file`.
    ///
    /// # Errors
    /// The kernel cannot wait for this file.
    pub fn watch(file: File) -> io::Result<Self> {
        // SAFETY: a `File` always gives the one descriptor that it owns, until it is dropped.
        let file = unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }?;
        Ok(Self(file))
    }

    /// Wait until memory is scarce.
    ///
    /// # Errors
    /// The kernel cannot wait for the file any more.
    pub async fn told(&self) -> io::Result<()> {
        self.0.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}
