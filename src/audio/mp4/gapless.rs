//! Priming and length of a file without an edit list, as iTunes and its kin write them: in a tag.

/// Samples that only prime the decoder, and those of the sound behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gapless {
    pub(super) priming: i64,
    pub(super) length: i64,
}

/// Bytes from the tag's name to the end of its numbers, of which there are twelve.
const TAG: usize = 256;

/// Longest priming that is believed, in samples.
const LONGEST_PRIMING: i64 = 1 << 14;

impl Gapless {
    /// Finds `iTunSMPB` among a movie's tags: hexadecimal numbers, of which the second is the
    /// priming, the third the padding and the fourth the length.
    pub(super) fn find(tags: &[u8]) -> Option<Self> {
        let name = b"iTunSMPB";
        let at = tags.windows(name.len()).position(|bytes| bytes == name)?;
        let tag = tags.get(at + name.len()..)?;
        let tag = &tag[..tag.len().min(TAG)];
        let data = tag.windows(4).position(|bytes| bytes == b"data")?;
        // A type and a language of four bytes each come before the text.
        let text = String::from_utf8_lossy(tag.get(data + 12..)?);
        let mut numbers = text.split_ascii_whitespace().skip(1);
        let mut number = || i64::from_str_radix(numbers.next()?, 16).ok();
        let (priming, _, length) = (number()?, number()?, number()?);
        let is_likely = (1..=LONGEST_PRIMING).contains(&priming) && length > 0;
        is_likely.then_some(Self { priming, length })
    }
}
