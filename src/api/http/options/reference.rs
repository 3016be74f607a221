//! A recording of a known voice, in a data URL, and what its first bytes tell of it.

use std::{borrow::Cow, ops::RangeInclusive};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Letters of a reference's data, in base64: ten seconds of 48 kHz, stereo, 16 bits, and half as
/// much again.
const MAX_LETTERS: usize = 4 << 20;

/// Bytes of a data URL before its data.
const MAX_HEAD: usize = 256;

/// First letters of the data that are kept: 6 KiB, room for a header and some tags.
const KEPT: usize = 8 << 10;

/// Fewer bytes than two seconds of speech have in any format.
const MIN_BYTES: usize = 1000;

/// Length of the sound in ms: 2 to 10 s, as OpenAI documents, and what rounding makes of them.
const LENGTH: RangeInclusive<u64> = 1_900..=10_100;

/// Beginnings of the files that OpenAI's service takes: their place, and their bytes.
const BEGINNINGS: [(usize, &[u8]); 9] = [
    (0, b"RIFF"),
    (0, b"fLaC"),
    (0, b"OggS"),
    (0, b"ID3"),
    (4, b"ftyp"),
    (0, b"\x1a\x45\xdf\xa3"),
    (0, b"FORM"),
    (0, b"caff"),
    (0, b"RF64"),
];

/// A recording of a known voice, in a data URL. No engine compares voices, so it is checked while
/// it arrives, and not kept. Nothing of it is decoded: its bytes are a stranger's.
#[derive(Debug, Default)]
pub(in crate::api::http) struct Reference {
    /// The URL up to its data.
    head: Vec<u8>,
    /// The first letters of the data.
    data: Vec<u8>,
    /// Letters of the data, and those of them that stand for no bits (`=`).
    letters: usize,
    padding: usize,
    has_data: bool,
    is_bad: bool,
}

impl Reference {
    /// Take the next bytes of the URL.
    pub(in crate::api::http) fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if !self.has_data {
                self.has_data = *byte == b',';
                self.is_bad |= self.head.len() >= MAX_HEAD;
                if !self.is_bad {
                    self.head.push(*byte);
                }
                continue;
            }
            let is_padding = *byte == b'=';
            let is_letter = byte.is_ascii_alphanumeric() || b"+/".contains(byte);
            self.is_bad |= !is_padding && (!is_letter || self.padding > 0);
            self.letters += 1;
            self.padding += usize::from(is_padding);
            if self.letters <= KEPT {
                self.data.push(*byte);
            }
        }
    }

    /// True if nothing came: clients send an empty value for a parameter that they leave open.
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// The reason why it cannot be a recording of 2 to 10 s, if it cannot.
    pub(super) fn fault(&self) -> Option<Cow<'static, str>> {
        let url = String::from_utf8_lossy(&self.head).to_ascii_lowercase();
        let is_audio = ["data:audio/", "data:video/", "data:application/ogg"];
        let is_audio = is_audio.iter().any(|kind| url.starts_with(kind));
        if !self.has_data || !url.starts_with("data:") {
            return Some("this is no data URL".into());
        }
        if !is_audio || !url.ends_with(";base64,") {
            return Some("its media type is not that of a recording in base64".into());
        }
        let is_whole = self.letters.is_multiple_of(4) && self.padding <= 2;
        let bytes = STANDARD.decode(&self.data);
        let (Ok(bytes), true, false) = (bytes, is_whole, self.is_bad) else {
            return Some("its data are not base64".into());
        };
        if self.letters > MAX_LETTERS {
            return Some("it is longer than 10 s of sound are".into());
        }
        if !begins_like_audio(&bytes) {
            return Some("its data are not a recording".into());
        }
        let total = self.letters / 4 * 3 - self.padding;
        if total < MIN_BYTES {
            return Some("its data are fewer than 2 s of sound have".into());
        }
        let length = length(&bytes, total).filter(|length| !LENGTH.contains(length))?;
        let (seconds, rest) = (length / 1000, length % 1000 / 100);
        Some(format!("it has {seconds}.{rest} s of sound").into())
    }
}

/// True if a file that begins with these bytes may be a recording. MPEG has no word in front, only
/// eleven bits that are 1.
fn begins_like_audio(bytes: &[u8]) -> bool {
    let begins =
        |(at, word): &(usize, &[u8])| bytes.get(*at..).is_some_and(|b| b.starts_with(word));
    BEGINNINGS.iter().any(begins) || matches!(bytes, [0xff, second, ..] if *second >= 0xe0)
}

/// Length in ms of the sound in a file of `total` bytes that begins with `head`; `None` if its
/// header does not tell, or is not one of WAV or FLAC.
fn length(head: &[u8], total: usize) -> Option<u64> {
    match head {
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'A',
            b'V',
            b'E',
            ..,
        ] => of_wav(head, total),
        [b'f', b'L', b'a', b'C', ..] => of_flac(head),
        _ => None,
    }
}

fn of_wav(head: &[u8], total: usize) -> Option<u64> {
    let mut bytes_per_second = None;
    let mut at = 12;
    // Each round goes on by 8 bytes or more, and ends beyond what was kept.
    loop {
        let (name, rest) = head.get(at..)?.split_first_chunk::<4>()?;
        let (size, content) = rest.split_first_chunk::<4>()?;
        let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
        at += 8;
        if name == b"fmt " {
            let rate = content.get(8..)?.first_chunk::<4>()?;
            bytes_per_second = Some(u64::from(u32::from_le_bytes(*rate)));
        } else if name == b"data" {
            let there = total.checked_sub(at)?;
            // A writer into a pipe cannot go back to write a size.
            let len = if size == 0 { there } else { size.min(there) };
            return (len as u64 * 1000).checked_div(bytes_per_second?);
        }
        at = at.checked_add(size)?.checked_add(size % 2)?;
    }
}

