//! The sender's description of a file.

/// The sender's description of the file. The format is found in the bytes themselves, except for
/// raw samples; otherwise the description only serves messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint<'a> {
    /// Extension of the file name, without the dot.
    pub extension: Option<&'a str>,
    /// Media type of the upload.
    pub mime: Option<&'a str>,
}
