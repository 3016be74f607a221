//! From any common audio file to 16 kHz mono samples; only ever called inside a job.

/// Why a recording cannot be decoded. Every variant is the sender's mistake, worded for the sender.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// The bytes are no audio format that is known here.
    #[error("the file is not audio in a supported format ({0})")]
    Unsupported(String),
}
