//! The kernel's own word that memory is scarce: a file of pressure stall information.
#![allow(unsafe_code)]

use std::{fs::File, io};

use tokio::io::{Interest, unix::AsyncFd};

/// A `memory.pressure` file into which somebody wrote how much pressure is to be told.
#[derive(Debug)]
pub struct PressureFile(AsyncFd<File>);

impl PressureFile {
    /// Watch `file`.
    ///
    /// # Errors
    /// It is no file of the kernel's that can be waited for.
    pub fn watch(file: File) -> io::Result<Self> {
        // SAFETY: a `File` always gives the one descriptor that it owns, until it is dropped.
        let file = unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }?;
        Ok(Self(file))
    }

    /// Returns when memory is scarce.
    ///
    /// # Errors
    /// It cannot be waited any more.
    pub async fn told(&self) -> io::Result<()> {
        self.0.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}