fn of_flac(head: &[u8]) -> Option<u64> {
    // Its first block is STREAMINFO, of 34 bytes.
    let [0 | 0x80, 0, 0, 34, block @ ..] = head.get(4..)? else {
        return None;
    };
    let word = u64::from_be_bytes(*block.get(10..)?.first_chunk::<8>()?);
    let (rate, samples) = (word >> 44, word & 0xf_ffff_ffff);
    // No samples stand for an unknown number.
    (samples > 0)
        .then_some(samples * 1000)
        .and_then(|samples| samples.checked_div(rate))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fault(url: &str) -> Option<String> {
        let mut reference = Reference::default();
        for bytes in url.as_bytes().chunks(7) {
            reference.take(bytes);
        }
        reference.fault().map(Cow::into_owned)
    }

    fn of(bytes: &[u8]) -> Option<String> {
        let data = STANDARD.encode(bytes);
        fault(&format!("data:audio/wav;base64,{data}"))
    }

    /// A WAV file of 16 kHz, mono, 16 bits, with this size of its data, and so many of them.
    fn wav(told: u32, there: usize) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0\x01\0".to_vec();
        for number in [16_000_u32, 32_000] {
            file.extend(number.to_le_bytes());
        }
        file.extend(b"\x02\0\x10\0data");
        file.extend(told.to_le_bytes());
        file.resize(file.len() + there, 0);
        file
    }

    /// A FLAC file of 48 kHz that says that it has so many samples.
    fn flac(samples: u64) -> Vec<u8> {
        let mut file = b"fLaC\x80\0\0\x22".to_vec();
        file.extend([0; 10]);
        file.extend((48_000 << 44 | samples).to_be_bytes());
        file.resize(5000, 0);
        file
    }

    #[test]
    fn a_reference_is_a_recording_in_a_data_url() {
        for beginning in [
            &b"RIFF$\0\0\0WAVE"[..],
            b"fLaC\0\0\0\"",
            b"\xff\xfb\x90d",
            b"\0\0\0 ftypM4A ",
            b"OggS",
        ] {
            let file = [beginning, &[0; MIN_BYTES]].concat();
            assert_eq!(of(&file), None, "{beginning:?}");
        }
        for (url, what) in [
            ("", "no data URL"),
            ("Ann", "no data URL"),
            ("https://example.org/ann.wav,", "no data URL"),
            ("data:text/plain;base64,UklGRiQA", "media type"),
            ("data:audio/wav,UklGRiQA", "media type"),
            ("data:audio/wav;base64,UklGRiQ", "not base64"),
            ("data:audio/wav;base64,Ukl=RiQA", "not base64"),
            ("data:audio/wav;base64,UklG RiQA", "not base64"),
            ("data:audio/wav;base64,", "not a recording"),
            ("data:audio/wav;base64,bm8gYXVkaW8h", "not a recording"),
            ("data:audio/wav;base64,UklGRiQAAABXQVZF", "fewer than 2 s"),
        ] {
            let fault = fault(url).unwrap();
            assert!(fault.contains(what), "{url}: {fault}");
        }
        let long = "A".repeat(MAX_LETTERS);
        assert!(fault(&format!("data:audio/wav;base64,UklG{long}")).is_some());
        assert!(fault(&format!("data:{long}")).is_some());
    }

    #[test]
    fn a_header_that_tells_a_length_tells_two_to_ten_seconds() {
        let seconds = |n: usize| 32_000 * n;
        for (told, there, fault) in [
            (64_000, seconds(2), None),
            (320_000, seconds(10), None),
            (60_800, seconds(2), None),
            (60_000, seconds(2), Some("1.8 s")),
            (0, seconds(9), None),
            (0, seconds(12), Some("12.0 s")),
            (u32::MAX, seconds(9), None),
            (u32::MAX, seconds(1), Some("1.0 s")),
            (u32::MAX, seconds(11), Some("11.0 s")),
            // Data after those of the sound are not counted.
            (320_000, seconds(12), None),
        ] {
            let said = of(&wav(told, there));
            let expected = fault.map(|what| format!("it has {what} of sound"));
            assert_eq!(said, expected, "{told} {there}");
        }
        for (seconds, is_good) in [(0, true), (1, false), (2, true), (10, true), (11, false)] {
            assert_eq!(of(&flac(48_000 * seconds)).is_none(), is_good, "{seconds}");
        }
        assert!(of(&flac(0xf_ffff_ffff)).is_some());
    }

    #[test]
    fn a_header_that_lies_or_ends_early_is_unknown() {
        let whole = wav(64_000, 64_000);
        for end in 12..60 {
            let mut file = whole[..end].to_vec();
            file.resize(5000, 0xff);
            // It must come to an end, whatever it says.
            let _ = of(&file);
        }
        let mut no_rate = whole.clone();
        no_rate[40..44].fill(0);
        assert_eq!(of(&no_rate), None);
        let mut long_tags = whole[..12].to_vec();
        long_tags.extend(b"LIST\xff\xff\xff\xff");
        long_tags.resize(5000, 0);
        assert_eq!(of(&long_tags), None);
        let mut rate = flac(48_000);
        rate[18..22].fill(0);
        assert_eq!(length(&rate, rate.len()), None);
    }
}
