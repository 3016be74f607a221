//! Reads what an ONNX file says about itself, and finds out whether it is whole. The weights are
//! skipped, never read.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Most fields of a file that are looked at. Real ones have fewer than a hundred.
const MAX_FIELDS: usize = 10_000;

/// Longest entry of the metadata that is read, in bytes. Longer ones are tables of numbers or
/// vocabularies, and are skipped.
const MAX_ENTRY: u64 = 64 << 10;

/// Most entries that are kept.
const MAX_ENTRIES: usize = 256;

/// Numbers of fields of `ModelProto` and `StringStringEntryProto` (onnx.proto).
const GRAPH: u64 = 7;
const METADATA: u64 = 14;
const KEY: u64 = 1;
const VALUE: u64 = 2;

/// Length of the beginning by which files of other kinds are told apart.
const HEAD: usize = 64;

/// The metadata of an ONNX file, by key.
pub(super) type Metadata = BTreeMap<String, String>;

/// The metadata of the file at `path`; empty for a file in ONNX Runtime's own format (`.ort`).
///
/// # Errors
/// It cannot be read, is no such file, or is not whole: half a sentence that begins with its path.
pub(super) fn read(path: &Path) -> Result<Metadata, String> {
    // Opening a FIFO must not block the service.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let metadata = file.map_err(|error| error.to_string()).and_then(|file| {
        let about = file.metadata().map_err(|error| error.to_string())?;
        if !about.is_file() {
            return Err("it is not a file".into());
        }
        parse(file, about.len())
    });
    metadata.map_err(|reason| format!("{}: {reason}", path.display()))
}

/// The metadata of an ONNX file of `length` bytes.
///
/// # Errors
/// The bytes are something else, or not all of them are there.
pub(super) fn parse(mut file: impl Read + Seek, length: u64) -> Result<Metadata, String> {
    let mut head = Vec::with_capacity(HEAD);
    let failed = |error: io::Error| format!("it cannot be read: {error}");
    (file.by_ref().take(HEAD as u64).read_to_end(&mut head)).map_err(failed)?;
    if head.is_empty() {
        return Err("it is empty".into());
    }
    if head.get(4..8) == Some(b"ORTM") {
        return Ok(Metadata::new());
    }
    if head.starts_with(b"version https://git-lfs") {
        let what = "it only points to the real file, which Git LFS keeps elsewhere: fetch it with `git lfs pull`, or download it again";
        return Err(what.into());
    }
    if head.trim_ascii_start().starts_with(b"<") {
        return Err("it is a web page: download the file itself".into());
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut fields = Fields {
        file,
        at: 0,
        end: length,
    };
    let mut metadata = Metadata::new();
    let mut has_graph = false;
    for _ in 0..MAX_FIELDS {
        match fields.next()? {
            None if has_graph => return Ok(metadata),
            None => break,
            Some((METADATA, Some(entry))) if entry <= MAX_ENTRY => {
                let bytes = fields.take(entry)?;
                if metadata.len() < MAX_ENTRIES {
                    metadata.extend(pair(&bytes));
                }
            }
            Some((number, Some(bytes))) => {
                has_graph |= number == GRAPH;
                fields.skip(bytes)?;
            }
            Some((_, None)) => {}
        }
    }
    Err(NOT_ONNX.into())
}

/// The complaint about a file of another format.
const NOT_ONNX: &str = "it is not in the format of ONNX";

/// Key and value of one entry of the metadata; `None` if it has no key.
fn pair(bytes: &[u8]) -> Option<(String, String)> {
    let mut fields = Fields {
        file: io::Cursor::new(bytes),
        at: 0,
        end: bytes.len() as u64,
    };
    let (mut key, mut value) = (None, String::new());
    while let Ok(Some((number, Some(length)))) = fields.next() {
        let text = fields.take(length).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        match number {
            KEY => key = Some(text),
            VALUE => value = text,
            _ => {}
        }
    }
    Some((key?, value))
}

/// The fields of a message of Protocol Buffers, one after the other.
struct Fields<F> {
    file: F,
    /// Bytes read or skipped so far.
    at: u64,
    /// Length of the message.
    end: u64,
}

impl<F: Read + Seek> Fields<F> {
    /// The number of the next field and, if it is a run of bytes, its length; the caller reads or
    /// skips these. Fields of other kinds are skipped here. `None` at the end.
    fn next(&mut self) -> Result<Option<(u64, Option<u64>)>, String> {
        if self.at == self.end {
            return Ok(None);
        }
        let tag = self.number()?;
        let length = match tag & 7 {
            0 => {
                self.number()?;
                None
            }
            1 => {
                self.skip(8)?;
                None
            }
            2 => Some(self.number()?),
            5 => {
                self.skip(4)?;
                None
            }
            _ => return Err(NOT_ONNX.into()),
        };
        match tag >> 3 {
            0 => Err(NOT_ONNX.into()),
            number => Ok(Some((number, length))),
        }
    }

    /// A number of variable length.
    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.fits(1)?;
            self.file.read_exact(&mut byte).map_err(shorter)?;
            self.at += 1;
            let [byte] = byte;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(NOT_ONNX.into())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), String> {
        self.fits(bytes)?;
        self.at += bytes;
        self.file.seek(SeekFrom::Start(self.at)).map_err(shorter)?;
        Ok(())
    }

    fn take(&mut self, bytes: u64) -> Result<Vec<u8>, String> {
        self.fits(bytes)?;
        let mut taken = Vec::new();
        let read = self.file.by_ref().take(bytes).read_to_end(&mut taken);
        read.map_err(shorter)?;
        self.at += bytes;
        Ok(taken)
    }

    fn fits(&self, bytes: u64) -> Result<(), String> {
        match self.at.checked_add(bytes) {
            Some(end) if end <= self.end => Ok(()),
            _ => Err(format!(
                "it is cut off after {} bytes, or damaged: download it again",
                self.end
            )),
        }
    }
}

