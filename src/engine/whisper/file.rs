//! Checks that a model file is complete, before whisper.cpp reads it.
//!
//! The library trusts every length and number in the file (1.8.3 writes beyond an array if a tensor
//! claims five dimensions). It takes unreadable data for zeros, and a file without weights for a
//! self-test. So a file that is cut off, or is something else, would crash the library or give a
//! nonsensical transcript. The meaning of the contents is left to the library.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io::{self, BufReader, Read as _},
    path::Path,
};

use whisper_rs::whisper_rs_sys::{ggml_blck_size, ggml_type_GGML_TYPE_COUNT, ggml_type_size};

/// "ggml", read as a number.
const MAGIC: i32 = 0x6767_6d6c;

/// Sizes of Whisper's vocabularies: English only, multilingual, and `large-v3`. All tokens that are
/// not text are counted from these.
const VOCABULARIES: std::ops::RangeInclusive<i32> = 51_864..=51_866;

/// More than the largest model's (5120 would be twice that), because a size is a product of two of
/// these.
const MAX_STATE: i32 = 4096;

/// A header's kind of numbers is this many times the version of their format, and a number that
/// is 0 for 32 bits.
const QUANTIZATION: i32 = 1000;

/// Longest piece of text, or name of a tensor, that makes sense.
const MAX_NAME: i32 = 1024;

/// Check the file.
///
/// # Errors
/// The mistake in it, to be read after its name.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let about = file.metadata().map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("it is no file".into());
    }
    if about.len() == 0 {
        return Err("it is empty".into());
    }
    let mut reader = Reader {
        file: BufReader::new(file),
        rest: about.len(),
    };
    reader.header()?;
    reader.vocabulary()?;
    let mut tensors = 0;
    while reader.rest > 0 {
        reader.tensor()?;
        tensors += 1;
    }
    if tensors == 0 {
        return Err("it has no weights".into());
    }
    Ok(())
}

/// The part of a file that was not read yet.
struct Reader {
    file: BufReader<File>,
    rest: u64,
}

impl Reader {
    fn header(&mut self) -> Result<(), String> {
        if self.number("its beginning")? != MAGIC {
            return Err("it is no model of whisper.cpp (it does not begin with its mark)".into());
        }
        let within = "its header";
        let [
            vocabulary,
            _,
            audio_state,
            _,
            _,
            _,
            text_state,
            _,
            _,
            mels,
            numbers,
        ] = self.numbers::<11>(within)?;
        if !VOCABULARIES.contains(&vocabulary) {
            return Err(format!("no model of Whisper has {vocabulary} tokens"));
        }
        if !(1..=MAX_STATE).contains(&audio_state) || text_state != audio_state {
            return Err(format!(
                "its header is impossible (states of {audio_state} and {text_state})"
            ));
        }
        if numbers % QUANTIZATION == 0 {
            return Err(
                "all its weights have 32 bits, with which the library cannot compute; convert it to \
                 16 bits or quantise it"
                    .into(),
            );
        }
        let [filters, bands] = self.numbers::<2>(within)?;
        if filters != mels
            || !(1..=MAX_STATE).contains(&filters)
            || !(1..=MAX_STATE).contains(&bands)
        {
            return Err(format!(
                "its header is impossible ({filters} filters of {bands} bands for {mels})"
            ));
        }
        self.skip(
            u64::from(filters.unsigned_abs()) * u64::from(bands.unsigned_abs()) * 4,
            "its filters",
        )
    }

    fn vocabulary(&mut self) -> Result<(), String> {
        let within = "its vocabulary";
        let count = self.number(within)?;
        if !(1..=*VOCABULARIES.end()).contains(&count) {
            return Err(format!("its vocabulary is impossible ({count} tokens)"));
        }
        for _ in 0..count {
            let length = self.number(within)?;
            if !(0..=MAX_NAME).contains(&length) {
                return Err(format!(
                    "its vocabulary is impossible (a token of {length} bytes)"
                ));
            }
            self.skip(length.unsigned_abs().into(), within)?;
        }
        Ok(())
    }

    fn tensor(&mut self) -> Result<(), String> {
        let within = "the middle of its weights";
        let [dimensions, length, kind] = self.numbers::<3>(within)?;
        let impossible = |what: String| Err(format!("its weights are impossible ({what})"));
        if !(1..=4).contains(&dimensions) {
            return impossible(format!("{dimensions} dimensions"));
        }
        let mut elements = 1_i32;
        for _ in 0..dimensions {
            let size = self.number(within)?;
            // The library multiplies them in 32 bits, too.
            elements = match elements.checked_mul(size) {
                Some(product) if size > 0 => product,
                _ => return impossible(format!("a dimension of {size}")),
            };
        }
        if !(1..=MAX_NAME).contains(&length) {
            return impossible(format!("a name of {length} bytes"));
        }
        self.skip(length.unsigned_abs().into(), within)?;
        let Some((size, block)) = layout(kind) else {
            return impossible(format!("numbers of kind {kind}"));
        };
        let blocks = u64::from(elements.unsigned_abs()) / block;
        self.skip(blocks * size, within)
    }

    fn numbers<const COUNT: usize>(&mut self, within: &str) -> Result<[i32; COUNT], String> {
        let mut numbers = [0; COUNT];
        for number in &mut numbers {
            *number = self.number(within)?;
        }
        Ok(numbers)
    }

    fn number(&mut self, within: &str) -> Result<i32, String> {
        self.rest = self.rest.checked_sub(4).ok_or_else(|| cut_off(within))?;
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes).map_err(unreadable)?;
        Ok(i32::from_le_bytes(bytes))
    }

    fn skip(&mut self, length: u64, within: &str) -> Result<(), String> {
        self.rest = self
            .rest
            .checked_sub(length)
            .ok_or_else(|| cut_off(within))?;
        // No longer than a file.
        let length = i64::try_from(length).map_err(|_| cut_off(within))?;
        self.file.seek_relative(length).map_err(unreadable)
    }
}

fn cut_off(within: &str) -> String {
    format!("it ends in {within}; was it copied to its end?")
}

#[allow(clippy::needless_pass_by_value)]
fn unreadable(error: io::Error) -> String {
    format!("it cannot be read: {error}")
}

/// Bytes of one block of such numbers, and numbers in it.
fn layout(kind: i32) -> Option<(u64, u64)> {
    let kind = u32::try_from(kind).ok()?;
    if kind >= ggml_type_GGML_TYPE_COUNT {
        return None;
    }
    // SAFETY: the function looks the kind up in a table that has all kinds below the count.
    let size = unsafe { ggml_type_size(kind) };
    // SAFETY: as above.
    let block = unsafe { ggml_blck_size(kind) };
    // Kinds that are no longer used have no sizes.
    let layout = (u64::try_from(size).ok()?, u64::try_from(block).ok()?);
    (layout.0 > 0 && layout.1 > 0).then_some(layout)
}
