//! A secret of an engine: read where it is used, wiped when it is dropped, and never printed.

use std::{
    fmt,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::Path,
    sync::OnceLock,
};

use zeroize::Zeroizing;

/// Longest secret in bytes. Keys have about 32 to 100 bytes, tokens a few thousand.
const MAX: usize = 8192;

/// A key or token: visible ASCII, without white space around it.
pub struct Secret(Zeroizing<Vec<u8>>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// Read the secret in this file.
    ///
    /// # Errors
    /// The file cannot be read or does not hold a secret. The error quotes nothing of its contents.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::read(&File::open(path)?)
    }

    fn read(file: &File) -> io::Result<Self> {
        let mut bytes = Zeroizing::new(vec![0; MAX]);
        let mut length = 0;
        while let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) {
            match file.read_at(room, length as u64)? {
                0 => break,
                more => length += more,
            }
        }
        let word = bytes[..length].trim_ascii();
        if word.is_empty() || length == MAX || !word.iter().all(u8::is_ascii_graphic) {
            let what = "it must hold one word of visible ASCII characters and nothing else";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Self(Zeroizing::new(word.to_vec())))
    }

    /// The bytes of the secret, without NUL.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// `text` with every occurrence of the secret removed.
    pub fn scrub(&self, text: &str) -> String {
        match std::str::from_utf8(&self.0) {
            Ok(secret) => text.replace(secret, "[key]"),
            Err(_) => text.into(),
        }
    }
}

/// Secret of this process's engine, if the supervisor passed one.
static INHERITED: OnceLock<Secret> = OnceLock::new();

/// Take the secret in `file` for this process and all processes forked from it.
pub(super) fn inherit(file: OwnedFd) -> io::Result<()> {
    let secret = Secret::read(&File::from(file))?;
    INHERITED
        .set(secret)
        .map_err(|_| io::Error::other("a zygote has one engine and one secret"))
}

/// The secret that the supervisor passed to this zygote, or to the zygote from which this job was
/// forked.
pub fn inherited() -> Option<&'static Secret> {
    INHERITED.get()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn of(bytes: &[u8]) -> io::Result<Secret> {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        Secret::read(&file)
    }

    #[test]
    fn a_secret_is_one_word_and_is_never_shown() {
        let secret = of(b" abc123\n").unwrap();
        assert_eq!(secret.bytes(), b"abc123");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret.scrub("no abc123abc123!"), "no [key][key]!");
        for wrong in [&b""[..], b"\n", b"two words", b"nul\0", &[b'x'; MAX]] {
            let error = of(wrong).unwrap_err().to_string();
            assert!(
                !error.contains("words,") && error.contains("one word"),
                "{error}"
            );
        }
    }
}
