//! The keys by which clients over TCP show who they are: a name, and the hash of the key. The key
//! itself is kept nowhere.

use std::{fmt, sync::Arc};

use sha2::{Digest as _, Sha256};

use crate::names::is_name;

/// The name of a key. Unlike the key itself it is no secret: it stands in the journal and in
/// statistics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName(Arc<str>);

impl KeyName {
    /// The name `name`; `None` if no key can have it: it has 1 to 64 letters, digits, `_`, `-` and
    /// `.`, and does not start with `.`.
    pub fn new(name: &str) -> Option<Self> {
        is_name(name).then(|| Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of the hash function, in front of each hash.
const FUNCTION: &str = "sha256:";

/// The SHA-256 hash of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The hash of `key`.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    fn parse(digits: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, place) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(digits.get(place..place + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// One line of the file of keys: `NAME sha256:HASH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine {
    /// The name of the key.
    pub name: KeyName,
    /// The hash of the key.
    pub digest: Digest,
}

impl KeyLine {
    /// Read one line.
    ///
    /// # Errors
    /// A sentence that says which lines are right. It does not quote the line, because a key may
    /// stand in it by mistake.
    pub fn parse(line: &str) -> Result<Self, &'static str> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, hash) = match words[..] {
            [name, hash] => (name, hash),
            [_] => {
                return Err(
                    "one word alone is no line: NAME sha256:HASH, as `sttctl key new NAME` prints it",
                );
            }
            _ => return Err("more than a name and a hash stand here: NAME sha256:HASH"),
        };
        let Some(digits) = hash.strip_prefix(FUNCTION) else {
            return Err(
                "its second word is no hash (sha256:…). If it is the key itself, consider the key known, and make \
                 another with `sttctl key new NAME`",
            );
        };
        let digest = Digest::parse(digits).ok_or("after `sha256:` come 64 hexadecimal digits")?;
        if digest == Digest::of(b"") {
            return Err("this is the hash of nothing: an empty key is no key");
        }
        let name = KeyName::new(name)
            .ok_or("its first word is no name: use 1 to 64 letters, digits, `_`, `-` and `.`")?;
        Ok(Self { name, digest })
    }
}

impl fmt::Display for KeyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {FUNCTION}", self.name)?;
        self.digest
            .0
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_line_is_read_as_it_is_written() {
        let line = KeyLine {
            name: KeyName::new("phone").unwrap(),
            digest: Digest::of(b"abc"),
        };
        assert_eq!(line.to_string(), format!("phone sha256:{OF_ABC}"));
        let upper = OF_ABC.to_ascii_uppercase();
        for text in [line.to_string(), format!("phone\t sha256:{upper}")] {
            assert_eq!(KeyLine::parse(&text).as_ref(), Ok(&line));
        }
    }

    #[test]
    fn no_mistake_in_a_line_is_told_with_its_words() {
        let key = "stt_0123";
        for (line, expected) in [
            (key.to_owned(), "one word alone"),
            (format!("phone {key}"), "consider the key known"),
            (format!("phone {OF_ABC}"), "no hash (sha256:…)"),
            (format!("phone sha256:{key}"), "64 hexadecimal digits"),
            (
                format!("phone sha256:+{}", &OF_ABC[1..]),
                "64 hexadecimal digits",
            ),
            (format!("phone sha256:{OF_ABC} {key}"), "more than a name"),
            (format!("sha256:{OF_ABC} {key}"), "no hash"),
            (format!("sha256:{OF_ABC} sha256:{OF_ABC}"), "no name"),
            (format!(".phone sha256:{OF_ABC}"), "no name"),
            (format!("{} sha256:{OF_ABC}", "n".repeat(65)), "no name"),
            (
                "phone sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
                    .into(),
                "hash of nothing",
            ),
        ] {
            let what = KeyLine::parse(&line).unwrap_err();
            assert!(
                what.contains(expected) && !what.contains(key),
                "{line}: {what}"
            );
        }
    }
}