fn shorter(error: io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => "it became shorter while it was read".into(),
        _ => format!("it cannot be read: {error}"),
    }
}

/// Fuzzing: any bytes give bounded metadata, or a complaint.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    use super::{MAX_ENTRIES, MAX_ENTRY, parse};

    /// Read a file.
    pub fn onnx(data: &[u8]) {
        match parse(std::io::Cursor::new(data), data.len() as u64) {
            Ok(metadata) => {
                assert!(metadata.len() <= MAX_ENTRIES);
                // A byte that is no text becomes three.
                let length = |(key, value): (&String, &String)| key.len() + value.len();
                let longest = metadata.iter().map(length).max().unwrap_or(0);
                assert!(longest as u64 <= 3 * MAX_ENTRY);
            }
            Err(complaint) => assert!(!complaint.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn of(bytes: &[u8]) -> Result<Metadata, String> {
        parse(Cursor::new(bytes), bytes.len() as u64)
    }

    /// `ir_version` 8, a graph of three bytes, and one entry of metadata.
    const SMALL: &[u8] = b"\x08\x08\x3a\x03abc\x72\x10\x0a\x0amodel_type\x12\x02hm";

    #[test]
    fn metadata_is_read_and_the_graph_is_not() {
        let metadata = of(SMALL).unwrap();
        assert_eq!(metadata.get("model_type").map(String::as_str), Some("hm"));
        assert_eq!(of(b"\x08\x08\x3a\x03abc").unwrap(), Metadata::new());
        assert_eq!(of(b"\0\0\0\0ORTM").unwrap(), Metadata::new());
    }

    #[test]
    fn each_beginning_of_a_file_is_refused() {
        // Without its metadata the file is whole.
        for length in (0..SMALL.len()).filter(|length| *length != 7) {
            assert!(of(&SMALL[..length]).is_err(), "{length}");
        }
        let lengths = [u64::MAX, 1 << 62];
        for length in lengths {
            let mut bytes = b"\x08\x08\x3a".to_vec();
            let mut rest = length;
            while rest >= 0x80 {
                bytes.push((rest as u8) | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            assert!(of(&bytes).unwrap_err().contains("cut off"), "{length}");
        }
    }

    #[test]
    fn other_files_are_told_apart() {
        for (bytes, complaint) in [
            (&b""[..], "is empty"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid",
                "git lfs pull",
            ),
            (b"\n<!DOCTYPE html>", "web page"),
            (b"lmgg\x98\xca\0\0", "not in the format"),
            (b"\x08\x08", "not in the format"),
            (b"PK\x03\x04", "not in the format"),
        ] {
            let error = of(bytes).unwrap_err();
            assert!(error.contains(complaint), "{bytes:?}: {error}");
        }
    }
}
